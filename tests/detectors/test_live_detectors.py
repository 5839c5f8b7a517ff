"""What the single detectors answer, beyond the laws that all of them keep."""

from dataclasses import replace

import numpy as np
import pytest

from detectors import DETECTORS
from detectors.errors import ReferenceTooSmall, SignalAbsent
from detectors.feedback import FEEDBACK
from detectors.input_similarity import INPUT_SIMILARITY
from detectors.logit_ks import LOGIT_KS
from detectors.missing import MISSING
from detectors.rate_detector import RateDetector
from detectors.refusal import REFUSAL
from detectors.repetition import REPETITION
from detectors.types import Budget, Floats, Process, State, Window

DAY = 86_400.0
MONDAY = 1_699_833_600.0
SHARE = Budget(notice=1.0, page=0.01)


def window(signals: dict[str, Floats], *, start: float, seconds: float) -> Window:
    n = next(iter(signals.values())).size
    at = start + seconds * (np.arange(n) + 0.5) / n
    return Window(start=start, end=start + seconds, at=at, signals=signals)


def fortnight(signals: dict[str, Floats]) -> Window:
    return window(signals, start=MONDAY, seconds=14 * DAY)


def live(signals: dict[str, Floats], seconds: float = 900.0, after: float = 0.0) -> Window:
    return window(signals, start=MONDAY + 14 * DAY + after, seconds=seconds)


def summaries(rng: np.random.Generator, n: int, shift: float = 0.0) -> dict[str, Floats]:
    table = {s: rng.normal(size=n) for s in ("p95_nll", "near_certain", "log_length")}
    return {"mean_nll": rng.normal(shift, 1.0, size=n), **table}


def test_logit_ks_names_the_summary_and_the_score_that_moved(rng: np.random.Generator) -> None:
    reference = LOGIT_KS.fit(fortnight(summaries(rng, 10_000)))
    score, _ = LOGIT_KS.score(reference, live(summaries(rng, 200, 1.5)), State(), SHARE)
    assert score.winner is not None
    assert score.winner.startswith("mean_nll:")
    assert score.evidence_notice > score.evidence_page > 0.0
    assert score.value > 0.4
    # 2 Phi(1.5 / sqrt 2) - 1 = .711
    assert score.interval[0] < 0.711 < score.interval[1]


def test_logit_ks_effects_are_positive_in_either_direction(rng: np.random.Generator) -> None:
    reference = LOGIT_KS.fit(fortnight(summaries(rng, 10_000)))
    for shift in (-1.0, 1.0):
        effect = LOGIT_KS.effect_since(reference, live(summaries(rng, 300, shift)))
        assert effect.signal == "mean_nll"
        assert effect.lo > 0.2


def test_an_unmeasured_summary_is_left_out_and_named(rng: np.random.Generator) -> None:
    signals = summaries(rng, 1_000)
    signals["near_certain"][:] = np.nan
    reference = LOGIT_KS.fit(fortnight(signals))
    score, _ = LOGIT_KS.score(reference, live(summaries(rng, 40)), State(), SHARE)
    assert score.details["absent"] == ["near_certain"]
    assert not any(name.startswith("near_certain") for name in LOGIT_KS.names(reference))


def test_a_summary_missing_from_the_window_alone_is_harmless(rng: np.random.Generator) -> None:
    reference = LOGIT_KS.fit(fortnight(summaries(rng, 1_000)))
    partial = summaries(rng, 100)
    del partial["near_certain"]
    score, _ = LOGIT_KS.score(reference, live(partial), State(), SHARE)
    columns = [n.startswith("near_certain") for n in LOGIT_KS.names(reference)]
    assert (score.increments[Process.NOTICE][:, columns] == 0.0).all()
    assert score.n_window == 100


def test_too_small_and_absent_references_are_told_apart(rng: np.random.Generator) -> None:
    with pytest.raises(ReferenceTooSmall) as few:
        LOGIT_KS.fit(fortnight(summaries(rng, 299)))
    assert (few.value.needed, few.value.got) == (300, 299)
    with pytest.raises(SignalAbsent):
        LOGIT_KS.fit(fortnight({"similarity": rng.random(500)}))


