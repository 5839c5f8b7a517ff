"""A person's word on an incident, through the evaluator, the store and the outbox."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.types import VerdictKind
from detectors.types import Process
from monitor.domain import EvaluationKind, IncidentId, Interval, Mark, VerdictSeverity, Version
from monitor.evaluate.message import Messages
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.marking import Hearers, NotMarkable, Word, mark
from monitor.policy import Crossing
from monitor.reference.accept import accept
from monitor.reference.build import build_next
from monitor.reference.index import Indexes
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.evaluation import verdicts
from monitor.store.evaluation.tasks import StaleLease
from monitor.store.incidents import deliveries, incidents
from monitor.store.incidents.incidents import IncidentRow
from tests.evaluate.conftest import NoEncoder
from tests.evaluate.test_fleet_incident import NAMES, Nowhere, Told, fleet
from tests.probed_fleet import HOUR

__all__ = ["fleet"]

Make = Callable[..., tuple[Told, list[Version]]]


def said(what: Mark = Mark.FALSE_PAGE, *, because: str = "a load test") -> Word:
    return Word(mark=what, by="ann", because=because, at=datetime.now(tz=UTC))


class Watched:
    """A world whose messages go to a real outbox."""

    def __init__(self, world: Any) -> None:
        self.world = world
        tell = Messages(
            channels=[ConfiguredChannel(name="all", channel=Nowhere())],
            preview=lambda *_, **__: None,
            doubts=lambda *_: {},
        )
        self.evaluator = world.evaluator(tell=tell)

    def evaluate(self, kind: EvaluationKind = EvaluationKind.LIVE) -> None:
        self.world.make_due()
        claim = self.world.claim(kind)
        assert claim is not None
        self.evaluator.evaluate(claim)

    def until(self, kind: VerdictKind, *, shift: float) -> None:
        for _ in range(8):
            self.world.send(120, shift=shift)
            self.evaluate()
            if self.verdict() is kind:
                return
        raise AssertionError(f"never {kind}: {self.verdict()}")

    def verdict(self) -> VerdictKind:
        return self.judged().verdict.kind

    def judged(self) -> Any:
        version_id = self.world.version.id
        return self.world.database.run(lambda tx: verdicts.current(tx, version_id=version_id))

    def incidents(self) -> list[IncidentRow]:
        return list(self.world.database.run(incidents.incident_list))

    def mark(self, number: int, word: Word) -> bool:
        """By the id of an incident."""
        return bool(
            self.world.database.run(
                lambda tx: mark(tx, IncidentId(number), word, hearers=Hearers())
            )
        )

    def messages(self) -> list[tuple[str, int]]:
        rows = self.world.database.run(lambda tx: deliveries.newest(tx, limit=100))
        return [(row.alert["status"], row.alert["number"]) for row in rows[::-1]]


@pytest.fixture
def watched(world: Any) -> Watched:
    return Watched(world)


def test_a_false_page_ends_and_comes_back_only_by_new_evidence(watched: Watched) -> None:
    watched.until(VerdictKind.CRITICAL, shift=3.0)
    [paged] = watched.incidents()
    assert watched.mark(paged.id, said())
    [ended] = watched.incidents()
    assert (ended.marked, ended.marked_by, ended.marked_because) == (
        Mark.FALSE_PAGE,
        "ann",
        "a load test",
    )
    assert ended.closed_at is not None
    assert ended.closing == "false_page"
    judged = watched.judged()
    assert judged.verdict.kind is VerdictKind.STABLE
    assert judged.verdict.reason == "marked as a false alarm by ann: a load test"
    assert judged.memory.crossings == ()
    assert watched.messages() == [("started", 1), ("recovered", 1)]
    [act] = [one for one in watched.world.database.run(audit.newest) if one.act.startswith("inc")]
    assert (act.actor, act.act, act.details["of"]) == ("ann", "incident.false", ["support@v7"])

    # what moved it is over: nothing is told of again, whatever the old evidence was
    for _ in range(3):
        watched.world.send(60)
        watched.evaluate()
    assert watched.verdict() is VerdictKind.STABLE
    assert len(watched.messages()) == 2
    # said twice is said once, and the opposite is refused
    assert not watched.mark(paged.id, said(because="another reason"))
    with pytest.raises(NotMarkable, match="was marked as a false alarm by ann; that stands"):
        watched.mark(paged.id, said(Mark.ACCEPTED))

    # a drift that is there is found again, as an incident of its own
    watched.until(VerdictKind.CRITICAL, shift=3.0)
    assert [one.number for one in watched.incidents()] == [2, 1]


def test_the_new_normal_is_what_later_records_are_compared_with(
    watched: Watched, tmp_path: Path
) -> None:
    watched.until(VerdictKind.CRITICAL, shift=3.0)
    watched.world.send(400, shift=3.0)
    [paged] = watched.incidents()
    database = watched.world.database
    word = said(Mark.ACCEPTED, because="the new prompt")
    [anew] = database.run(lambda tx: accept(tx, paged.id, word, hearers=Hearers()))
    assert anew.records >= 400
    [closed] = watched.incidents()
    assert (closed.marked, closed.closed_at is not None) == (Mark.ACCEPTED, True)
    assert closed.closing == "accepted"
    assert watched.verdict() is VerdictKind.STABLE
    # no record has a vector, so that nothing is asked of an encoder
    assert build_next(database, NoEncoder(), indexes=Indexes(tmp_path))
    for _ in range(4):
        watched.world.send(100, shift=3.0)
        watched.evaluate()
        assert watched.verdict() is VerdictKind.STABLE
    assert watched.messages() == [("started", 1), ("recovered", 1)]
    watched.until(VerdictKind.CRITICAL, shift=0.0)  # what was normal before is a change now


def test_accepted_weights_are_registered_anew(fleet: Make) -> None:
    made, versions = fleet()
    made.toys.shift["adapter-3", ""] = 0.3
    [version] = [one for one in versions if one.adapter == "adapter-3"]
    for _ in range(2):
        made.probe(version)
    assert made.verdict(version).kind is VerdictKind.CRITICAL
    [paged] = made.incidents()
    word = said(Mark.ACCEPTED, because="trained further in place")
    database = made.world.database
    [anew] = database.run(lambda tx: accept(tx, paged.id, word, hearers=Hearers()))
    assert (anew.reference, anew.perplexity) == (None, True)
    for _ in range(3):
        made.age(6 * HOUR)
        made.probe(version)
    assert made.verdict(version).severity is VerdictSeverity.NONE
    made.toys.shift["adapter-3", ""] = 0.6  # compared with what was accepted, as much again
    made.age(6 * HOUR)
    for _ in range(2):
        made.probe(version)
    assert made.verdict(version).kind is VerdictKind.CRITICAL
    assert made.score(version).value == pytest.approx(math.expm1(0.3), abs=0.02)


def crossed_lately(database: Database, version: Version) -> datetime:
    """Let a version's verdict hold a crossing of answers that began just now."""
    now = datetime.now(tz=UTC)
    crossing = Crossing(
        detector="logit_ks", process=Process.NOTICE, hard=False, model_side=True, at=now,
        evidence=2.0, winner="mean_nll:up", onset=Interval(start=now, end=now), margin=0.2,
    )  # fmt: skip

    def work(tx: Connection) -> None:
        row = verdicts.current(tx, version_id=version.id, lock=True)
        assert row is not None
        memory = replace(row.memory, crossings=(crossing,))
        verdicts.put(
            tx, version_id=version.id, verdict=row.verdict, memory=memory,
            size=None,
        )  # fmt: skip

    database.run(work)
    return now


