"""Schedule tasks: what is due, who works on it, and the epoch that fences the work."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import AdapterId, EvaluationKind, VersionId
from monitor.store import wakeups
from monitor.store.rows import shaped
from monitor.store.tables.evaluations import tasks
from monitor.store.tables.registry import versions


class StaleLease(Exception):  # noqa: N818 (a normal outcome, not an error)
    """Another daemon took the task over; our result must not be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A task that is ours until ``lease_until``; ``epoch`` fences the write."""

    task_id: int
    version_id: VersionId
    adapter_id: AdapterId
    kind: EvaluationKind
    epoch: int
    start: datetime | None
    requested: bool
    failures: int
    owner: str
    now: datetime
    """The database's clock at the claim: the only clock that decides what is due."""

    @property
    def frequent(self) -> bool:
        """True for a window of hard signals that nobody asked for, as there is one a minute."""
        return self.kind is EvaluationKind.HARD and not self.requested


HEAD_START: Final = timedelta(minutes=15)
"""A due probe of an adapter that an engine has loaded counts as due this much longer."""

_CLAIM: Final = sa.text(
    """
    UPDATE tasks SET lease_until = now() + :lease, lease_owner = :owner, epoch = epoch + 1
    FROM versions
    WHERE versions.id = tasks.version_id AND tasks.id IN (
        SELECT id FROM tasks
        WHERE next_due_at <= now() AND (lease_until IS NULL OR lease_until < now())
          AND kind = ANY(:kinds)
        ORDER BY requested_at IS NULL, NOT first,
                 CASE WHEN requested_at IS NULL AND version_id = ANY(:at_hand)
                      THEN next_due_at - :head_start ELSE next_due_at END
        LIMIT :limit FOR UPDATE SKIP LOCKED)
    RETURNING tasks.id, tasks.version_id, versions.adapter_id, tasks.kind, tasks.epoch,
              tasks.next_window_start, tasks.requested_at IS NOT NULL AS requested,
              tasks.failures, now() AS now
    """
)


def claim(
    tx: Connection,
    *,
    owner: str,
    kinds: Sequence[EvaluationKind],
    lease: timedelta,
    limit: int,
    at_hand: Collection[VersionId] = (),
) -> list[Claim]:
    """Claim up to ``limit`` due tasks; tasks that others hold are skipped.

    Requested ones come first, then those that can clear a version, then the oldest: a suspicion's
    probe decides about a page within minutes, and must not wait hours for a fleet's turn. Among
    merely due tasks, versions ``at_hand`` in an engine count as due for :data:`HEAD_START` longer:
    no other task waits longer than that for them.
    """
    rows = tx.execute(
        _CLAIM,
        {
            "lease": lease,
            "owner": owner,
            "kinds": [k.value for k in kinds],
            "limit": limit,
            "at_hand": list(at_hand),
            "head_start": HEAD_START,
        },
    )
    claimed = [
        shaped(
            Claim,
            row,
            task_id=row["id"],
            kind=EvaluationKind(row["kind"]),
            start=row["next_window_start"],
            owner=owner,
        )
        for row in rows.mappings()
    ]
    return sorted(claimed, key=lambda one: not one.requested)  # an UPDATE returns in no order


def due(tx: Connection, *, kinds: Sequence[EvaluationKind], most: int) -> dict[str, VersionId]:
    """Return the models and versions whose due tasks nobody works on, longest due first."""
    query = (
        sa.select(versions.c.model, versions.c.id)
        .join(tasks, tasks.c.version_id == versions.c.id)
        .where(
            tasks.c.next_due_at <= sa.func.now(),
            tasks.c.lease_until.is_(None) | (tasks.c.lease_until < sa.func.now()),
            tasks.c.kind.in_([kind.value for kind in kinds]),
        )
        .order_by(tasks.c.next_due_at)
        .limit(most)
    )
    return {model: VersionId(version_id) for model, version_id in tx.execute(query)}


def next_due(tx: Connection, *, kinds: Sequence[EvaluationKind]) -> timedelta | None:
    """Return the time until a task can be claimed; None where there are none."""
    claimable = sa.func.greatest(tasks.c.next_due_at, tasks.c.lease_until)
    return wakeups.first(tx, claimable, tasks.c.kind.in_([kind.value for kind in kinds]))