def test_unseen_hours_may_differ_more_than_seen_ones_and_garbage_pages_in_both(
    rng: np.random.Generator,
) -> None:
    night = window(summaries(rng, 2_000), start=MONDAY, seconds=8 * 3600.0)
    reference = LOGIT_KS.fit(night)
    budget = Budget(notice=0.1, page=0.1)

    def pages(shift: float, start: float) -> float:
        new = window(summaries(rng, 300, shift), start=start, seconds=900.0)
        return LOGIT_KS.score(reference, new, State(), budget)[0].evidence_page

    noon, next_week = MONDAY + 12 * 3600.0, MONDAY + 7 * DAY + 3600.0
    assert pages(3.0, noon) > 0.0 < pages(3.0, next_week)
    assert pages(1.6, noon) < 0.0 < pages(1.6, next_week)


def test_subjects_are_one_voice_each(rng: np.random.Generator) -> None:
    reference = LOGIT_KS.fit(fortnight(summaries(rng, 10_000)))
    one_user = replace(live(summaries(rng, 60, 3.0)), subjects=np.zeros(60, dtype=np.int64))
    score, _ = LOGIT_KS.score(reference, one_user, State(), SHARE)
    assert score.n_window == 1
    assert score.evidence_notice < 0.0


def test_more_similar_inputs_are_not_drift(rng: np.random.Generator) -> None:
    reference = INPUT_SIMILARITY.fit(fortnight({"similarity": rng.beta(9, 2, size=2_000)}))
    nearer = live({"similarity": np.full(400, 0.99)})
    score, _ = INPUT_SIMILARITY.score(reference, nearer, State(), SHARE)
    assert score.value == 0.0
    assert score.effect < 0.0
    assert score.evidence_notice < 0.0


def test_new_questions_open_a_ticket_are_counted_and_never_page(rng: np.random.Generator) -> None:
    reference = INPUT_SIMILARITY.fit(fortnight({"similarity": rng.beta(9, 2, size=1_500)}))
    new = np.where(rng.random(400) < 0.2, 0.2, rng.beta(9, 2, size=400))
    score, _ = INPUT_SIMILARITY.score(
        reference, live({"similarity": new}, seconds=60.0), State(), Budget(notice=0.2, page=1.0)
    )
    assert score.evidence_notice > 0.0
    assert score.evidence_page == -np.inf
    assert Process.PAGE not in score.increments
    unlike = score.details["unlike_training"]
    assert isinstance(unlike, dict)
    assert 60 <= unlike["below_p1"]["count"] <= 110


def failures(n: int, rate: float, rng: np.random.Generator, name: str) -> dict[str, Floats]:
    return {name: (rng.random(n) < rate).astype(float)}


def test_an_adapter_that_only_loops_pages_within_ten_answers(rng: np.random.Generator) -> None:
    reference = REPETITION.fit(fortnight(failures(10_000, 0.002, rng, "loop")))
    # a fleet's budget of one page over 100 adapters and 8 detectors, one minute
    score, state = REPETITION.score(
        reference,
        live({"loop": np.ones(10)}, seconds=60.0),
        State(),
        Budget(notice=1, page=1 / 800),
    )
    assert score.evidence_page >= 0.0
    assert np.isneginf(state.log_m[Process.PAGE]).all()
    assert score.value > 0.9


def test_hard_signals_page_in_hours_the_reference_never_saw(rng: np.random.Generator) -> None:
    signals = failures(2_000, 0.002, rng, "loop")
    reference = REPETITION.fit(window(signals, start=MONDAY, seconds=8 * 3600.0))
    noon = window({"loop": np.ones(30)}, start=MONDAY + 12 * 3600.0, seconds=60.0)
    assert REPETITION.score(reference, noon, State(), SHARE)[0].evidence_page > 0.0


def test_a_record_without_logprobs_is_not_missing(rng: np.random.Generator) -> None:
    reference = MISSING.fit(fortnight(failures(2_000, 0.01, rng, "missing")))
    absent = live({"missing": np.full(50, np.nan)})
    score, _ = MISSING.score(reference, absent, State(), SHARE)
    assert score.n_window == 0
    assert np.isnan(score.effect)


