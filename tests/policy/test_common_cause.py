"""Where a change sits, row by row, and who shares a cause with whom."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.types import Blame, Sureness, VerdictKind
from detectors.identity import IdentityState
from detectors.types import Process
from monitor.domain import Interval, Verdict, VerdictSeverity, VersionId
from monitor.policy import (
    Crossing,
    Facts,
    IdentityMemory,
    Judgement,
    Memory,
    PerplexityMemory,
    PolicySettings,
    ReferenceStage,
    judge,
)
from monitor.policy.common_cause import FleetFact, Moved, fewest, movement

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def crossed(
    detector: str = "logit_ks",
    *,
    at: datetime = NOW - HOUR,
    effect: float = 0.5,
    page: bool = False,
    hard: bool = False,
) -> Crossing:
    return Crossing(
        detector=detector,
        process=Process.PAGE if page else Process.NOTICE,
        hard=hard,
        model_side=detector not in {"input_similarity", "latency", "feedback"},
        at=at,
        evidence=0.4,
        winner=f"{detector}:up",
        onset=Interval(start=at - HOUR, end=at),
        margin=0.2,
        n=300,
        effect=effect,
        effect_low=effect - 0.1,
        paged=page,
    )


def probed(ratio: float = 0.02, *, at: datetime = NOW, **more: Any) -> PerplexityMemory:
    """A probe that found its perplexity ``ratio`` higher, give or take a point; 0: unchanged."""
    return PerplexityMemory(
        at=at,
        changed=ratio != 0,
        degraded=ratio - 0.01 >= 0.05,
        ratio=ratio,
        low=ratio - 0.01,
        base_moved=more.pop("base_moved", False),
        unchanged_streak=0 if ratio else 1,
        reason="perplexity",
        **more,
    )


STILL = probed(0.0)


def judged(memory: Memory, *, fleet: FleetFact | None = None, at: datetime = NOW) -> Judgement:
    """Judge what is remembered again, with nothing new but the fleet."""
    facts = Facts(at=at, reference=ReferenceStage.APPROVED, n_day=4_000, fleet=fleet)
    return judge(memory, facts, PolicySettings())


def other(number: int, memory: Memory, *, since: datetime = NOW, paging: bool = False) -> Moved:
    moved = movement(memory, at=since)
    assert moved is not None
    return Moved(version_id=VersionId(100 + number), movement=moved, paging=paging)


def fleet(*moved: Moved, adapters: int = 10, **more: Any) -> FleetFact:
    return FleetFact(base="llama", adapters=adapters, cycle=6 * HOUR, moved=moved, **more)


def others(count: int, memory: Memory, **more: Any) -> tuple[Moved, ...]:
    return tuple(other(number, memory, **more) for number in range(count))


SLIGHTLY = Memory(perplexity=probed(0.02))
BROKEN = Memory(perplexity=probed(0.4))

ANSWERS = (crossed(),)
INPUTS = (crossed("input_similarity"),)
LATENCY = (crossed("latency"),)


def identity(state: IdentityState) -> IdentityMemory:
    return IdentityMemory(at=NOW, state=state, reason=state.value)


@pytest.mark.parametrize(
    ("memory", "together", "blame"),
    [
        pytest.param(
            Memory(perplexity=probed(base_moved=True)), None, Blame.BASE, id="base's probe moved"
        ),
        pytest.param(
            SLIGHTLY, fleet(*others(1, SLIGHTLY)), Blame.BASE, id="2 of 10 moved: max(2, 20 %)"
        ),
        pytest.param(
            SLIGHTLY, fleet(*others(1, SLIGHTLY), adapters=11), Blame.ADAPTER, id="2 of 11 < 20 %"
        ),
        pytest.param(SLIGHTLY, fleet(adapters=1), Blame.ADAPTER, id="one of one is not two"),
        pytest.param(
            Memory(crossings=ANSWERS),
            fleet(*others(2, Memory(crossings=ANSWERS))),
            Blame.BASE,
            id="answers of several moved, no probe",
        ),
        pytest.param(
            Memory(crossings=LATENCY),
            fleet(*others(2, Memory(crossings=LATENCY))),
            Blame.BASE,
            id="several became slower",
        ),
        pytest.param(
            SLIGHTLY,
            fleet(*others(4, SLIGHTLY, since=NOW - 7 * HOUR)),
            Blame.ADAPTER,
            id="the others moved in an earlier probe cycle",
        ),
        pytest.param(
            SLIGHTLY,
            fleet(*others(4, SLIGHTLY, since=NOW - 5 * HOUR)),
            Blame.BASE,
            id="the others moved within one probe cycle",
        ),
        pytest.param(
            Memory(perplexity=probed(base_moved=None, one_replica=True)),
            None,
            Blame.SERVING,
            id="one replica alone moved",
        ),
        pytest.param(
            Memory(
                perplexity=probed(base_moved=None), identity=identity(IdentityState.NOT_APPLIED)
            ),
            None,
            Blame.SERVING,
            id="the engine does not apply it",
        ),
        pytest.param(
            Memory(identity=identity(IdentityState.MIXED_UP)), None, Blame.SERVING, id="mixed up"
        ),
        pytest.param(
            Memory(identity=identity(IdentityState.WRONG_WEIGHTS)),
            None,
            Blame.ADAPTER,
            id="other weights than registered",
        ),
        pytest.param(SLIGHTLY, None, Blame.ADAPTER, id="its probe moved, the base's did not"),
        pytest.param(
            Memory(perplexity=probed(base_moved=None)), None, Blame.UNKNOWN, id="base not asked"
        ),
        pytest.param(Memory(crossings=LATENCY), None, Blame.SERVING, id="latency alone"),
        pytest.param(
            Memory(crossings=(*LATENCY, *ANSWERS)), None, Blame.UNKNOWN, id="latency and answers"
        ),
        pytest.param(
            Memory(crossings=INPUTS, perplexity=STILL), None, Blame.INPUT, id="inputs alone moved"
        ),
        pytest.param(
            Memory(crossings=(*INPUTS, *ANSWERS), perplexity=STILL),
            None,
            Blame.INPUT,
            id="probes still, inputs and answers moved",
        ),
        pytest.param(
            Memory(crossings=INPUTS, perplexity=STILL),
            fleet(*others(5, Memory(crossings=ANSWERS))),
            Blame.INPUT,
            id="new inputs are its own matter whatever the others do",
        ),
        pytest.param(
            Memory(crossings=ANSWERS, perplexity=STILL),
            None,
            Blame.SERVING,
            id="answers moved with probes and inputs still",
        ),
        pytest.param(
            Memory(crossings=ANSWERS), None, Blame.UNKNOWN, id="no probe since the change"
        ),
        pytest.param(
            SLIGHTLY,
            fleet(adapters=30, member=True),
            Blame.BASE,
            id="a member stays one while the others recover",
        ),
    ],
)
def test_where_a_change_sits(memory: Memory, together: FleetFact | None, blame: Blame) -> None:
    verdict = judged(memory, fleet=together).verdict
    assert verdict.blame is blame, verdict.reason


def test_a_topic_change_of_one_of_two_adapters_is_no_common_cause() -> None:
    """Its answers moved with its inputs, before a probe has looked; the other has a ticket."""
    topic = Memory(crossings=(crossed("input_similarity"), crossed("entropy", page=True)))
    slow = Memory(crossings=LATENCY)
    got = judged(topic, fleet=fleet(*others(1, slow), adapters=2))
    assert (got.verdict.blame, got.verdict.sure) == (Blame.INPUT, Sureness.LIKELY)
    assert got.standing.company == ()


def test_a_common_cause_is_told_in_the_reason_and_moves_no_traffic() -> None:
    got = judged(BROKEN, fleet=fleet(*others(3, BROKEN)))
    assert (got.verdict.kind, got.verdict.severity) == (VerdictKind.CRITICAL, VerdictSeverity.PAGE)
    assert "4 of 10 adapters on llama moved within 6:00:00" in got.verdict.reason
    assert not got.action.allowed
    assert got.standing.company == (VersionId(100), VersionId(101), VersionId(102))


def test_an_adapter_far_beyond_the_others_is_its_own_matter() -> None:
    """Lower bound +39 % where the others moved by 2 %: 6.3 margins of 5 % beyond them."""
    got = judged(BROKEN, fleet=fleet(*others(7, SLIGHTLY)))
    assert got.verdict.blame is Blame.ADAPTER
    assert "a change of its own" in got.verdict.reason
    # and it does not make the others' cause less common
    assert judged(SLIGHTLY, fleet=fleet(other(0, BROKEN), *others(6, SLIGHTLY))).verdict.blame is (
        Blame.BASE
    )


def test_two_that_broke_each_in_its_own_way_are_two() -> None:
    """A small change does not share the cause of a large one."""
    got = judged(SLIGHTLY, fleet=fleet(other(0, BROKEN), adapters=5))
    assert got.verdict.blame is Blame.ADAPTER


def test_beyond_the_base_alone_is_apart_as_well() -> None:
    moved: dict[str, Any] = {"base_moved": True, "company_ratio": 0.02}
    assert judged(Memory(perplexity=probed(0.4, **moved)), fleet=fleet()).verdict.blame is (
        Blame.ADAPTER
    )
    assert judged(Memory(perplexity=probed(0.07, **moved)), fleet=fleet()).verdict.blame is (
        Blame.BASE
    )


def test_adapters_that_an_engine_damages_unequally_still_share_it() -> None:
    """+6 % to +60 %: the largest is within three robust sds of the others' spread."""
    ratios = [0.06 + 0.06 * step for step in range(10)]
    memories = [Memory(perplexity=probed(ratio)) for ratio in ratios]
    for own in range(10):
        rest = [other(n, m) for n, m in enumerate(memories) if n != own]
        assert judged(memories[own], fleet=fleet(*rest)).verdict.blame is Blame.BASE, ratios[own]


