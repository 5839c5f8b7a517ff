"""The audit log: rows are only ever added, and a trigger refuses other changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.store.tables.people import audit


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the audit log."""

    id: int
    at: datetime
    actor: str
    act: str
    subject: str
    details: Mapping[str, Any]


def append(
    connection: Connection,
    *,
    actor: str,
    act: str,
    subject: str,
    details: Mapping[str, object] | None = None,
) -> int:
    """Append an entry in the caller's transaction, so that act and entry commit together."""
    statement = (
        audit.insert()
        .values(actor=actor, act=act, subject=subject, details=dict(details or {}))
        .returning(audit.c.id)
    )
    return int(connection.execute(statement).scalar_one())


def newest(
    connection: Connection,
    *,
    subject: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[Entry]:
    """List entries, newest first, of one ``subject`` (``incident 7``) or of all.

    ``before`` is the id at which the previous page ended.
    """
    query = sa.select(audit).order_by(audit.c.id.desc()).limit(limit)
    if subject is not None:
        query = query.where(audit.c.subject == subject)
    if before is not None:
        query = query.where(audit.c.id < before)
    return [Entry(**row) for row in connection.execute(query).mappings()]
