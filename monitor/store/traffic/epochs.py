"""The epoch of this database's route table: a newer one each time the table is not what it was.

Routers hold what they were told while a database is put back to an earlier state, and then
have a higher generation than the table. By the epoch they know a table that was put back from
one that is old. It is a moment in seconds, so that it is newer than every epoch of a state
that was lost, and it grows in any case.

Each row keeps the transaction that wrote it, as PostgreSQL keeps it beside the row. Whatever
copies rows (a dump, a replica by statements) writes them in another transaction; whatever
copies files (a recovery, a promoted standby, a template) goes on as another server, timeline
or database. Either makes the next reader open a new epoch. A folder put back as it was, or a
machine's snapshot, shows nothing: then a person opens one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from monitor.store import audit, teams, wakeups
from monitor.store.tables.traffic import route_epochs, route_refusals

_LOG = structlog.get_logger(__name__)

SUBJECT: Final = "routes"
"""The name of the whole table in the audit."""
_ITSELF: Final = "driftline"
_FIRST: Final = "the first"
_COPIED: Final = "the database was restored, copied or promoted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """An epoch of the table, when it began, why and by whom."""

    number: int
    opened_at: datetime
    reason: str
    actor: str


def in_force(tx: Connection) -> int:
    """Return the current epoch of routes; open a new one if the table is a copy."""
    with teams.whole(tx):
        return _own(tx) or _opened_once(tx)


def newest(tx: Connection) -> Epoch:
    """Return the current epoch, with when, why and by whom it was opened."""
    number = in_force(tx)
    row = tx.execute(sa.select(route_epochs).where(route_epochs.c.epoch == number)).one()
    return Epoch(number=row.epoch, opened_at=row.opened_at, reason=row.reason, actor=row.actor)


def begin(tx: Connection, *, reason: str, actor: str) -> int:
    """Open an epoch newer than every known one: than those of this table and of its routers."""
    tx.execute(_TURN)
    return _begin(tx, reason=reason, actor=actor)


def _own(tx: Connection) -> int | None:
    """Return the newest epoch; None if there is none, or if the table is a copy."""
    found = tx.execute(_NEWEST).one_or_none()
    return int(found.epoch) if found is not None and found.written_here else None


def _opened_once(tx: Connection) -> int:
    tx.execute(_TURN)
    own = _own(tx)
    if own is not None:
        return own  # another process has opened it meanwhile
    is_copy = tx.execute(_NEWEST).one_or_none() is not None
    return _begin(tx, reason=_COPIED if is_copy else _FIRST, actor=_ITSELF)


def _begin(tx: Connection, *, reason: str, actor: str) -> int:
    epoch = int(tx.execute(_INSERT, {"reason": reason, "actor": actor}).scalar_one())
    tx.execute(_SIGN, {"epoch": epoch})
    wakeups.notify(tx, wakeups.ROUTES)
    audit.append(
        tx,
        actor=actor,
        act="routes.epoch_opened",
        subject=SUBJECT,
        details={"epoch": epoch, "reason": reason},
    )
    log = _LOG.info if reason == _FIRST else _LOG.warning
    log("route_epoch_opened", epoch=epoch, reason=reason, by=actor)
    return epoch


_TURN: Final = sa.text("SELECT pg_advisory_xact_lock(hashtext('driftline route epoch'))")
_NEWEST: Final = sa.text(
    "SELECT epoch, written_by = xmin::text AND coalesce(driftline_server(), server) = server"
    " AS written_here FROM route_epochs ORDER BY epoch DESC LIMIT 1"
)
_HELD: Final = sa.select(sa.func.max(route_refusals.c.epoch)).scalar_subquery()
_KNOWN: Final = sa.select(sa.func.max(route_epochs.c.epoch)).scalar_subquery()
_INSERT: Final = (
    route_epochs.insert()
    .values(
        epoch=sa.func.greatest(
            sa.cast(sa.func.floor(sa.extract("epoch", sa.func.now())), sa.BigInteger),
            sa.func.coalesce(_KNOWN, 0) + 1,
            sa.func.coalesce(_HELD, 0) + 1,
        ),
        server=sa.func.coalesce(sa.func.driftline_server(), ""),
        written_by="",
        reason=sa.bindparam("reason"),
        actor=sa.bindparam("actor"),
    )
    .returning(route_epochs.c.epoch)
)
# the row as it is after this was written by the same transaction as before, or part of one
_SIGN: Final = sa.text("UPDATE route_epochs SET written_by = xmin::text WHERE epoch = :epoch")
