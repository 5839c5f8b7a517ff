"""Principal axes of a reference: of its training index, and of its answers."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import ReferenceId
from monitor.store.tables.references import reference_axes as table

_PROMPT: Final = "prompt"
_OUTPUT: Final = "output"


def insert(connection: Connection, reference_id: ReferenceId, *, encoder: str, body: bytes) -> None:
    """Store the axes of a reference that becomes ready in this transaction."""
    values = {"reference_id": reference_id, "text": _PROMPT, "encoder": encoder, "body": body}
    connection.execute(table.insert(), values)


def insert_answers(
    connection: Connection, reference_id: ReferenceId, *, encoder: str, body: bytes
) -> None:
    """Store the axes of its answers likewise."""
    values = {"reference_id": reference_id, "text": _OUTPUT, "encoder": encoder, "body": body}
    connection.execute(table.insert(), values)


def read_answers(connection: Connection, reference_id: ReferenceId) -> tuple[str, bytes] | None:
    """Read the encoder and the axes of the answers; None if there are none."""
    query = sa.select(table.c.encoder, table.c.body).where(
        table.c.reference_id == reference_id, table.c.text == _OUTPUT
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.encoder, row.body)


def read(connection: Connection, reference_id: ReferenceId) -> bytes | None:
    """Read the axes; None if the reference was built without them."""
    query = sa.select(table.c.body).where(
        table.c.reference_id == reference_id, table.c.text == _PROMPT
    )
    return connection.execute(query).scalar_one_or_none()
