"""Tables of references: frozen pictures of approved versions."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from monitor.store.tables.columns import NOW, TIME, metadata, own_id, version_id

references: Final = Table(
    "references",
    metadata,
    own_id(),
    version_id(),
    Column("generation", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("source", Text, nullable=False),  # upload | freeze | auto | accept
    Column("cause", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("approved_by", Text),
    Column("n_training", Integer, nullable=False, server_default="0"),
    Column("n_baseline", Integer, nullable=False, server_default="0"),
    Column("span_days", Double, nullable=False, server_default="0"),
    Column("encoder", Text),
    Column("strata", ARRAY(Text), nullable=False, server_default=sa.text("'{}'::text[]")),
    Column("hourly_rate", Double, nullable=False, server_default="0"),
    Column("progress", Double, nullable=False, server_default="0"),
    Column("error", Text),
    Column("request", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    Column("lease_until", TIME),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("failures", SmallInteger, nullable=False, server_default="0"),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    Column("ready_at", TIME),
    UniqueConstraint("version_id", "generation"),
    CheckConstraint("state IN ('building', 'ready', 'failed')", name="state"),
    # "which references wait for a builder?"
    Index("ix_references_building", "lease_until", postgresql_where=sa.text("state = 'building'")),
)

reference_items: Final = Table(
    "reference_items",
    metadata,
    Column("reference_id", BigInteger, ForeignKey("references.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("role", Text, nullable=False),
    Column("text_hash", LargeBinary),
    Column("subject", LargeBinary),
    Column("at", TIME),
    # staged here until the builder has used it; then the rows are deleted
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("reference_id", "seq"),
    CheckConstraint("role IN ('training', 'baseline')", name="role"),
)

reference_vectors: Final = Table(
    "reference_vectors",
    metadata,
    Column("reference_id", BigInteger, ForeignKey("references.id"), nullable=False),
    Column("chunk", Integer, nullable=False),
    Column("count", Integer, nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("vectors", LargeBinary, nullable=False),  # float16, unit length, row-major
    Column("texts", ARRAY(Text)),  # redacted, their beginnings; null where none are kept
    Column("shingles", LargeBinary),  # hashes of their words; null where they have too few
    PrimaryKeyConstraint("reference_id", "chunk"),
)

reference_axes: Final = Table(
    "reference_axes",
    metadata,
    Column("reference_id", BigInteger, ForeignKey("references.id"), nullable=False),
    Column("text", Text, nullable=False),  # prompt | output: which texts they were fitted on
    Column("encoder", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),  # float32: the centre, then each axis
    PrimaryKeyConstraint("reference_id", "text"),
    CheckConstraint("text IN ('prompt', 'output')", name="text"),
)

reference_baselines: Final = Table(
    "reference_baselines",
    metadata,
    Column("reference_id", BigInteger, ForeignKey("references.id"), primary_key=True),
    Column("body", LargeBinary, nullable=False),  # times, subjects and signals, packed
)

reference_calibrations: Final = Table(
    "reference_calibrations",
    metadata,
    Column("reference_id", BigInteger, ForeignKey("references.id"), nullable=False),
    Column("detector", Text, nullable=False),
    # the bytes of Detector.dump; null with the reason if the baseline cannot calibrate it
    Column("body", LargeBinary),
    Column("absent_reason", Text),
    PrimaryKeyConstraint("reference_id", "detector"),
)

settings_references: Final = Table(
    "settings_references",
    metadata,
    # references for settings that a version's main reference lacks
    own_id(),
    version_id(),
    Column("reference_id", BigInteger, ForeignKey("references.id"), nullable=False),
    Column("strata", ARRAY(Text), nullable=False),
    Column("n_baseline", Integer, nullable=False),
    Column("span_days", Double, nullable=False),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    # "which stand beside the reference in force?"
    Index(None, "reference_id"),
)

settings_calibrations: Final = Table(
    "settings_calibrations",
    metadata,
    Column("settings_id", BigInteger, ForeignKey("settings_references.id"), nullable=False),
    Column("detector", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),  # what Detector.dump wrote
    PrimaryKeyConstraint("settings_id", "detector"),
)

reference_bins: Final = Table(
    "reference_bins",
    metadata,
    Column("reference_id", BigInteger, ForeignKey("references.id"), nullable=False),
    Column("signal", Text, nullable=False),
    Column("edges", LargeBinary, nullable=False),  # float64
    Column("counts", LargeBinary, nullable=False),  # int32
    PrimaryKeyConstraint("reference_id", "signal"),
)