def test_an_accepted_upgrade_is_registered_anew_for_all_its_members(fleet: Make) -> None:
    made, versions = fleet()
    made.toys.engine_shift = 0.02
    for version in versions:
        made.probe(version)
    [common] = made.incidents()
    # one member's answers had moved as well, too lately to make a reference of them
    late = crossed_lately(made.world.database, versions[0])
    word = said(Mark.ACCEPTED, because="the engine's upgrade")
    database = made.world.database
    anew = database.run(lambda tx: accept(tx, common.id, word, hearers=Hearers()))
    assert [one.perplexity for one in anew] == [True] * len(versions)
    [left] = [one for one in anew if one.left]
    assert (left.version.id, left.reference) == (versions[0].id, None)
    assert left.left == (
        f"{versions[0].label} has 0 records since {late:%Y-%m-%d %H:%M} UTC, when the change began;"
        " a reference takes 300."
    )
    for _ in range(2):
        made.age(6 * HOUR)
        for version in versions:
            made.probe(version)
    assert made.incidents() == []
    assert {made.verdict(version).severity for version in versions} == {VerdictSeverity.NONE}


def test_what_is_being_evaluated_meanwhile_is_not_written(watched: Watched) -> None:
    watched.until(VerdictKind.CRITICAL, shift=3.0)
    watched.world.make_due()
    claim = watched.world.claim()
    assert claim is not None
    [paged] = watched.incidents()
    watched.mark(paged.id, said())
    with pytest.raises(StaleLease):
        watched.evaluator.evaluate(claim)
    assert watched.verdict() is VerdictKind.STABLE
    watched.world.send(60)
    watched.evaluate()  # it was handed back, not lost
    assert watched.verdict() is VerdictKind.STABLE


