"""Tables of people: their keys, and what they did."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from monitor.store.tables.columns import NOW, TIME, metadata, own_id

keys: Final = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("scopes", ARRAY(sa.Text), nullable=False),
    sa.Column("match", JSONB, nullable=False, server_default="{}"),
    sa.Column("created_at", TIME, nullable=False, server_default=NOW),
    sa.Column("expires_at", TIME),
    sa.Column("revoked_at", TIME),
    sa.Column("last_used_at", TIME),
    sa.Column("per_minute", sa.Integer),  # requests that a gateway passes; null: all
    sa.Column("person", sa.Text),  # issuer and subject of who logged in by OpenID Connect
)

audit: Final = sa.Table(
    "audit",
    metadata,
    own_id(),
    sa.Column("at", TIME, nullable=False, server_default=NOW),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("act", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("details", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    # a trigger made by the migration refuses UPDATE and DELETE
    # what was done about one incident
    sa.Index("ix_audit_subject", "subject"),
    # "what became of canaries lately?" -- beside everything else that was ever done
    sa.Index("ix_audit_canaries", "id", postgresql_where=sa.text("\"left\"(act, 7) = 'canary.'")),
)
