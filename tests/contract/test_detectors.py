"""Laws that every entry of the table keeps; a new detector is tested by being listed."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detectors import DETECTORS
from detectors.detector import Detector
from detectors.errors import DetectorError, ReferenceTooSmall, ReferenceUnreadable, SignalAbsent
from detectors.packing import pack
from detectors.profile import EffectScale
from detectors.types import Budget, Floats, Process, Score, State, Window

DAY = 86_400.0
START = 1_699_833_600.0
SHARE = Budget(notice=0.2, page=0.01)
RATES = {
    signal
    for detector in DETECTORS.values()
    if detector.scale is EffectScale.RATE
    for signal in detector.signals
}

NAMED = {"feedback": ("higher_is_better.solved", "lower_is_better.edits")}
"""Signals of detectors that read whatever the baseline names."""


def signals_of(detector: Detector[Any]) -> tuple[str, ...]:
    return detector.signals or NAMED[detector.name]


every_detector = pytest.mark.parametrize("detector", DETECTORS.values(), ids=DETECTORS.keys())


def values(name: str, n: int, rng: np.random.Generator) -> Floats:
    return (rng.random(n) < 0.02).astype(float) if name in RATES else rng.normal(size=n)


def window(detector: Detector[Any], n: int, *, start: float, days: float, seed: int = 1) -> Window:
    rng = np.random.default_rng(seed)
    at = start + days * DAY * np.sort(rng.random(n))
    signals = {name: values(name, n, rng) for name in signals_of(detector)}
    return Window(start=start, end=start + days * DAY, at=at, signals=signals)


def baseline(detector: Detector[Any]) -> Window:
    return window(detector, 2_000, start=START, days=14)


def live(detector: Detector[Any], n: int = 60, *, after: float = 0.0, seed: int = 2) -> Window:
    return window(detector, n, start=START + (14 + after) * DAY, days=0.01, seed=seed)


def same(a: Score, b: Score) -> bool:
    numbers = np.array([a.value, a.effect, *a.interval, a.evidence_notice, a.evidence_page])
    others = np.array([b.value, b.effect, *b.interval, b.evidence_notice, b.evidence_page])
    return np.allclose(numbers, others, rtol=1e-9, atol=1e-9, equal_nan=True)


@every_detector
def test_a_window_against_itself_scores_almost_nothing(detector: Detector[Any]) -> None:
    own = baseline(detector)
    effect = detector.effect_since(detector.fit(own), own)
    assert effect.shown == pytest.approx(0.0, abs=1e-9)
    assert effect.value == pytest.approx(0.0, abs=1e-9)
    assert effect.lo <= 0.0 <= effect.hi


@every_detector
def test_the_order_of_records_is_irrelevant(detector: Detector[Any]) -> None:
    reference, given_ = detector.fit(baseline(detector)), live(detector)
    order = np.random.default_rng(3).permutation(len(given_))
    mixed = replace(
        given_, at=given_.at[order], signals={k: v[order] for k, v in given_.signals.items()}
    )
    first, _ = detector.score(reference, given_, State(), SHARE)
    second, _ = detector.score(reference, mixed, State(), SHARE)
    assert same(first, second)


@every_detector
def test_the_order_of_baseline_records_is_irrelevant(detector: Detector[Any]) -> None:
    own = baseline(detector)
    order = np.random.default_rng(3).permutation(len(own))
    mixed = replace(own, at=own.at[order], signals={k: v[order] for k, v in own.signals.items()})
    first, _ = detector.score(detector.fit(own), live(detector), State(), SHARE)
    second, _ = detector.score(detector.fit(mixed), live(detector), State(), SHARE)
    assert same(first, second)


@every_detector
def test_the_same_window_twice_changes_nothing(detector: Detector[Any]) -> None:
    reference = detector.fit(baseline(detector))
    first, state = detector.score(reference, live(detector), State(), SHARE)
    again, unchanged = detector.score(reference, live(detector), state, SHARE)
    assert unchanged is state
    assert same(first, again)
    assert again.increments == {}
    assert again.details["refused"] is True


@every_detector
def test_evaluation_is_a_function_of_its_arguments(detector: Detector[Any]) -> None:
    reference, state = detector.fit(baseline(detector)), State()
    first, after = detector.score(reference, live(detector), state, SHARE)
    second, again = detector.score(reference, live(detector), state, SHARE)
    assert same(first, second)
    assert state.log_m == {}
    for process, log_m in after.log_m.items():
        assert np.array_equal(log_m, again.log_m[process])


@every_detector
def test_a_reference_survives_a_round_trip(detector: Detector[Any]) -> None:
    reference = detector.fit(baseline(detector))
    body = detector.dump(reference)
    loaded = detector.load(body)
    assert detector.dump(loaded) == body
    first, _ = detector.score(reference, live(detector), State(), SHARE)
    second, _ = detector.score(loaded, live(detector), State(), SHARE)
    assert same(first, second)
    assert b"pickle" not in body


@every_detector
@pytest.mark.parametrize("body", [b"", b"PK\x03\x04", b"\x80\x04N.", b"\x93NUMPY", b"x" * 999])
def test_damaged_references_are_refused(detector: Detector[Any], body: bytes) -> None:
    with pytest.raises(ReferenceUnreadable):
        detector.load(body)


@every_detector
def test_a_truncated_reference_is_refused(detector: Detector[Any]) -> None:
    body = detector.dump(detector.fit(baseline(detector)))
    for length in (len(body) // 2, len(body) - 1):
        with pytest.raises(ReferenceUnreadable):
            detector.load(body[:length])


@every_detector
@pytest.mark.parametrize("kind", ["ranks", "rates"])
def test_an_incomplete_reference_is_refused(detector: Detector[Any], kind: str) -> None:
    with pytest.raises(ReferenceUnreadable):
        detector.load(pack(kind, {"signals": np.array(["mean_nll"])}))


@every_detector
def test_increments_are_named_and_shaped(detector: Detector[Any]) -> None:
    reference = detector.fit(baseline(detector))
    score, state = detector.score(reference, live(detector), State(), SHARE)
    names = detector.names(reference)
    assert len(set(names)) == len(names)
    assert score.winner in names
    assert Process.NOTICE in score.increments
    for process, grown in score.increments.items():
        assert grown.shape == state.log_m[process].shape == (5, len(names))


@every_detector
def test_without_a_page_budget_it_cannot_page(detector: Detector[Any]) -> None:
    reference = detector.fit(baseline(detector))
    score, state = detector.score(reference, live(detector), State(), Budget(notice=1.0, page=0.0))
    assert score.evidence_page == -np.inf
    assert Process.PAGE not in state.log_m


@every_detector
def test_an_empty_window_still_adds_time(detector: Detector[Any]) -> None:
    reference = detector.fit(baseline(detector))
    score, state = detector.score(reference, live(detector, 0), State(), SHARE)
    assert score.n_window == 0
    assert np.isnan(score.effect)
    assert score.minimum_detectable == np.inf
    assert state.watermark == live(detector, 0).end
    assert -np.inf < score.evidence_notice < 0.0


@every_detector
def test_a_baseline_of_299_is_too_small(detector: Detector[Any]) -> None:
    small = window(detector, 299, start=START, days=14)
    with pytest.raises(ReferenceTooSmall) as refused:
        detector.fit(small)
    assert (refused.value.needed, refused.value.got) == (300, 299)


@every_detector
def test_an_unmeasured_baseline_is_absent(detector: Detector[Any]) -> None:
    bare = replace(baseline(detector), signals={})
    with pytest.raises(SignalAbsent) as refused:
        detector.fit(bare)
    assert refused.value.signals == detector.signals


@every_detector
def test_details_are_plain_json(detector: Detector[Any]) -> None:
    reference = detector.fit(baseline(detector))
    for n in (0, 1, 60):
        score, _ = detector.score(reference, live(detector, n), State(), SHARE)
        assert json.loads(json.dumps(dict(score.details), allow_nan=False))


odd = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 1e300, -1e300, 5e-324])


@every_detector
@given(data=st.lists(odd, min_size=0, max_size=50))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_dirt_crashes_nothing(detector: Detector[Any], data: list[float]) -> None:
    reference = detector.fit(baseline(detector))
    dirty = live(detector, len(data))
    dirty = replace(dirty, signals={name: np.array(data) for name in signals_of(detector)})
    score, state = detector.score(reference, dirty, State(), SHARE)
    assert not np.isnan(score.evidence_notice)
    assert not np.isnan(score.evidence_page)
    assert np.isfinite(score.value)
    assert not any(np.isnan(log_m).any() for log_m in state.log_m.values())
    assert score.n_window == int((~np.isnan(np.array(data, dtype=float))).sum())


@every_detector
@pytest.mark.parametrize("kind", ["constant", "zeros", "two values", "infinite tail"])
def test_an_odd_baseline_neither_crashes_nor_alarms_on_itself(
    detector: Detector[Any], kind: str
) -> None:
    rng = np.random.default_rng(4)

    def odd_values(n: int) -> Floats:
        return {
            "constant": np.ones(n),
            "zeros": np.where(rng.random(n) < 0.09, 0.0, rng.random(n)),
            "two values": (rng.random(n) < 0.5).astype(float),
            "infinite tail": np.where(rng.random(n) < 0.03, np.inf, rng.normal(size=n)),
        }[kind]

    own = baseline(detector)
    reference = detector.fit(
        replace(own, signals={name: odd_values(len(own)) for name in signals_of(detector)})
    )
    now = live(detector)
    score, _ = detector.score(
        reference,
        replace(now, signals={name: odd_values(len(now)) for name in signals_of(detector)}),
        State(),
        SHARE,
    )
    assert score.evidence_notice < 0.0


@every_detector
def test_a_subject_is_one_voice_in_window_and_reference(detector: Detector[Any]) -> None:
    own = baseline(detector)
    pairs = replace(own, subjects=np.arange(len(own)) // 2)
    reference = detector.fit(pairs)
    # the two records of a subject lie 10 minutes apart on average: most share a check
    assert int(reference.null.units.max()) < 0.8 * len(own)
    one_user = replace(live(detector), subjects=np.zeros(60, dtype=np.int64))
    score, _ = detector.score(reference, one_user, State(), SHARE)
    assert score.n_window == 1
    assert score.evidence_notice < 0.0


@every_detector
def test_errors_are_of_one_family(detector: Detector[Any]) -> None:
    with pytest.raises(DetectorError):
        detector.fit(live(detector, 1))


def test_importing_the_table_is_cheap() -> None:
    heavy = "scipy.special", "scipy.stats", "pandas", "torch"
    check = f"import sys, detectors; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
