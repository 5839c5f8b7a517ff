"""Tables of people: their keys, and the audit of what they did."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import Column, Index, Integer, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from monitor.store.tables.columns import NOW, TIME, metadata, own_id

keys: Final = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("match", JSONB, nullable=False, server_default="{}"),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    Column("expires_at", TIME),
    Column("revoked_at", TIME),
    Column("last_used_at", TIME),
    Column("per_minute", Integer),  # requests that a gateway passes; null: all
    Column("person", Text),  # issuer and subject of who logged in by OpenID Connect
)

audit: Final = Table(
    "audit",
    metadata,
    own_id(),
    Column("at", TIME, nullable=False, server_default=NOW),
    Column("actor", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    # a trigger made by the migration refuses UPDATE and DELETE
    # what was done about one incident
    Index("ix_audit_subject", "subject"),
    # "what became of canaries lately?" -- beside everything else that was ever done
    Index("ix_audit_canaries", "id", postgresql_where=sa.text("\"left\"(act, 7) = 'canary.'")),
)
