"""Stage the lines of a reference; they are deleted once it is ready or failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from monitor.store.references.references import ReferenceClaim, hold
from monitor.store.rows import shaped, stored
from monitor.store.tables.references import reference_items as table


class ItemRole(StrEnum):
    """The two disjoint parts of a reference."""

    TRAINING = "training"
    BASELINE = "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A staged line. ``seq`` is its line number in the upload, from 1."""

    seq: int
    role: ItemRole
    text_hash: bytes | None
    subject: bytes | None
    at: datetime | None
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Baseline lines whose text or subject also occurs among the training lines.

    ``first`` are the earliest of ``count``: each line's number, and what it shares.
    """

    count: int
    first: Sequence[tuple[int, str]]


_SHARED: Final = (
    "FROM reference_items b"
    " LEFT JOIN (SELECT DISTINCT text_hash FROM reference_items"
    "  WHERE reference_id = :id AND role = 'training') t ON t.text_hash = b.text_hash"
    " LEFT JOIN (SELECT DISTINCT subject FROM reference_items"
    "  WHERE reference_id = :id AND role = 'training') s ON s.subject = b.subject"
    " WHERE b.reference_id = :id AND b.role = 'baseline'"
    " AND (t.text_hash IS NOT NULL OR s.subject IS NOT NULL)"
)


def stage(connection: Connection, claim: ReferenceClaim, items: Sequence[Item]) -> None:
    """Store lines until the builder has used them; renews the lease."""
    hold(connection, claim)
    rows = [stored(table, item, reference_id=claim.reference_id) for item in items]
    if rows:
        # a commit whose reply was lost is sent again
        connection.execute(insert(table).on_conflict_do_nothing(), rows)


_FIRST_SHARED: Final = sa.text(
    "SELECT b.seq, CASE WHEN t.text_hash IS NULL THEN 'subject' ELSE 'text' END AS by,"
    f" count(*) OVER () AS all_shared {_SHARED} ORDER BY b.seq LIMIT :examples"
)


def overlap(connection: Connection, claim: ReferenceClaim, *, examples: int) -> Overlap:
    """Find baseline lines that share a text or a subject with the training lines."""
    asked = {"id": claim.reference_id, "examples": examples}
    found = connection.execute(_FIRST_SHARED, asked).all()
    return Overlap(
        count=found[0].all_shared if found else 0, first=[(row.seq, row.by) for row in found]
    )


def leave_out(connection: Connection, claim: ReferenceClaim) -> None:
    """Delete the baseline lines that :func:`overlap` finds."""
    hold(connection, claim)
    delete = (
        f"DELETE FROM reference_items WHERE reference_id = :id AND seq IN (SELECT b.seq {_SHARED})"
    )
    connection.execute(sa.text(delete), {"id": claim.reference_id})


def read(
    connection: Connection, claim: ReferenceClaim, *, role: ItemRole, after: int, limit: int
) -> list[Item]:
    """Read the next staged lines of a role, in order."""
    c = table.c
    query = (
        sa.select(table)
        .where(c.reference_id == claim.reference_id, c.role == role.value, c.seq > after)
        .order_by(c.seq)
        .limit(limit)
    )
    found = connection.execute(query).mappings()
    return [shaped(Item, row, role=ItemRole(row["role"])) for row in found]


def last_used(connection: Connection, claim: ReferenceClaim, *, role: ItemRole, used: int) -> int:
    """Return the ``seq`` of the ``used``-th line of a role, after which a new builder resumes."""
    if used == 0:
        return 0
    c = table.c
    query = (
        sa.select(c.seq)
        .where(c.reference_id == claim.reference_id, c.role == role.value)
        .order_by(c.seq)
        .offset(used - 1)
        .limit(1)
    )
    return int(connection.execute(query).scalar_one())