def somebody_waits(tx: Connection, *, kind: EvaluationKind) -> bool:
    """True if a requested task of this kind is due and nobody works on it."""
    waiting = sa.select(tasks.c.id).where(
        tasks.c.kind == kind.value,
        tasks.c.requested_at.is_not(None),
        tasks.c.next_due_at <= sa.func.now(),
        tasks.c.lease_until.is_(None) | (tasks.c.lease_until < sa.func.now()),
    )
    return bool(tx.execute(sa.select(waiting.exists())).scalar_one())


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """When a version's task is tried next, why it waits, and whether somebody works on it now."""

    due: datetime | None = None
    stopped: str | None = None
    running: bool = False


def awaited(tx: Connection, *, version_id: VersionId, kind: EvaluationKind) -> Awaited:
    """Return when a version's task is tried next, why not now, and whether it runs.

    ``due`` and ``stopped`` are None if it is due.
    """
    now = sa.func.now()
    later = tasks.c.next_due_at > now
    query = sa.select(
        sa.case((later, tasks.c.next_due_at)).label("due"),
        sa.case((later, tasks.c.stopped)).label("stopped"),
        sa.func.coalesce(tasks.c.lease_until > now, sa.false()).label("running"),
    ).where(tasks.c.version_id == version_id, tasks.c.kind == kind.value)
    row = tx.execute(query).mappings().one_or_none()
    return Awaited() if row is None else Awaited(**row)


_HELD: Final = (
    "unnest(CAST(:ids AS bigint[]), CAST(:epochs AS bigint[])) AS held (id, epoch)"
    " WHERE tasks.id = held.id AND tasks.epoch = held.epoch"
)
_IN_ORDER: Final = "ORDER BY tasks.id FOR UPDATE OF tasks"
_LOCK: Final = sa.text(f"SELECT tasks.id, clock_timestamp() AS now FROM tasks, {_HELD} {_IN_ORDER}")
_RENEW: Final = sa.text(
    "UPDATE tasks SET lease_until = now() + :lease"
    f" WHERE id = ANY (ARRAY(SELECT tasks.id FROM tasks, {_HELD} {_IN_ORDER}))"
    " AND lease_until IS NOT NULL"  # handed back while this waited for the row
)
_FINISH: Final = sa.text(
    """
    UPDATE tasks SET
        next_due_at = CASE WHEN requested_at > held.now THEN held.now ELSE held.next_due END,
        requested_at = CASE WHEN requested_at > held.now THEN requested_at END,
        next_window_start = held.next_start, first = held.goes_first,
        last_done_at = CASE WHEN held.judged THEN clock_timestamp() ELSE last_done_at END,
        lease_until = NULL, lease_owner = NULL, failures = 0, quarantined_at = NULL, stopped = NULL
    FROM unnest(CAST(:ids AS bigint[]), CAST(:epochs AS bigint[]), CAST(:claimed AS timestamptz[]),
                CAST(:due AS timestamptz[]), CAST(:starts AS timestamptz[]),
                CAST(:firsts AS boolean[]), CAST(:judged AS boolean[]))
        AS held (id, epoch, now, next_due, next_start, goes_first, judged)
    WHERE tasks.id = held.id AND tasks.epoch = held.epoch
    RETURNING next_due_at - clock_timestamp()
    """
)


def _keys(held: Sequence[Claim]) -> dict[str, list[int]]:
    return {"ids": [one.task_id for one in held], "epochs": [one.epoch for one in held]}


def guard_all(tx: Connection, held: Sequence[Claim]) -> dict[int, datetime]:
    """Lock those tasks that are still ours for this transaction, in one order everywhere.

    Gives back the database's time by task.
    """
    return {row.id: row.now for row in tx.execute(_LOCK, _keys(held))}


def guard(tx: Connection, held: Claim) -> datetime:
    """Lock our task for this transaction, and return the database's time.

    Raises
    ------
    StaleLease
        The task is not ours any more.
    """
    found = guard_all(tx, [held])
    if not found:
        raise StaleLease(f"task {held.task_id} epoch {held.epoch}")
    return found[held.task_id]


