"""What a short reference assumes of days: closed forms, laws, and small simulations."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from detectors.day_effect import (
    ALIKE,
    ASSUMED,
    SHIFTS,
    DayEffect,
    Origin,
    Shown,
    of_fleet,
    own_sd,
    rank_rises,
    rate_rises,
    shown_sd,
    surprise,
)
from detectors.logit_ks import LOGIT_KS
from detectors.null import bet_terms, null_mean
from detectors.rank_reference import RankReference
from detectors.ranks import mid_ranks
from detectors.repetition import REPETITION
from detectors.scores import DriftSide
from detectors.types import Budget, Process, State, Window
from tests.scored import rank_scores

MONDAY, DAY = 1_699_833_600.0, 86_400.0


def requests(
    rng: np.random.Generator, n: int, *, days: float, shift: float = 0.0, start: float = MONDAY
) -> Window:
    at = start + DAY * days * (np.arange(n) + 0.5) / n
    signals = {name: rng.normal(size=n) + shift for name in LOGIT_KS.signals}
    return Window(start=start, end=start + DAY * days, at=at, signals=signals)


def short(days: float = 0.1, n: int = 300, effect: DayEffect = ASSUMED) -> RankReference:
    return LOGIT_KS.fit(requests(np.random.default_rng(3), n, days=days), days=effect)


def m0(reference: RankReference, *, share: float = 1.0, seen: bool = True) -> np.ndarray:
    return null_mean(reference.null, Process.PAGE, share=share, seen=seen)


def test_days_beyond_the_allowance_are_three_quarters_of_the_budget() -> None:
    for share in (1.0, 0.1, 0.01, 0.001):
        assert 30 * 2 * norm.sf(surprise(np.array([share])))[0] == pytest.approx(0.75 * share)


def test_rises_of_an_untied_signal_are_those_of_a_normal_one() -> None:
    ordered = np.sort(np.random.default_rng(1).exponential(size=40_000))  # any shape will do
    found = rank_rises(mid_ranks(ordered, ordered), lambda u: rank_scores(u, DriftSide.BOTH))
    up, down, _, top5, bottom5, top1, _ = found.T
    assert up == pytest.approx(norm.cdf(SHIFTS / np.sqrt(2.0)) - 0.5, abs=2e-3)
    assert down == pytest.approx(up, abs=2e-3)
    assert top5 == pytest.approx(norm.sf(norm.isf(0.05) - SHIFTS) - 0.05, abs=4e-3)
    assert bottom5 == pytest.approx(top5, abs=4e-3)
    assert top1 == pytest.approx(norm.sf(norm.isf(0.01) - SHIFTS) - 0.01, abs=4e-3)


def test_a_rank_of_two_values_rises_as_its_rate_does() -> None:
    solved = np.sort((np.arange(10_000) < 8_500).astype(float))
    ranked = rank_rises(mid_ranks(solved, solved), lambda u: rank_scores(u, DriftSide.DOWN))[:, 0]
    # fewer solved: the rank falls by half of what the rate does
    assert ranked == pytest.approx(rate_rises(np.array([0.15]))[:, 0] / 2.0, abs=2e-3)


def test_what_never_happened_does_not_happen_on_other_days() -> None:
    assert not rate_rises(np.array([0.0, 1.0])).any()


@given(st.sampled_from([1.0, 0.1, 0.01, 1e-4]), st.sampled_from([0.05, 0.1, 0.2, 0.4]))
def test_more_unknown_and_less_budget_allow_for_more(share: float, sd: float) -> None:
    nothing, some = short(effect=ALIKE), short(effect=DayEffect(sd=sd, hours=sd))
    assert nothing.null.unknown is None
    assert (m0(some, share=share) >= m0(nothing, share=share)).all()
    assert (m0(some, share=share, seen=False) >= m0(some, share=share)).all()
    assert (m0(some, share=share / 4.0) >= m0(some, share=share)).all()
    assert (
        m0(short(effect=DayEffect(sd=2 * sd, hours=sd)), share=share) >= m0(some, share=share)
    ).all()


@given(st.floats(0.0, 1.0), st.sampled_from([1.0, 0.1, 0.001]), st.booleans())
def test_on_a_day_within_the_allowance_no_bet_grows_on_average(
    part: float,
    share: float,
    seen: bool,  # noqa: FBT001 - as hypothesis gives it
) -> None:
    # E log(1 + lam (S - m0)) <= log(1 + lam (E S - m0)) <= 0 for every law of S with E S <= m0
    reference = short()
    terms = bet_terms(reference.null, Process.PAGE, share=share, seen=seen)
    unknown = reference.null.unknown
    assert unknown is not None
    mean = reference.null.mean + part * unknown.rise(share=share, seen=seen)
    assert (1.0 + terms.stakes * (mean - terms.null_mean) <= 1.0 + 1e-12).all()


def test_a_fortnight_that_saw_every_hour_assumes_nothing() -> None:
    rng = np.random.default_rng(4)
    whole, plain = (
        LOGIT_KS.fit(requests(rng, 5_600, days=14.0), days=effect) for effect in (ASSUMED, ALIKE)
    )
    assert whole.null.unknown is None is plain.null.unknown
    assert np.isfinite(whole.null.shown_days)


@pytest.mark.parametrize(("share", "windows"), [(0.1, 1), (0.001, 2)])
def test_garbage_pages_from_the_first_window_against_three_hundred_requests(
    share: float, windows: int
) -> None:
    # alone in the fleet at once, among a hundred adapters within two windows of 40 requests
    rng, reference = np.random.default_rng(5), short()
    state, start = State(), MONDAY + DAY / 2
    for _ in range(windows):
        live = requests(rng, 40, days=1.0 / 96.0, shift=3.0, start=start)
        score, state = LOGIT_KS.score(reference, live, state, Budget(notice=share, page=share))
        start = live.end
    assert score.evidence_page > 0.0


def test_failures_that_never_were_page_as_soon_as_without_the_assumption() -> None:
    baseline = Window(
        start=MONDAY,
        end=MONDAY + 3_600.0,
        at=MONDAY + np.arange(300, dtype=np.float64) * 12.0,
        signals={"loop": np.zeros(300)},
    )
    live = Window(
        start=MONDAY + DAY,
        end=MONDAY + DAY + 60.0,
        at=np.full(20, MONDAY + DAY),
        signals={"loop": np.ones(20)},
    )
    budget = Budget(notice=0.1, page=0.1)
    found = [
        REPETITION.score(REPETITION.fit(baseline, days=effect), live, State(), budget)[0]
        for effect in (ASSUMED, ALIKE)
    ]
    assert found[0].evidence_page == found[1].evidence_page > 0.0


def test_days_that_differ_by_more_than_assumed_are_believed() -> None:
    rng, n = np.random.default_rng(6), 4_000
    base = requests(rng, n, days=4.0)
    moved = 0.8 * np.array([-1.0, 1.0, -1.0, 1.0])[((base.at - MONDAY) // DAY).astype(int)]
    signals = {**base.signals} | {"mean_nll": base.signals["mean_nll"] + moved}
    unknown = LOGIT_KS.fit(replace(base, signals=signals)).null.unknown
    assert unknown is not None
    assert unknown.effect.origin is Origin.OWN
    assert 0.4 < unknown.effect.sd < 1.2
    calm = LOGIT_KS.fit(base).null.unknown
    assert calm is not None
    assert calm.effect == ASSUMED


def shown_days(rng: np.random.Generator, sd: float, days: int) -> Shown:
    at = MONDAY + DAY * (np.arange(days * 400) + 0.5) / 400
    day = ((at - MONDAY) // DAY).astype(int)
    z = rng.normal(size=at.size) + sd * rng.normal(size=days)[day]
    return Shown(
        at=at,
        scores=norm.cdf(z / np.sqrt(1 + sd**2))[:, None],
        deff=np.ones(1),
        location=np.zeros(1, dtype=np.int64),
        steady=np.ones(1, dtype=np.bool_),
        days_known=True,
    )


def test_the_limit_of_what_days_have_shown_holds_in_nineteen_of_twenty() -> None:
    rng, rises = np.random.default_rng(7), 0.282 * SHIFTS[:, None]
    limits = [shown_sd(shown_days(rng, 0.2, 14), rises) for _ in range(200)]
    assert np.mean(np.array(limits) >= 0.2) >= 0.9  # P(fewer than 180 of 200 | .95) < .001
    short_of = shown_days(rng, 0.2, 3)
    assert np.isnan(shown_sd(replace(short_of, days_known=False), rises))
    assert own_sd(short_of, rises, ASSUMED)[0] >= 0.2


def test_five_other_adapters_sharpen_what_is_assumed_and_never_blunt_it() -> None:
    assert of_fleet([0.1] * 4, ASSUMED) == ASSUMED
    assert of_fleet([0.1] * 4 + [0.12], ASSUMED) == replace(ASSUMED, sd=0.12, origin=Origin.FLEET)
    assert of_fleet([0.01] * 5, ASSUMED).sd == 0.05
    assert of_fleet([0.1] * 4 + [0.5], ASSUMED) == ASSUMED
    assert of_fleet([0.1] * 5, ALIKE) == ALIKE


@pytest.mark.parametrize("n", [5, 10, 20])
def test_a_newcomer_is_rarely_beyond_the_fleet(n: int) -> None:
    # the bound of of_fleet, 1 / (n + 1) + 5 %, where adapters differ by a factor of 1.6 (1 sd)
    rng, trials, days = np.random.default_rng(8), 20_000, 14
    truth = 0.05 * np.exp(0.5 * rng.normal(size=(trials, n + 1)))
    chance = rng.chisquare(days - 1, size=(trials, n)) / (days - 1)
    limit = (days - 1) / 5.891864  # the 5 % point of chi-squared with 13
    shown = np.sqrt(np.square(truth[:, 1:]) * chance * limit)
    taken = np.array([of_fleet(each, ASSUMED).sd for each in shown])
    assert (truth[:, 0] > taken).mean() <= 1.0 / (n + 1) + 0.05


def test_what_was_assumed_is_kept_with_the_reference() -> None:
    fleet = DayEffect(sd=0.1, origin=Origin.FLEET)
    reference = short(effect=fleet)
    again = LOGIT_KS.load(LOGIT_KS.dump(reference))
    assert again.null.unknown is not None
    assert again.null.unknown.effect == fleet
    for seen in (True, False):
        assert (m0(again, share=0.1, seen=seen) == m0(reference, share=0.1, seen=seen)).all()


def older(body: bytes) -> bytes:
    """The same reference as a release wrote it that assumed nothing."""
    new = ("unknown", "day_effect", "day_effect_of", "shown_days")
    with np.load(io.BytesIO(body)) as stored:
        kept = {name: stored[name] for name in stored.files if name not in new}
    out = io.BytesIO()
    np.savez(out, **kept)
    return out.getvalue()


def test_a_short_reference_of_an_older_release_is_taken_not_to_know_days() -> None:
    reference = short(days=1.0, n=500)
    loaded = LOGIT_KS.load(older(LOGIT_KS.dump(reference)))
    assert (m0(loaded, share=0.1) >= m0(reference, share=0.1) - 1e-9).all()
    whole = LOGIT_KS.fit(requests(np.random.default_rng(9), 5_600, days=14.0))
    assert LOGIT_KS.load(older(LOGIT_KS.dump(whole))).null.unknown is None
