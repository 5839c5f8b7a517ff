"""The baseline records behind a version's reference in force, packed."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import ReferenceId, VersionId
from monitor.store.tables import reference_baselines as table
from monitor.store.tables import references


def insert(
    connection: Connection, reference_id: ReferenceId, *, version_id: VersionId, body: bytes
) -> None:
    """Keep the baseline of a reference that becomes ready; those before it are dropped."""
    older = sa.select(references.c.id).where(references.c.version_id == version_id)
    connection.execute(table.delete().where(table.c.reference_id.in_(older)))
    connection.execute(table.insert(), {"reference_id": reference_id, "body": body})


def read(connection: Connection, reference_id: ReferenceId) -> bytes | None:
    """Read it; None where the reference was built before baselines were kept."""
    query = sa.select(table.c.body).where(table.c.reference_id == reference_id)
    return connection.execute(query).scalar_one_or_none()
