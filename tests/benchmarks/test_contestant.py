"""The product behind the contestants, and the vectorised simulation beside it."""

from functools import cache

import numpy as np
import pytest

from benchmarks.statistics.alarms import Asked, follow
from benchmarks.statistics.contestant import Driftline, InputDrift, NotFitted, summaries
from benchmarks.statistics.population import Kind
from benchmarks.statistics.streams import (
    CHECK_SECONDS,
    DRIFTS,
    MONDAY,
    Regime,
    Source,
    Stream,
    source,
)
from detectors.errors import ReferenceTooSmall
from detectors.logit_ks import LOGIT_KS
from detectors.types import Process

REFERENCE, PER_CHECK = 800, 8


@cache
def small() -> Source:
    return source(3_000, keep_tokens=True)


def tokens(stream: Stream, first: int, last: int) -> list[np.ndarray]:
    found = []
    for kind, row in zip(stream.kind[first:last], stream.row[first:last], strict=True):
        requests = small().populations[list(Kind)[kind]].requests
        assert requests is not None
        found.append(requests[row])
    return found


def hours(stream: Stream, first: int, last: int) -> list[float]:
    return ((stream.at[first:last] - MONDAY) / 3600.0).tolist()


@pytest.mark.parametrize("regime", [Regime.DAILY, Regime.MIXED])
@pytest.mark.parametrize("process", Process)
def test_the_simulation_and_the_product_on_tokens_see_the_same_evidence(
    regime: Regime, process: Process
) -> None:
    # the product takes each check's tokens; the simulation the population's summaries at once
    rng = np.random.default_rng(1)
    stream = small().steady(regime, requests=REFERENCE + 800, per_check=PER_CHECK, rng=rng)
    asked = Asked(process=process, budget=1.0)
    start = MONDAY + CHECK_SECONDS * (REFERENCE // PER_CHECK)
    fitted = LOGIT_KS.fit(stream.window(0, REFERENCE))
    expected = follow(fitted, stream, first=REFERENCE, start=start, asked=(asked,))[asked].evidence
    contestant = Driftline(process=process.value)
    contestant.fit(tokens(stream, 0, REFERENCE), hours(stream, 0, REFERENCE))
    seen = []
    for first in range(REFERENCE, stream.at.size, PER_CHECK):
        part = (stream, first, first + PER_CHECK)
        seen.append(contestant.check(tokens(*part), hours(*part))[1])
    assert seen == pytest.approx(expected.tolist(), abs=1e-6)


def fitted(process: str = "notice") -> Driftline:
    rng = np.random.default_rng(2)
    stream = small().steady(Regime.INDEPENDENT, requests=400, per_check=40, rng=rng)
    return Driftline(process=process).fit(tokens(stream, 0, 400))


def garbage(size: int) -> list[np.ndarray]:
    drift = next(drift for drift in DRIFTS if drift.name == "mean +3 sd")
    stream = small().drifted(drift, per_check=size, start=MONDAY, rng=np.random.default_rng(3))
    return tokens(stream, 0, size)


@pytest.mark.parametrize("process", ["notice", "page"])
def test_garbage_without_times_alarms_within_four_checks(process: str) -> None:
    contestant = fitted(process)
    assert any(contestant.check(garbage(40))[0] for _ in range(4))


def test_the_same_batch_at_the_same_hours_again_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    stream = small().steady(Regime.INDEPENDENT, requests=480, per_check=40, rng=rng)
    contestant = Driftline(process="notice").fit(tokens(stream, 0, 400), hours(stream, 0, 400))
    part = (stream, 400, 440)
    first = contestant.check(tokens(*part), hours(*part))
    assert contestant.check(tokens(*part), hours(*part)) == first


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param([], id="no requests"),
        pytest.param([np.array([])] * 40, id="no tokens"),
        pytest.param([np.full(50, np.nan)] * 40, id="all NaN"),
    ],
)
def test_a_batch_without_data_never_alarms(batch: list[np.ndarray]) -> None:
    contestant = fitted()
    for _ in range(50):
        alarm, evidence = contestant.check(batch, None)
        assert not alarm
        assert evidence < 0.0


def test_minus_infinity_counts_as_thirty_nats_and_is_drift() -> None:
    broken = [np.full(50, -np.inf)] * 40
    assert summaries(broken)["mean_nll"] == pytest.approx(np.full(40, 30.0))
    contestant = fitted()
    assert any(contestant.check(broken)[0] for _ in range(4))


def test_a_small_reference_is_refused() -> None:
    with pytest.raises(ReferenceTooSmall, match="300"):
        Driftline().fit([np.full(50, -0.5)] * 299)


def test_a_check_before_a_fit_is_refused() -> None:
    with pytest.raises(NotFitted):
        Driftline().check([])


def unit(rng: np.random.Generator, size: int) -> np.ndarray:
    vectors = rng.normal(size=(size, 8)) + 3.0
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_requests_from_elsewhere_are_input_drift_and_no_requests_are_not() -> None:
    rng = np.random.default_rng(4)
    contestant = InputDrift().fit(unit(rng, 500), unit(rng, 400))
    assert not contestant.check(np.empty((0, 8)))[0]
    assert not any(contestant.check(unit(rng, 40))[0] for _ in range(20))
    assert any(contestant.check(-unit(rng, 40))[0] for _ in range(4))
    assert not contestant.check(np.full((40, 8), np.nan))[0]


def test_a_mix_of_known_requests_that_shifts_is_input_drift() -> None:
    rng = np.random.default_rng(5)
    training, baseline, later = unit(rng, 2_000), unit(rng, 600), unit(rng, 2_000)
    contestant = InputDrift().fit(training, baseline)
    one_side = later[later[:, 0] > np.median(later[:, 0])]
    assert any(contestant.check(one_side[first : first + 40])[0] for first in range(0, 400, 40))