def test_a_fifth_that_is_damaged_more_than_the_rest_shares_that() -> None:
    got = judged(BROKEN, fleet=fleet(*others(1, BROKEN), *others(6, SLIGHTLY)))
    assert got.verdict.blame is Blame.BASE


def test_a_hard_signal_that_the_others_do_not_have_is_its_own() -> None:
    loops = Memory(crossings=(crossed("repetition", page=True, hard=True),))
    alone = judged(loops, fleet=fleet(*others(7, SLIGHTLY), member=True))
    assert alone.verdict.severity is VerdictSeverity.PAGE
    assert alone.verdict.blame is not Blame.BASE
    shared = judged(loops, fleet=fleet(*others(1, loops), *others(5, SLIGHTLY)))
    assert shared.verdict.blame is Blame.BASE


@pytest.mark.parametrize(
    ("moved", "unseen", "minutes", "waits"),
    [
        pytest.param((), 19, 0, False, id="the first page never waits"),
        pytest.param(others(1, BROKEN, paging=True), 18, 0, True, id="the second one does"),
        pytest.param(others(1, BROKEN, paging=True), 18, 5, False, id="for page_wait at most"),
        pytest.param(others(1, BROKEN, paging=True), 1, 0, False, id="3 cannot be 4 of 20"),
        pytest.param(others(1, BROKEN, paging=True), 0, 0, False, id="all have been seen"),
        pytest.param(others(2, SLIGHTLY), 17, 0, False, id="no page has gone out"),
    ],
)
def test_a_second_page_waits_minutes_for_the_others_to_be_seen(
    *, moved: tuple[Moved, ...], unseen: int, minutes: int, waits: bool
) -> None:
    since = Verdict(
        kind=VerdictKind.CRITICAL, reason="broken", detectors=("perplexity",), since=NOW
    )
    memory = replace(BROKEN, verdict=since)
    got = judged(memory, fleet=fleet(*moved, adapters=20, unseen=unseen), at=NOW + minutes * MINUTE)
    assert got.standing.waits is waits
    assert ("the page waits until others" in got.verdict.reason) is waits


def test_at_least_two_and_a_fifth() -> None:
    assert [fewest(count) for count in (1, 5, 10, 11, 20, 120)] == [2, 2, 2, 3, 4, 24]
