import json
from typing import Any

import numpy as np
import pytest

from detectors.axes import fit_axes
from detectors.nearest import nearest
from detectors.signals import SIMILARITY
from detectors.types import SECONDS_PER_DAY, Budget, Window
from monitor.selftest import replayed
from monitor.selftest.injections import unseen_topics
from monitor.selftest.testing import SelfTestSubject, TooShort, _Count, _false_alarms, run

MONDAY = 4 * SECONDS_PER_DAY
SHARES = {
    "logit_ks": Budget(notice=0.5, page=0.5),
    "repetition": Budget(notice=0.25, page=0.5),
    "latency": Budget(notice=0.25, page=0.0),
}


def baseline(records: int, *, days: float, bad_days: float = 0.0) -> Window:
    rng = np.random.default_rng(3)
    at = MONDAY + np.sort(rng.uniform(0.0, days, records)) * SECONDS_PER_DAY
    z = (
        rng.normal(size=records)
        + bad_days * rng.normal(size=64)[((at - MONDAY) // 86_400).astype(int)]
    )
    signals = {
        "mean_nll": np.exp(0.3 * z),
        "p95_nll": 3.0 * np.exp(0.3 * z + 0.1 * rng.normal(size=records)),
        "near_certain": rng.random(records),
        "log_length": rng.normal(size=records),
        "loop": (rng.random(records) < 0.001).astype(np.float64),
    }
    return Window(start=at[0], end=at[-1] + 1.0, at=at, signals=signals)


def question(window: Window, *, per_day: float, streams: int = 20, **other: Any) -> SelfTestSubject:
    return SelfTestSubject(
        baseline=window,
        shares=SHARES,
        per_day=per_day,
        check_seconds=3_600.0,
        seed=5,
        streams=streams,
        **other,
    )


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return run(question(baseline(2_800, days=14.0), per_day=200.0))


def injected(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in report["injections"] if one["name"] == name)


def test_a_larger_shift_is_seen_sooner_and_nothing_is_quiet(report: dict[str, Any]) -> None:
    half, one = injected(report, "shift_0.5"), injected(report, "shift_1")
    assert one["page"]["within_week"]["share"] == 1.0
    assert one["notice"]["median_hours"] < half["notice"]["median_hours"]
    requests = one["notice"]["median_requests"]
    assert requests == pytest.approx(one["notice"]["median_hours"] / 24.0 * 200.0)
    for process, promised in (("notice", 0.75), ("page", 1.0)):
        quiet = report["false_alarms"][process]
        assert quiet["kept"]
        assert quiet["promised"] == promised  # latency was never measured
        assert quiet["months"] == pytest.approx(40 * 28 / 30)
        # 99 % point of a Poisson law at the promise, 40 months
        assert quiet["alarms"] <= 56


def test_a_loop_is_told_by_the_detectors_that_can_see_it(report: dict[str, Any]) -> None:
    found = injected(report, "loops_0.05")
    assert found["detectors"] == ["logit_ks", "repetition"]
    assert found["page"]["within_week"]["interval"][0] > 0.8


def test_more_traffic_than_the_baseline_had_is_not_made_of_the_same_records() -> None:
    found = run(question(baseline(1_000, days=15.0), per_day=20_000.0, streams=50))
    assert found["requests_per_day"] == pytest.approx(1_000 / 15, rel=0.01)
    assert found["false_alarms"]["notice"]["kept"]


def test_what_was_not_measured_is_said(report: dict[str, Any]) -> None:
    assert "latency" not in report["detectors"]
    assert "latency" in report["not_tested"]
    assert all(one["name"] != "new_topics" for one in report["injections"])


def test_what_nobody_could_see_is_not_injected() -> None:
    window = baseline(700, days=0.5)
    only = {"loop": window.signals["loop"]}
    loops = Window(start=window.start, end=window.end, at=window.at, signals=only)
    found = run(question(loops, per_day=900.0, streams=2))
    assert [one["name"] for one in found["injections"]] == ["loops_0.02", "loops_0.05"]
    assert set(found["not_tested"]) == {"logit_ks", "latency"}


def test_the_same_question_gives_the_same_report_in_json() -> None:
    window = baseline(700, days=0.5)
    told: list[tuple[int, int]] = []
    first = run(question(window, per_day=900.0), told=lambda done, of: told.append((done, of)))
    assert json.loads(json.dumps(first)) == run(question(window, per_day=900.0))
    assert not first["baseline"]["by_day"]
    told_of = injected(first, "shift_1")["notice"]
    assert told_of["within_week"] is None, "1,400 records are not a week of 900 a day"
    assert told_of["within_day"]["share"] == 0.0, "half a day does not know how days differ"
    assert told[-1][0] == told[-1][1]


def test_three_days_that_differ_more_than_is_assumed_are_believed() -> None:
    window = baseline(3_000, days=3.0, bad_days=1.5)
    found = run(question(window, per_day=1_000.0))["false_alarms"]["notice"]
    assert found["kept"]
    assert found["interval"][0] <= found["per_30_days"] <= found["interval"][1]


def test_more_alarms_than_promised_break_the_promise() -> None:
    # P(40 or more | 4) is below 1e-20
    told = _false_alarms(_Count(alarms=40, streams=40), months=1.0, promised=0.1)
    assert told is not None
    assert not told["kept"]
    assert told["interval"][0] > 0.1


@pytest.mark.parametrize(("records", "days"), [(300, 0.01), (320, 2.0), (599, 20.0)])
def test_a_reference_that_was_accepted_is_tested_and_what_cannot_be_known_is_said(
    records: int, days: float
) -> None:
    found = run(question(baseline(records, days=days), per_day=400.0))
    assert f"half of the baseline's {records} has fewer" in found["caveat"]
    assert found["detectors"] == ["logit_ks", "repetition"]
    assert found["false_alarms"] == {"notice": None, "page": None}
    small, large = (injected(found, name)["notice"] for name in ("shift_0.2", "shift_1"))
    # minutes do not know how days differ
    assert (large["median_hours"] is None) == (days < 1.0)
    assert (large["median_hours"] or np.inf) <= (small["median_hours"] or np.inf)
    # no stream comes by a record more than four times, so not all are a day or a week long
    known = 4 * records / 2 / found["requests_per_day"]
    assert (large["within_day"] is None) == (known < 1.0)
    assert (large["within_week"] is None) == (known < 7.0)


def test_a_longer_baseline_holds_half_of_it_back(report: dict[str, Any]) -> None:
    assert report["caveat"] is None


def test_nothing_is_refused_in_plain_words() -> None:
    nothing = replayed.take(baseline(1, days=1.0), np.arange(0, dtype=np.int64), start=0.0, end=1.0)
    with pytest.raises(TooShort, match="the baseline has no records"):
        run(question(nothing, per_day=100.0))


def test_without_a_detector_that_can_be_fitted_it_says_why() -> None:
    window = baseline(700, days=1.0)
    empty = {name: np.full(700, np.nan) for name in window.signals}
    nothing = Window(start=window.start, end=window.end, at=window.at, signals=empty)
    with pytest.raises(TooShort, match="logit_ks"):
        run(question(nothing, per_day=100.0))


@pytest.mark.parametrize("days", [2.0, 14.0])
def test_at_its_own_traffic_every_record_of_a_half_comes_once(days: float) -> None:
    window = baseline(4_000, days=days)
    own = (len(window) - 1) / (window.at[-1] - window.at[0]) * SECONDS_PER_DAY
    cut = replayed.cut(window, per_day=own, check_seconds=900.0)
    rows = np.concatenate([check.rows for check in replayed.replay(window, cut, half=1)])
    assert rows.size - np.unique(rows).size <= 16  # by rounding, one a stretch
    assert set(rows.tolist()) <= set(cut.half(1).tolist())
    assert rows.size > 0.9 * cut.half(1).size


def test_twice_the_traffic_is_twice_the_records_at_the_same_hours() -> None:
    window = baseline(4_000, days=14.0)
    sizes = []
    for factor in (1.0, 2.0):
        cut = replayed.cut(window, per_day=factor * 4_000 / 14.0, check_seconds=3_600.0)
        checks = list(replayed.replay(window, cut, half=0))
        sizes.append(np.array([check.rows.size for check in checks], dtype=float))
    assert sizes[1].sum() == pytest.approx(2.0 * sizes[0].sum(), rel=0.01)


def test_topics_taken_out_of_the_index_are_less_alike_than_what_it_knows() -> None:
    rng = np.random.default_rng(6)
    centres = rng.normal(size=(40, 16))
    texts = centres[rng.integers(40, size=2_000)] + 0.1 * rng.normal(size=(2_000, 16))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    index, known = texts[:1_600].astype(np.float16), texts[1_600:].astype(np.float32)
    found = unseen_topics(index, fit_axes(index), rng)
    assert {len(values) for values in found.values()} == {4 * 40}
    assert np.median(found[SIMILARITY]) < np.quantile(nearest(index, known).similarity, 0.05)
    assert found.keys() >= {"topic_1", "topic_12"}
    assert unseen_topics(index[:3], None, rng) == {}