def renew(tx: Connection, held: Sequence[Claim], *, lease: timedelta) -> bool:
    """Renew the leases of a long evaluation; False if all are lost."""
    return tx.execute(_RENEW, {"lease": lease, **_keys(held)}).rowcount > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A task that was worked on, with when it is due again and where its next window begins.

    With ``first``, it goes before other unrequested ones once it is due again. ``judged`` says
    whether its window was.
    """

    claim: Claim
    next_due: datetime
    next_start: datetime | None
    first: bool = False
    judged: bool = False


def finish(tx: Connection, done: Sequence[Finished]) -> None:
    """Release finished tasks; a request that came meanwhile stays due at once."""
    rows = {
        **_keys([one.claim for one in done]),
        "claimed": [one.claim.now for one in done],
        "due": [one.next_due for one in done],
        "starts": [one.next_start for one in done],
        "firsts": [one.first for one in done],
        "judged": [one.judged for one in done],
    }
    wakeups.notify_if_soon(
        tx, wakeups.TASKS, min(tx.execute(_FINISH, rows).scalars(), default=None)
    )


def postpone(
    tx: Connection, held: Claim, *, until: datetime, failed: bool, stopped: str | None = None
) -> None:
    """Hand the task back undone, counting a failure if it was one.

    ``stopped`` says why a probe had no answer; it is kept until one has.
    """
    handed_back = (
        sa.update(tasks)
        .where(tasks.c.id == held.task_id, tasks.c.epoch == held.epoch)
        .values(
            next_due_at=until,
            lease_until=None,
            lease_owner=None,
            failures=tasks.c.failures + (1 if failed else 0),
            stopped=tasks.c.stopped if stopped is None else stopped,
        )
        .returning(wakeups.until(tasks.c.next_due_at))
    )
    wakeups.notify_if_soon(tx, wakeups.TASKS, tx.execute(handed_back).scalar_one_or_none())


def take_back(tx: Connection, *, version_ids: Collection[VersionId]) -> None:
    """Take versions' tasks from the workers that hold them, whose results are not written.

    The tasks taken are due at once, so that their windows are judged by the current state. The
    versions' other tasks are locked as well, so that nobody claims one and reads rows that this
    transaction is about to change.
    """
    held = tasks.c.lease_until.is_not(None)
    due_at = sa.func.least(tasks.c.next_due_at, sa.func.clock_timestamp())
    tx.execute(
        sa.update(tasks)
        .where(tasks.c.version_id.in_(list(version_ids)))
        .values(
            lease_until=None,
            lease_owner=None,
            epoch=tasks.c.epoch + 1,
            next_due_at=sa.case((held, due_at), else_=tasks.c.next_due_at),
        )
    )
    wakeups.notify(tx, wakeups.TASKS)


def release(tx: Connection, *, owner: str) -> None:
    """Free everything this daemon holds, at shutdown: others need not wait for the lease.

    Not what one of our own unfinished transactions has locked: waiting for it would hold
    the shutdown up for as long as whatever it waits for.
    """
    ours = sa.select(tasks.c.id).where(tasks.c.lease_owner == owner)
    tx.execute(
        sa.update(tasks)
        .where(tasks.c.id.in_(ours.with_for_update(skip_locked=True)))
        .values(lease_until=None, lease_owner=None, epoch=tasks.c.epoch + 1)
    )
    wakeups.notify(tx, wakeups.TASKS)


def request(tx: Connection, *, version_id: VersionId, kinds: Sequence[EvaluationKind]) -> datetime:
    """Make these tasks due now, and make those that the version does not have yet.

    Gives back the database's time of the request.
    """
    now: datetime = tx.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    for kind in kinds:
        made = sa.select(
            versions.c.id,
            sa.literal(kind.value),
            sa.literal(now),
            versions.c.registered_at,
            sa.literal(now),
        ).where(versions.c.id == version_id)
        tx.execute(
            insert(tasks)
            .from_select(_NEW, made)
            .on_conflict_do_update(
                index_elements=["version_id", "kind"],
                set_={
                    "requested_at": now,
                    "next_due_at": sa.func.least(tasks.c.next_due_at, now),
                },
            )
        )
    wakeups.notify(tx, wakeups.TASKS)
    return now


_NEW: Final = ["version_id", "kind", "next_due_at", "next_window_start", "requested_at"]


def ensure(
    tx: Connection,
    *,
    first_due: Mapping[EvaluationKind, timedelta],
    at_once: Collection[EvaluationKind] = (),
) -> None:
    """Create every version's tasks; the first window begins at the version's registration.

    The first run of the kinds in ``at_once`` does not wait for its interval to end.
    """
    for kind, delay in first_due.items():
        rows = sa.select(
            versions.c.id,
            sa.literal(kind.value),
            sa.func.now() + delay,
            versions.c.registered_at,
            sa.func.now() if kind in at_once else sa.cast(sa.null(), sa.DateTime(timezone=True)),
        ).where(~sa.exists().where(tasks.c.version_id == versions.c.id, tasks.c.kind == kind.value))
        made = insert(tasks).from_select(_NEW, rows).on_conflict_do_nothing()
        if tx.execute(made.returning(tasks.c.id)).first() is not None:
            wakeups.notify(tx, wakeups.TASKS)
