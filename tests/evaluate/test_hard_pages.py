"""How many pages hard signals send: a simulation with fixed seeds, through the product's rules."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pytest

from detectors.error_rate import ERRORS
from detectors.types import Budget, Effect, Floats, State, Window
from monitor.domain import Interval, VerdictSeverity
from monitor.evaluate.findings import DetectorQuestion, find
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy import (
    DetectorFact,
    Facts,
    Memory,
    PolicySettings,
    ReferenceStage,
    judge,
)
from monitor.policy.facts import Increment

START = 1_699_833_600.0
STEP = 300.0
"""Seconds of a window."""
MINUTE = 60.0
SHARE = Budget(notice=1.0 / 17, page=1.0 / 12)
RATE = 0.002
USERS = 20
SETTINGS = PolicySettings()


def window(start: float, failed: Floats, users: np.ndarray, *, step: float = STEP) -> Window:
    at = start + step * (np.arange(failed.size) + 0.5) / max(1, failed.size)
    end = start + step
    return Window(start=start, end=end, at=at, signals={"error": failed}, subjects=users)


def requests(
    rng: np.random.Generator, count: int, users: int = USERS, rate: float = RATE
) -> tuple[Floats, np.ndarray]:
    return (rng.random(count) < rate).astype(float), rng.integers(users, size=count)


def reference(
    rng: np.random.Generator,
    *,
    count: int = 20_000,
    seconds: float = 15 * 86_400.0,
    rate: float = RATE,
) -> object:
    failed, users = requests(rng, count, rate=rate)
    at = START - seconds + seconds * (np.arange(count) + 0.5) / count
    return ERRORS.fit(
        Window(start=at[0], end=START, at=at, signals={"error": failed}, subjects=users)
    )


def pages(windows: list[Window], known: object) -> list[int]:
    """Give the windows in which a page goes out, each judged as the service judges them."""
    state, found = State(), []
    memory = Memory()
    for place, now in enumerate(windows):
        score, state = ERRORS.score(known, now, state, SHARE)  # type: ignore[arg-type]
        crossed = score.evidence_page >= 0.0
        if crossed or memory.crossings:
            recent = windows[max(0, place - 11) : place + 1]
            effect = ERRORS.effect_since(known, joined(recent))  # type: ignore[arg-type]
            memory, paged = judged(memory, score.evidence_page, effect, at=now.end)
            if paged:
                found.append(place)
                memory = Memory()
            elif place % 24 == 0:  # a ticket that a person has looked at
                memory = Memory()
    return found


def judged(memory: Memory, evidence: float, effect: Effect, *, at: float) -> tuple[Memory, bool]:
    when = datetime.fromtimestamp(at, tz=UTC)
    fact = DetectorFact(
        detector="errors",
        hard=True,
        model_side=True,
        margin=0.05,
        evidence_notice=evidence,
        evidence_page=evidence,
        onset=Interval(start=when, end=when),
        effect=effect,
    )
    facts = Facts(at=when, reference=ReferenceStage.APPROVED, detectors=(fact,), n_day=4_000)
    got = judge(memory, facts, SETTINGS)
    return got.memory, any(c.paged for c in got.memory.crossings)


def joined(parts: Sequence[Window]) -> Window:
    return Window(
        start=parts[0].start,
        end=parts[-1].end,
        at=np.concatenate([one.at for one in parts]),
        signals={"error": np.concatenate([one.signals["error"] for one in parts])},
        subjects=np.concatenate([one.subjects for one in parts if one.subjects is not None]),
    )


def test_a_user_who_loops_for_an_hour_a_day_pages_nobody_in_ten_days() -> None:
    """Ten loops of 360 failing requests each; by subjects alone each would have paged.

    Bound: no page at all; one false page is accepted in 12 such months.
    """
    rng = np.random.default_rng(140)
    known, windows, crossings = reference(rng), [], 0
    for number in range(10 * 288):
        failed, users = requests(rng, int(rng.poisson(14)))
        if number % 288 < 12:  # the first hour of each day
            failed, users = np.r_[failed, np.ones(30)], np.r_[users, np.full(30, USERS)]
        windows.append(window(START + STEP * number, failed, users))
    state = State()
    for now in windows:
        score, state = ERRORS.score(known, now, state, SHARE)  # type: ignore[arg-type]
        crossings += score.evidence_page >= 0.0
    assert crossings >= 5, "the evidence alone does see them"
    assert pages(windows, known) == []


@pytest.mark.parametrize(("users", "minutes"), [(1, 65), (7, 15), (20, 10)])
def test_a_total_outage_pages_within_minutes_however_few_its_users(
    users: int, minutes: int
) -> None:
    """One user is one unit a window, of which twelve are enough."""
    rng = np.random.default_rng(141)
    known = reference(rng)
    for _ in range(5):
        before = [window(START + STEP * i, *requests(rng, 10, users)) for i in range(12)]
        after = [
            window(START + STEP * i, np.ones(10), np.arange(10) % users) for i in range(12, 40)
        ]
        first = pages([*before, *after], known)[0]
        assert (first - 11) * STEP / 60 <= minutes


@dataclass(frozen=True)
class _Past:
    """What came before a window."""

    windows: Sequence[Window]
    increments: Sequence[Increment]

    @property
    def recent(self) -> Window:
        return joined(self.windows)

    @property
    def recent_beside(self) -> Sequence[Window]:
        return []

    @property
    def feedback(self) -> Window:
        raise AssertionError("errors are no feedback")

    def past(self, detector: str) -> Sequence[Increment]:
        assert detector == ERRORS.name
        return self.increments


def evaluated_until_page(windows: Sequence[Window], known: object) -> int:
    """Return the window that pages, each looked into and judged by the service's functions."""
    state, memory, past = State(), Memory(), list[Increment]()
    for place, now in enumerate(windows):
        lookback = _Past(windows=windows[: place + 1], increments=past)
        found = find(
            DetectorQuestion(
                detector=ERRORS,
                reference=known,
                window=now,
                state=state,
                budget=SHARE,
                memory=memory,
                lookback=lookback,
            ),
            EvaluateSettings(),
        )
        assert found.score is not None
        assert found.state is not None
        state, at = found.state, datetime.fromtimestamp(now.end, tz=UTC)
        facts = Facts(
            at=at, reference=ReferenceStage.PROVISIONAL, detectors=(found.fact,), n_day=4_000
        )
        got = judge(memory, facts, SETTINGS)
        memory = got.memory
        if got.verdict.severity is VerdictSeverity.PAGE:
            return place
        start = datetime.fromtimestamp(now.start, tz=UTC)
        grown, n = found.score.increments, found.score.n_window
        past.append(Increment(window_start=start, at=at, n_units=n, by_process=grown))
    raise AssertionError("nothing pages")


