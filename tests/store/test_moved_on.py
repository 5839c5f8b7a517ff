"""What evaluations read of the others on their base."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.types import Blame, VerdictKind
from detectors.types import Process
from monitor.domain import Interval, Verdict, VerdictSeverity, Version
from monitor.policy import Crossing, Memory, PerplexityMemory
from monitor.policy.common_cause import Moved, movement
from monitor.store.database import Database
from monitor.store.evaluation import verdicts
from monitor.store.registry import adapters, versions

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
        found = verdicts.moved_on(tx, "llama", but=own.adapter_id)
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
        assert verdicts.moved_on(tx, "llama", but=own.adapter_id) == (of(other, paging=True),)
        verdicts.put(tx, version_id=other.id, verdict=verdict, memory=memory, size=None)
        assert verdicts.moved_on(tx, "llama", but=own.adapter_id) == ()


def test_probes_that_are_forgotten_are_no_move(database: Database) -> None:
    with database.begin() as tx:
        own = judged(tx, "own", PAGE, MOVED)
        other = judged(tx, "other", PAGE, MOVED)
        verdicts.forget_probes(tx, sa.select(sa.literal(other.id)))
        assert verdicts.moved_on(tx, "llama", but=own.adapter_id) == ()
