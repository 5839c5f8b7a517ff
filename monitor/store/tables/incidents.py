"""Tables of incidents: their states, members, messages and silences."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from monitor.store.tables.columns import NOW, TIME, adapter_id, metadata, own_id, version_id

# of a version, or of all adapters on a base model
incidents: Final = Table(
    "incidents",
    metadata,
    own_id(),
    adapter_id(nullable=True),
    version_id(nullable=True),
    Column("base_model", Text),  # empty: not registered; null: of a version
    Column("kind", Text, nullable=False),  # of alerts.types
    Column("number", Integer, nullable=False),
    Column("phase", Text, nullable=False),  # of alerts.incident
    Column("severity", Text, nullable=False),
    Column("blame", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("opened_at", TIME, nullable=False),
    Column("closed_at", TIME),
    Column("acknowledged_by", Text),
    Column("acknowledged_until", TIME),
    Column("state", JSONB, nullable=False),
    # the fleet incident that a version's own one belongs to
    Column("part_of", BigInteger, ForeignKey("incidents.id")),
    Column("marked", Text),  # false_page | accepted; null: nobody has judged it
    Column("marked_by", Text),
    Column("marked_at", TIME),
    Column("marked_because", Text),
    UniqueConstraint("adapter_id", "version_id", "kind", "number"),
    CheckConstraint("(adapter_id IS NULL) = (base_model IS NOT NULL)", name="of_whom"),
    Index(
        "ix_incidents_fleet",
        "base_model",
        "kind",
        "number",
        unique=True,
        postgresql_where=sa.text("base_model IS NOT NULL"),
    ),
    Index(
        "ix_incidents_open",
        "adapter_id",
        "version_id",
        "kind",
        unique=True,
        postgresql_where=sa.text("closed_at IS NULL"),
    ),
    # "which ended lately?"
    Index(None, "closed_at"),
)

fleet_members: Final = Table(
    "fleet_members",
    metadata,
    Column("incident_id", BigInteger, ForeignKey("incidents.id"), nullable=False),
    version_id(),
    Column("joined_at", TIME, nullable=False),
    Column("left_at", TIME),
    PrimaryKeyConstraint("incident_id", "version_id"),
    # "is this version part of an open one?"
    Index("ix_fleet_members_in", "version_id", postgresql_where=sa.text("left_at IS NULL")),
)

outbox: Final = Table(
    "outbox",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False, unique=True),
    Column("channel", Text, nullable=False),
    Column("incident_id", BigInteger, ForeignKey("incidents.id")),
    Column("transition_id", BigInteger, ForeignKey("transitions.id")),
    Column("alert", JSONB, nullable=False),
    Column("group_key", Text),  # what its channel groups it with
    Column("batch", UUID(as_uuid=True)),  # rows that are sent as one message, under this id
    Column("state", Text, nullable=False, server_default="queued"),
    Column("next_at", TIME, nullable=False, server_default=NOW),
    Column("lease_until", TIME),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_error", Text),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    Column("delivered_at", TIME),
    CheckConstraint("state IN ('queued', 'delivered', 'dead')", name="state"),
    # "what is to be sent now?" -- covers only undelivered rows, so it stays small
    Index("ix_outbox_queued", "next_at", postgresql_where=sa.text("state = 'queued'")),
    # "is there an older undelivered message of this channel and incident?"
    Index(
        "ix_outbox_order",
        "channel",
        "incident_id",
        "seq",
        postgresql_where=sa.text("state = 'queued'"),
    ),
    # "what was sent about this incident?"
    Index(None, "incident_id"),
    # "how many dead letters does each channel have?"
    Index("ix_outbox_dead", "channel", postgresql_where=sa.text("state = 'dead'")),
    # "what else is sent in this message?"
    Index("ix_outbox_batch", "batch", postgresql_where=sa.text("batch IS NOT NULL")),
)

# messages that wait to be grouped, or for a silence to end
held: Final = Table(
    "held",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False, unique=True),
    Column("channel", Text, nullable=False),
    Column("incident_id", BigInteger, ForeignKey("incidents.id"), nullable=False),
    Column("transition_id", BigInteger, ForeignKey("transitions.id")),
    Column("alert", JSONB, nullable=False),
    Column("at", TIME, nullable=False, server_default=NOW),
    Index(None, "incident_id"),
)

silences: Final = Table(
    "silences",
    metadata,
    own_id(),
    Column("match", JSONB, nullable=False),  # as alerts.matching writes it
    Column("starts_at", TIME, nullable=False),
    Column("ends_at", TIME, nullable=False),
    Column("author", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    # "which hold now, or will?"
    Index(None, "ends_at"),
)
