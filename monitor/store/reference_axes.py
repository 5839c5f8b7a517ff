"""Principal axes of a reference's training index."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import ReferenceId
from monitor.store.tables import reference_axes as table

_PROMPT: Final = "prompt"


def insert(connection: Connection, reference_id: ReferenceId, *, encoder: str, body: bytes) -> None:
    """Keep the axes of a reference that becomes ready in this transaction."""
    values = {"reference_id": reference_id, "text": _PROMPT, "encoder": encoder, "body": body}
    connection.execute(table.insert(), values)


def read(connection: Connection, reference_id: ReferenceId) -> bytes | None:
    """Read them; None where the reference was built without."""
    query = sa.select(table.c.body).where(
        table.c.reference_id == reference_id, table.c.text == _PROMPT
    )
    return connection.execute(query).scalar_one_or_none()
