"""Tables of incidents, and the messages about them."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, UUID

from monitor.store.tables.columns import NOW, TIME, adapter_id, metadata, own_id, version_id

# of a version, or of all adapters on a base model
incidents: Final = sa.Table(
    "incidents",
    metadata,
    own_id(),
    adapter_id(nullable=True),
    version_id(nullable=True),
    sa.Column("base_model", sa.Text),  # empty: not registered; null: of a version
    sa.Column("kind", sa.Text, nullable=False),  # of alerts.types
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("phase", sa.Text, nullable=False),  # of alerts.incident
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("blame", sa.Text, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("opened_at", TIME, nullable=False),
    sa.Column("closed_at", TIME),
    sa.Column("acknowledged_by", sa.Text),
    sa.Column("acknowledged_until", TIME),
    sa.Column("state", JSONB, nullable=False),
    # the fleet incident that a version's own one belongs to
    sa.Column("part_of", sa.BigInteger, sa.ForeignKey("incidents.id")),
    sa.Column("marked", sa.Text),  # false_page | accepted; null: nobody has judged it
    sa.Column("marked_by", sa.Text),
    sa.Column("marked_at", TIME),
    sa.Column("marked_because", sa.Text),
    sa.UniqueConstraint("adapter_id", "version_id", "kind", "number"),
    sa.CheckConstraint("(adapter_id IS NULL) = (base_model IS NOT NULL)", name="of_whom"),
    sa.Index(
        "ix_incidents_fleet",
        "base_model",
        "kind",
        "number",
        unique=True,
        postgresql_where=sa.text("base_model IS NOT NULL"),
    ),
    sa.Index(
        "ix_incidents_open",
        "adapter_id",
        "version_id",
        "kind",
        unique=True,
        postgresql_where=sa.text("closed_at IS NULL"),
    ),
    # "which ended lately?"
    sa.Index(None, "closed_at"),
)

fleet_members: Final = sa.Table(
    "fleet_members",
    metadata,
    sa.Column("incident_id", sa.BigInteger, sa.ForeignKey("incidents.id"), nullable=False),
    version_id(),
    sa.Column("joined_at", TIME, nullable=False),
    sa.Column("left_at", TIME),
    sa.PrimaryKeyConstraint("incident_id", "version_id"),
    # "is this version part of an open one?"
    sa.Index("ix_fleet_members_in", "version_id", postgresql_where=sa.text("left_at IS NULL")),
)

outbox: Final = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("seq", sa.BigInteger, sa.Identity(always=True), nullable=False, unique=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("incident_id", sa.BigInteger, sa.ForeignKey("incidents.id")),
    sa.Column("transition_id", sa.BigInteger, sa.ForeignKey("transitions.id")),
    sa.Column("alert", JSONB, nullable=False),
    sa.Column("group_key", sa.Text),  # what its channel groups it with
    sa.Column("batch", UUID(as_uuid=True)),  # rows that are sent as one message, under this id
    sa.Column("state", sa.Text, nullable=False, server_default="queued"),
    sa.Column("next_at", TIME, nullable=False, server_default=NOW),
    sa.Column("lease_until", TIME),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("last_error", sa.Text),
    sa.Column("created_at", TIME, nullable=False, server_default=NOW),
    sa.Column("delivered_at", TIME),
    sa.CheckConstraint("state IN ('queued', 'delivered', 'dead')", name="state"),
    # "what is to be sent now?" -- covers only undelivered rows, so it stays small
    sa.Index("ix_outbox_queued", "next_at", postgresql_where=sa.text("state = 'queued'")),
    # "is there an older undelivered message of this channel and incident?"
    sa.Index(
        "ix_outbox_order",
        "channel",
        "incident_id",
        "seq",
        postgresql_where=sa.text("state = 'queued'"),
    ),
    # "what was sent about this incident?"
    sa.Index(None, "incident_id"),
    # "how many dead letters does each channel have?"
    sa.Index("ix_outbox_dead", "channel", postgresql_where=sa.text("state = 'dead'")),
    # "what else is sent in this message?"
    sa.Index("ix_outbox_batch", "batch", postgresql_where=sa.text("batch IS NOT NULL")),
)

# messages that wait to be grouped, or for a silence to end
held: Final = sa.Table(
    "held",
    metadata,
    sa.Column("id", UUID(as_uuid=True), primary_key=True),
    sa.Column("seq", sa.BigInteger, sa.Identity(always=True), nullable=False, unique=True),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("incident_id", sa.BigInteger, sa.ForeignKey("incidents.id"), nullable=False),
    sa.Column("transition_id", sa.BigInteger, sa.ForeignKey("transitions.id")),
    sa.Column("alert", JSONB, nullable=False),
    sa.Column("at", TIME, nullable=False, server_default=NOW),
    sa.Index(None, "incident_id"),
)

silences: Final = sa.Table(
    "silences",
    metadata,
    own_id(),
    sa.Column("match", JSONB, nullable=False),  # as alerts.matching writes it
    sa.Column("starts_at", TIME, nullable=False),
    sa.Column("ends_at", TIME, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("created_at", TIME, nullable=False, server_default=NOW),
    # "which hold now, or will?"
    sa.Index(None, "ends_at"),
)
