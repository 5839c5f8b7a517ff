"""What evaluations read of the others on their base."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.types import Blame, VerdictKind
from detectors.types import Process
from monitor.domain import EvaluationKind, Interval, Verdict, VerdictSeverity, Version
from monitor.policy import Crossing, Memory, PerplexityMemory
from monitor.policy.common_cause import Moved, movement
from monitor.store import clock
from monitor.store.database import Database
from monitor.store.evaluation import movements, tasks, verdicts
from monitor.store.incidents import fleet_incidents
from monitor.store.registry import adapters, versions
from monitor.store.traffic import common_cause

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROBED = PerplexityMemory(
    at=NOW,
    changed=True,
    degraded=True,
    ratio=0.4,
    low=0.3,
    base_moved=False,
    unchanged_streak=0,
    reason="perplexity",
    company_ratio=0.1,
)
MOVED = Memory(perplexity=PROBED)
TOPIC = Crossing(
    detector="input_similarity",
    process=Process.NOTICE,
    hard=False,
    model_side=False,
    at=NOW,
    evidence=0.4,
    winner="input_similarity:up",
    onset=Interval(start=NOW - timedelta(hours=1), end=NOW),
    margin=0.2,
    n=300,
)
PAGE = Verdict(
    kind=VerdictKind.CRITICAL,
    severity=VerdictSeverity.PAGE,
    blame=Blame.ADAPTER,
    reason="worse",
    since=NOW,
)
TICKET = replace(PAGE, kind=VerdictKind.DRIFTING, severity=VerdictSeverity.TICKET)
QUIET = replace(PAGE, kind=VerdictKind.STABLE, severity=VerdictSeverity.NONE)


def judged(
    tx: Connection,
    name: str,
    verdict: Verdict,
    memory: Memory,
    *,
    version: str = "v1",
    base: str = "llama",
) -> Version:
    adapter = adapters.put(tx, name=name)
    model = f"{name}@{version}"
    made = versions.put(tx, adapter=adapter, name=version, model=model, base_model=base)
    verdicts.claim_row(tx, version_id=made.id, adapter_id=made.adapter_id)
    verdicts.put(tx, version_id=made.id, verdict=verdict, memory=memory, size=None)
    return made


def of(version: Version, *, paging: bool) -> Moved:
    found = movement(MOVED, at=NOW)
    assert found is not None
    return Moved(version_id=version.id, movement=found, paging=paging)


def test_one_version_of_each_other_adapter_is_read_and_those_that_page_before_others(
    database: Database,
) -> None:
    with database.begin() as tx:
        own = judged(tx, "own", PAGE, MOVED)
        judged(tx, "own", PAGE, MOVED, version="v2")
        judged(tx, "two", TICKET, MOVED)
        paging = judged(tx, "two", PAGE, MOVED, version="v2")
        ticket = judged(tx, "ticket", TICKET, MOVED)
        judged(tx, "elsewhere", PAGE, MOVED, base="qwen")
        found = movements.on_base(tx, "llama", but=own.adapter_id)
    assert set(found) == {of(paging, paging=True), of(ticket, paging=False)}


@pytest.mark.parametrize(
    ("verdict", "memory"),
    [
        pytest.param(QUIET, MOVED, id="nothing is raised"),
        pytest.param(TICKET, Memory(crossings=(TOPIC,)), id="only what is asked moved"),
        pytest.param(replace(PAGE, blame=Blame.INPUT), MOVED, id="what is asked explains it"),
    ],
)
def test_those_that_did_not_move_by_themselves_are_not_read(
    database: Database, verdict: Verdict, memory: Memory
) -> None:
    with database.begin() as tx:
        own = judged(tx, "own", PAGE, MOVED)
        other = judged(tx, "other", PAGE, MOVED)
        assert movements.on_base(tx, "llama", but=own.adapter_id) == (of(other, paging=True),)
        verdicts.put(tx, version_id=other.id, verdict=verdict, memory=memory, size=None)
        assert movements.on_base(tx, "llama", but=own.adapter_id) == ()


def test_probes_that_are_forgotten_are_no_move(database: Database) -> None:
    with database.begin() as tx:
        own = judged(tx, "own", PAGE, MOVED)
        other = judged(tx, "other", PAGE, MOVED)
        verdicts.forget_probes(tx, sa.select(sa.literal(other.id)))
        assert movements.on_base(tx, "llama", but=own.adapter_id) == ()


def looked_at(database: Database, own: Version, *, turned: datetime) -> tuple[int, int]:
    """How many adapters a page, and how many the brake on traffic, waits for."""
    hour = timedelta(hours=1)
    with database.begin() as tx:
        _, page = fleet_incidents.looked_at(
            tx, own, cycle=hour, kind=EvaluationKind.LIVE, turned=turned
        )
        brake = common_cause.company(tx, own.adapter_id, turned=turned, cycle=hour)
    return page, brake.unseen


class TwoOnABase:
    """A version that turned, and the task of another adapter on its base."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.begin() as tx:
            self.own = judged(tx, "own", PAGE, MOVED)
            self.other = judged(tx, "other", QUIET, MOVED)
            tasks.ensure(tx, first_due={EvaluationKind.LIVE: timedelta()})
        for _ in range(2):
            self.finish(self.claim(), window_judged=True)
        self.turned = database.run(clock.now)

    def claim(self) -> tasks.Claim:
        with self.database.begin() as tx:
            found = tasks.claim(
                tx, owner="me", kinds=[EvaluationKind.LIVE], lease=timedelta(minutes=1), limit=1
            )
        return found[0]

    def claim_of_the_other(self) -> tasks.Claim:
        with self.database.begin() as tx:
            tasks.request(tx, version_id=self.other.id, kinds=[EvaluationKind.LIVE])
        return self.claim()

    def finish(self, claim: tasks.Claim, *, window_judged: bool) -> None:
        self.database.run(lambda tx: tasks.finish(tx, [done(claim, judged=window_judged)]))

    @property
    def waited_for(self) -> tuple[int, int]:
        return looked_at(self.database, self.own, turned=self.turned)


def done(claim: tasks.Claim, *, judged: bool) -> tasks.Finished:
    later = claim.now + timedelta(hours=1)
    return tasks.Finished(claim=claim, next_due=later, next_start=claim.now, judged=judged)


def test_another_is_waited_for_until_a_window_of_it_is_judged(database: Database) -> None:
    two = TwoOnABase(database)
    assert two.waited_for == (1, 1)
    two.finish(two.claim_of_the_other(), window_judged=False)
    assert two.waited_for == (1, 1), "its window was judged before, by whoever held it then"
    two.finish(two.claim_of_the_other(), window_judged=True)
    assert two.waited_for == (0, 0)


def test_a_window_judged_after_a_wait_for_the_bases_lock_counts_as_judged_then(
    database: Database,
) -> None:
    """Its transaction began before the version turned; what it judged is newer."""
    two = TwoOnABase(database)
    claim = two.claim_of_the_other()
    with database.begin() as tx:
        tx.execute(sa.text("SELECT now()"))
        two.turned = database.run(clock.now)
        tasks.finish(tx, [done(claim, judged=True)])
    assert two.waited_for == (0, 0)