def test_the_difference_of_rates_has_a_newcombe_interval() -> None:
    # Newcombe (1998), Stat. Med. 17, 873-890, table II, method 10: 56/70 - 48/80 is .2000,
    # interval .0524 to .3339. A reference of 80 is below our minimum, so 480/800 stands
    # against 56/70 with n_eff 800 / deff: the window part alone is Wilson's 56/70 interval.
    baseline = fortnight({"x": np.tile([1.0, 1.0, 1.0, 0.0, 0.0], 160_000)})
    detector = RateDetector(name="x", signals=("x",))
    effect = detector.effect_since(
        detector.fit(baseline), live({"x": np.repeat([1.0, 0.0], [56, 14])})
    )
    assert effect.value == pytest.approx(0.2)
    # Wilson 95 % of 56/70: .6918 to .8769 (same source, table I, method 3)
    assert effect.lo == pytest.approx(0.6918 - 0.6, abs=2e-3)
    assert effect.hi == pytest.approx(0.8769 - 0.6, abs=2e-3)


def test_smallest_detectable_effect_is_what_a_day_detects(rng: np.random.Generator) -> None:
    # a drift of the stated size, at the stated traffic, crosses within a day (4,000 requests;
    # the estimate allows for no luck, so 1.25 times it must cross and a third must not)
    reference = REPETITION.fit(fortnight(failures(20_000, 0.01, rng, "loop")))
    a_check = live(failures(40, 0.01, rng, "loop"))
    found = REPETITION.score(reference, a_check, State(), SHARE)[0].minimum_detectable
    for factor, crosses in ((1.25, True), (1 / 3, False)):
        n = 96 * 40
        hits = np.zeros(n)
        hits[:: round(1 / (0.01 + factor * found))] = 1.0
        state, crossed = State(), False
        for i in range(96):
            part = live({"loop": hits[40 * i : 40 * (i + 1)]}, after=900.0 * i)
            score, state = REPETITION.score(reference, part, state, SHARE)
            crossed = crossed or score.evidence_notice >= 0.0
        assert crossed is crosses


def test_less_traffic_can_see_less(rng: np.random.Generator) -> None:
    reference = LOGIT_KS.fit(fortnight(summaries(rng, 5_000)))
    seen = [
        LOGIT_KS.score(reference, live(summaries(rng, n)), State(), SHARE)[0].minimum_detectable
        for n in (400, 40, 4)
    ]
    assert seen == sorted(seen)
    assert seen[0] < seen[-1]


def test_the_table_is_keyed_by_name() -> None:
    assert {name: d.name for name, d in DETECTORS.items()} == {n: n for n in DETECTORS}


def test_what_began_late_in_a_fortnight_pays_for_the_days_it_has_not_seen(
    rng: np.random.Generator,
) -> None:
    # Approved by coverage, the reference pages; this name came on its last four days only. Days
    # that differ by .3 sd: truth 1 + 199 .08 = 17. Blocks of hours show 4 of it; four days show
    # it unless chi2(3) < .45, which is 7 % of 60 references: 14 or more with probability 1e-4
    low = 0
    for _ in range(60):
        days = np.repeat(0.3 * rng.normal(size=14), 200)
        given = days + rng.normal(size=days.size)
        given[: 10 * 200] = np.nan
        reference = FEEDBACK.fit(fortnight({"higher_is_better.stars": given}))
        assert reference.null.names[0] == "higher_is_better.stars:down"
        low += reference.null.deff[0] < 15.0
    assert low < 14


def test_a_rate_that_began_late_pays_for_days_too(rng: np.random.Generator) -> None:
    # days of 30 % and 70 % in turn: truth 1 + 199 x .04 / .25 = 33, estimated by four days
    often = np.repeat(np.tile([0.3, 0.7], 7), 200)
    refused = (rng.random(often.size) < often).astype(float)
    refused[: 10 * 200] = np.nan
    assert REFUSAL.fit(fortnight({"refusal": refused})).null.deff[0] > 30.0