@pytest.mark.parametrize(
    ("count", "seconds", "latest"),
    [
        pytest.param(20_000, 15 * 86_400.0, 75.0, id="a reference of a fortnight"),
        pytest.param(1_000, 3 * 3_600.0, 80.0, id="one of three hours"),
        # 20 users in two checks of a quarter of an hour: 40 units to compare 20 with
        pytest.param(1_000, 1_000.0, 200.0, id="one that was learned within 17 minutes"),
    ],
)
@pytest.mark.parametrize("healthy", [0, 20, 40, 55])
def test_windows_of_a_minute_page_by_how_long_the_reference_has_seen(
    count: int, seconds: float, latest: float, healthy: int
) -> None:
    """20 users send a request a second: seconds from the first failure to the end of the window.

    The references have seen no failure.
    """
    rng = np.random.default_rng(142)
    known = reference(rng, count=count, seconds=seconds, rate=0.0)
    users = np.arange(60) % USERS
    outage = [(np.arange(60) >= healthy).astype(float), *[np.ones(60)] * 8]
    windows = [
        window(START + MINUTE * place, failed, users, step=MINUTE)
        for place, failed in enumerate([*[np.zeros(60)] * 12, *outage])
    ]
    after = MINUTE * (evaluated_until_page(windows, known) - 11) - healthy
    print(f"{after:.0f} s")
    assert after <= latest
