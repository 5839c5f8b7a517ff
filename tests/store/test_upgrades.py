"""What migrations fill in from the rows that an earlier release left.

Rows are written in SQL: the code of this release knows only the newest columns.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from alembic import command

from monitor.domain import AdapterId, EvaluationKind, Version, VersionId
from monitor.policy.common_cause import Moved, Movement
from monitor.store import schema
from monitor.store.database import Database
from monitor.store.evaluation import movements
from monitor.store.incidents import fleet_incidents
from monitor.store.registry import versions
from monitor.store.traffic import common_cause

TURNED = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
NOBODY = AdapterId(0)


class BeforeMoved:
    """A database at schema 0038, with versions of adapters on one base."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with database.begin() as tx:
            command.upgrade(schema.alembic_config(tx), "0038")

    def _write(self, statement: str, **values: object) -> int:
        with self.database.begin() as tx:
            found: int = tx.execute(sa.text(statement), values).scalar_one()
        return found

    def version(self, adapter: str, name: str = "v1") -> VersionId:
        of = self._write(
            "INSERT INTO adapters (name) VALUES (:name)"
            " ON CONFLICT (name) DO UPDATE SET name = :name RETURNING id",
            name=adapter,
        )
        made = self._write(
            "INSERT INTO versions (adapter_id, name, model, base_model)"
            " VALUES (:of, :name, :model, 'llama') RETURNING id",
            of=of,
            name=name,
            model=f"{adapter}@{name}",
        )
        return VersionId(made)

    def verdict(
        self, of: VersionId, kind: str, severity: str, blame: str, *, since: datetime = TURNED
    ) -> None:
        self._write(
            "INSERT INTO verdicts"
            " (version_id, adapter_id, kind, severity, blame, reason, since, memory)"
            " SELECT id, adapter_id, :kind, :severity, :blame, 'because', :since, '{}'"
            " FROM versions WHERE id = :of RETURNING version_id",
            of=of,
            kind=kind,
            severity=severity,
            blame=blame,
            since=since,
        )

    def task(self, of: VersionId, kind: EvaluationKind = EvaluationKind.LIVE) -> None:
        self._write(
            "INSERT INTO tasks (version_id, kind, next_due_at) VALUES (:of, :kind, :at)"
            " RETURNING id",
            of=of,
            kind=kind.value,
            at=TURNED,
        )

    def evaluation(
        self,
        of: VersionId,
        at: datetime,
        kind: EvaluationKind = EvaluationKind.LIVE,
        state: str = "done",
    ) -> None:
        """Note a window that ended, and was worked on, at a time."""
        self._write(
            "INSERT INTO evaluations (adapter_id, version_id, kind, window_start, window_end,"
            " state, epoch, started_at, finished_at)"
            " SELECT adapter_id, id, :kind, :at, :at, :state, 1, :at, :at"
            " FROM versions WHERE id = :of RETURNING id",
            of=of,
            kind=kind.value,
            at=at,
            state=state,
        )

    def upgraded(self) -> Database:
        schema.migrate(self.database)
        return self.database


@pytest.fixture
def before(database_url: str) -> Iterator[BeforeMoved]:
    opened = Database(database_url)
    yield BeforeMoved(opened)
    opened.close()


def test_raised_versions_count_as_moved_until_their_next_evaluation_says_how_far(
    before: BeforeMoved,
) -> None:
    """Without that, a page that was alone among fifty broken ones would blame its adapter."""
    page, ticket = before.version("page"), before.version("ticket")
    before.verdict(page, "critical", "page", "adapter")
    before.verdict(ticket, "drifting", "ticket", "unknown", since=TURNED - HOUR)
    before.verdict(before.version("asked"), "drifting", "ticket", "input")
    before.verdict(before.version("blind"), "blind", "ticket", "unknown")
    before.verdict(before.version("stable"), "stable", "none", "unknown")
    with before.upgraded().begin() as tx:
        found = movements.on_base(tx, "llama", but=NOBODY)
    assert set(found) == {
        Moved(version_id=page, movement=Movement(since=TURNED, size=0.0), paging=True),
        Moved(version_id=ticket, movement=Movement(since=TURNED - HOUR, size=0.0)),
    }


def unseen(database: Database, own: VersionId) -> tuple[int, int]:
    """How many others the page waits for, and the brake on traffic."""
    with database.begin() as tx:
        version: Version = versions.fetch_by_id(tx, own)
        _, page = fleet_incidents.looked_at(
            tx, version, cycle=HOUR, kind=EvaluationKind.LIVE, turned=TURNED
        )
        brake = common_cause.company(tx, version.adapter_id, turned=TURNED, cycle=HOUR).unseen
    return page, brake


def test_those_that_were_evaluated_before_an_upgrade_are_waited_for_by_their_last_window(
    before: BeforeMoved,
) -> None:
    """A thousand adapters are not new to the service because it was upgraded."""
    own, waited_for = before.version("own"), before.version("waited for")
    seen, long_ago, never = map(before.version, ("seen", "long ago", "never"))
    for one in (own, waited_for, seen, long_ago, never):
        before.task(one)
        before.task(one, EvaluationKind.HARD)
    before.evaluation(own, TURNED)
    before.evaluation(waited_for, TURNED - 9 * MINUTE)
    before.evaluation(waited_for, TURNED - 4 * MINUTE)
    # it was down, or its other detectors were looked at: no live window was judged since
    before.evaluation(waited_for, TURNED + MINUTE, state="skipped")
    before.evaluation(waited_for, TURNED + MINUTE, EvaluationKind.HARD)
    before.evaluation(seen, TURNED + 2 * MINUTE)
    before.evaluation(seen, TURNED - 3 * MINUTE)
    before.evaluation(long_ago, TURNED - 5 * HOUR)
    database = before.upgraded()
    assert unseen(database, own) == (1, 1)
    with database.begin() as tx:
        query = sa.text("SELECT version_id, last_done_at FROM tasks WHERE kind = 'live'")
        kept = {VersionId(row.version_id): row.last_done_at for row in tx.execute(query)}
    assert kept == {
        own: TURNED,
        waited_for: TURNED - 4 * MINUTE,
        seen: TURNED + 2 * MINUTE,
        long_ago: TURNED - 5 * HOUR,
        never: None,
    }
