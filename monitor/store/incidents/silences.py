"""Store silences; none is deleted, an expired one has ended early."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection, RowMapping

from alerts import matching
from alerts.matching import Matcher
from alerts.silences import Silence
from monitor.store.rows import shaped
from monitor.store.tables.incidents import silences

_LOG = structlog.get_logger(__name__)


def add(
    tx: Connection,
    matcher: Matcher,
    *,
    starts_at: datetime,
    ends_at: datetime,
    author: str,
    comment: str,
) -> Silence:
    """Store a silence that passed :func:`alerts.silences.check`."""
    values = {
        "match": matching.to_json(matcher),
        "starts_at": starts_at,
        "ends_at": ends_at,
        "author": author,
        "comment": comment,
    }
    row = tx.execute(silences.insert().values(**values).returning(*silences.c)).mappings().one()
    return _silence(row)


def fetch(tx: Connection, silence_id: int) -> Silence | None:
    """Return one silence."""
    query = sa.select(*silences.c).where(silences.c.id == silence_id)
    row = tx.execute(query).mappings().one_or_none()
    return _silence(row) if row else None


def holding(tx: Connection, *, now: datetime) -> list[Silence]:
    """List the silences in force; an unreadable one (of a later release) silences nothing."""
    query = sa.select(*silences.c).where(silences.c.ends_at > now, silences.c.starts_at <= now)
    found = []
    for row in tx.execute(query).mappings():
        try:
            found.append(_silence(row))
        except ValueError:
            _LOG.exception("silence_unreadable", silence=row["id"])
    return found


def every(
    tx: Connection,
    *,
    not_over_at: datetime | None = None,
    before_id: int | None = None,
    limit: int = 100,
) -> list[Silence]:
    """List silences, newest first; ``not_over_at`` leaves out those ended by then."""
    query = sa.select(*silences.c).order_by(silences.c.id.desc()).limit(limit)
    if not_over_at is not None:
        query = query.where(silences.c.ends_at > not_over_at)
    if before_id is not None:
        query = query.where(silences.c.id < before_id)
    return [_silence(row) for row in tx.execute(query).mappings()]


def expire(tx: Connection, silence_id: int, *, now: datetime) -> bool:
    """End a silence now, or before it begins; False if it is over."""
    ended = (
        silences.update()
        .where(silences.c.id == silence_id, silences.c.ends_at > now)
        .values(ends_at=now, starts_at=sa.func.least(silences.c.starts_at, now))
    )
    return tx.execute(ended).rowcount == 1


def _silence(row: RowMapping) -> Silence:
    return shaped(Silence, row, matcher=matching.parse_matcher(row["match"]))
