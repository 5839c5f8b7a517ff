"""Tables of adapters and their versions."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import Column, Identity, Integer, Table, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB

from monitor.store.tables.columns import NOW, TIME, adapter_id, metadata

adapters: Final = Table(
    "adapters",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("owner", Text),
    Column("tier", Text, nullable=False, server_default="standard"),
    Column("labels", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    Column("runbook", Text),
    Column("mode", Text),
    Column("created_at", TIME, nullable=False, server_default=NOW),
)

versions: Final = Table(
    "versions",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    adapter_id(),
    Column("name", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("parent", Text),
    Column("uri", Text),
    Column("sha256", Text),
    Column("base_model", Text),
    Column("metadata", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    Column("registered_at", TIME, nullable=False, server_default=NOW),
    UniqueConstraint("adapter_id", "name"),
)
