"""Tables of adapters, their versions, and changes that people declare."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from monitor.store.tables.columns import NOW, TIME, adapter_id, metadata, own_id

adapters: Final = sa.Table(
    "adapters",
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("owner", sa.Text),
    sa.Column("tier", sa.Text, nullable=False, server_default="standard"),
    sa.Column("labels", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Column("runbook", sa.Text),
    sa.Column("mode", sa.Text),
    sa.Column("created_at", TIME, nullable=False, server_default=NOW),
)

versions: Final = sa.Table(
    "versions",
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True),
    adapter_id(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("parent", sa.Text),
    sa.Column("uri", sa.Text),
    sa.Column("sha256", sa.Text),
    sa.Column("base_model", sa.Text),
    sa.Column("metadata", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Column("registered_at", TIME, nullable=False, server_default=NOW),
    sa.UniqueConstraint("adapter_id", "name"),
)

changes: Final = sa.Table(
    "changes",
    metadata,
    own_id(),
    sa.Column(
        "kind", sa.Text, nullable=False
    ),  # engine | base | adapter | prompt | traffic | other
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("adapters", ARRAY(sa.Text)),  # null: the whole fleet
    sa.Column("begun_at", TIME, nullable=False),
    sa.Column("ended_at", TIME),  # null: under way
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("details", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Column("created_at", TIME, nullable=False, server_default=NOW),
    sa.Index(None, "begun_at"),
)