def test_nothing_is_claimed_while_a_word_is_being_written(watched: Watched) -> None:
    watched.until(VerdictKind.CRITICAL, shift=3.0)
    watched.world.make_due()
    [paged] = watched.incidents()
    with watched.world.database.begin() as tx:
        mark(tx, paged.id, said(), hearers=Hearers())
        # it would read the evidence that is being taken back, and write it anew
        assert watched.world.claim() is None
    assert watched.world.claim() is not None


def test_one_that_is_over_is_judged_too_and_not_reopened(watched: Watched) -> None:
    watched.until(VerdictKind.CRITICAL, shift=3.0)
    database = watched.world.database
    with database.begin() as tx:  # it recovered: what follows within 7 days would reopen it
        tx.execute(
            sa.text(
                "UPDATE incidents SET closed_at = now(), phase = 'ok', state = state ||"
                " jsonb_build_object('phase', 'ok', 'told', NULL, 'since', NULL,"
                " 'recovered_at', to_jsonb(now()))"
            )
        )
    [paged] = watched.incidents()
    assert watched.mark(paged.id, said())
    assert watched.verdict() is VerdictKind.CRITICAL  # only what was said of it has changed
    watched.world.send(60, shift=3.0)
    watched.evaluate()
    assert watched.messages() == [("started", 1), ("started", 2)]


def test_silence_is_no_false_page_while_it_lasts(watched: Watched) -> None:
    watched.until(VerdictKind.CRITICAL, shift=3.0)
    with watched.world.database.begin() as tx:
        tx.execute(sa.text("UPDATE incidents SET kind = 'no_data'"))
    [silent] = watched.incidents()
    with pytest.raises(NotMarkable, match="records that do not come, and ends when they do"):
        watched.mark(silent.id, said())
    with pytest.raises(LookupError, match="no incident 999"):
        watched.mark(999, said())


def test_a_false_fleet_incident_is_false_for_all_its_members(fleet: Make) -> None:
    made, versions = fleet(base=False)
    made.toys.engine_shift = 0.3
    for version in versions:
        made.probe(version)
    assert {made.verdict(version).kind for version in versions} == {VerdictKind.CRITICAL}
    common, own = made.incidents()  # the page of the first member went out before the cause
    database = made.world.database
    word = said(because="the engine's nightly test")
    assert database.run(lambda tx: mark(tx, common.id, word, hearers=Hearers()))
    assert made.incidents() == []
    assert made.members() == []
    assert {made.verdict(version).kind for version in versions} == {VerdictKind.STABLE}
    for row in made.incidents(open_only=False):
        assert (row.marked, row.closed_at is not None) == (Mark.FALSE_PAGE, True)
    assert own.id in {row.id for row in made.incidents(open_only=False)}
    ended = [told for told in made.messages() if told[2] == "recovered"]
    assert sorted(ended) == [
        ("all", "", "recovered", "ticket"),  # as it was told: a page was out already
        ("all", "support", "recovered", "page"),
        ("oncall", "", "recovered", "ticket"),
        ("oncall", "support", "recovered", "page"),
    ]

    # the engine is as it was: what follows finds nothing
    made.toys.engine_shift = 0.0
    made.age(6 * HOUR)
    for version in versions:
        made.probe(version)
    assert made.incidents() == []


def test_a_member_alone_is_judged_alone_and_leaves(fleet: Make) -> None:
    made, versions = fleet()
    made.toys.engine_shift = 0.02
    for version in versions:
        made.probe(version)
    made.toys.shift["adapter-3", ""] = 0.3
    made.age(6 * HOUR)
    broken = next(version for version in versions if version.adapter == "adapter-3")
    for _ in range(2):
        made.probe(broken)
    [own] = [one for one in made.incidents() if one.adapter == "adapter-3"]
    made.world.database.run(lambda tx: mark(tx, own.id, said(), hearers=Hearers()))
    [common] = made.incidents()
    assert common.base_model is not None
    assert made.verdict(broken).kind is VerdictKind.STABLE
    assert made.verdict(versions[0]).kind is VerdictKind.DRIFTING
    assert set(made.members()) == {"support", *NAMES} - {"adapter-3"}
