"""Store the packed baseline records behind a version's reference in force."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import ReferenceId, VersionId
from monitor.store.tables.references import reference_baselines as table
from monitor.store.tables.references import references


def insert(
    connection: Connection, reference_id: ReferenceId, *, version_id: VersionId, body: bytes
) -> None:
    """Store the baseline of a reference that becomes ready, and delete older ones."""
    older = sa.select(references.c.id).where(references.c.version_id == version_id)
    connection.execute(table.delete().where(table.c.reference_id.in_(older)))
    connection.execute(table.insert(), {"reference_id": reference_id, "body": body})


def read(connection: Connection, reference_id: ReferenceId) -> bytes | None:
    """Read the baseline; None if the reference was built before baselines were stored."""
    query = sa.select(table.c.body).where(table.c.reference_id == reference_id)
    return connection.execute(query).scalar_one_or_none()
