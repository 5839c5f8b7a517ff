"""Tables of references: their items, vectors, axes, baselines and calibrations."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from monitor.store.tables.columns import NOW, TIME, metadata, own_id, version_id

references: Final = sa.Table(
    "references",
    metadata,
    own_id(),
    version_id(),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),  # upload | freeze | auto | accept
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("approved_by", sa.Text),
    sa.Column("n_training", sa.Integer, nullable=False, server_default="0"),
    sa.Column("n_baseline", sa.Integer, nullable=False, server_default="0"),
    sa.Column("span_days", sa.Double, nullable=False, server_default="0"),
    sa.Column("encoder", sa.Text),
    sa.Column("strata", ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'::text[]")),
    sa.Column("hourly_rate", sa.Double, nullable=False, server_default="0"),
    sa.Column("progress", sa.Double, nullable=False, server_default="0"),
    sa.Column("error", sa.Text),
    sa.Column("request", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Column("lease_until", TIME),
    sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("failures", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("created_at", TIME, nullable=False, server_default=NOW),
    sa.Column("ready_at", TIME),
    sa.UniqueConstraint("version_id", "generation"),
    sa.CheckConstraint("state IN ('building', 'ready', 'failed')", name="state"),
    # "which references wait for a builder?"
    sa.Index(
        "ix_references_building", "lease_until", postgresql_where=sa.text("state = 'building'")
    ),
)

reference_items: Final = sa.Table(
    "reference_items",
    metadata,
    sa.Column("reference_id", sa.BigInteger, sa.ForeignKey("references.id"), nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("text_hash", sa.LargeBinary),
    sa.Column("subject", sa.LargeBinary),
    sa.Column("at", TIME),
    # staged here until the builder has used it; then the rows are deleted
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.PrimaryKeyConstraint("reference_id", "seq"),
    sa.CheckConstraint("role IN ('training', 'baseline')", name="role"),
)

reference_vectors: Final = sa.Table(
    "reference_vectors",
    metadata,
    sa.Column("reference_id", sa.BigInteger, sa.ForeignKey("references.id"), nullable=False),
    sa.Column("chunk", sa.Integer, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("dimension", sa.Integer, nullable=False),
    sa.Column("vectors", sa.LargeBinary, nullable=False),  # float16, unit length, row-major
    sa.Column("texts", ARRAY(sa.Text)),  # redacted, their beginnings; null where none are kept
    sa.Column("shingles", sa.LargeBinary),  # hashes of their words; null where they have too few
    sa.PrimaryKeyConstraint("reference_id", "chunk"),
)

reference_axes: Final = sa.Table(
    "reference_axes",
    metadata,
    sa.Column("reference_id", sa.BigInteger, sa.ForeignKey("references.id"), nullable=False),
    sa.Column("text", sa.Text, nullable=False),  # prompt | output: which texts they were fitted on
    sa.Column("encoder", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # float32: the centre, then each axis
    sa.PrimaryKeyConstraint("reference_id", "text"),
    sa.CheckConstraint("text IN ('prompt', 'output')", name="text"),
)

reference_baselines: Final = sa.Table(
    "reference_baselines",
    metadata,
    sa.Column("reference_id", sa.BigInteger, sa.ForeignKey("references.id"), primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),  # times, subjects and signals, packed
)

reference_calibrations: Final = sa.Table(
    "reference_calibrations",
    metadata,
    sa.Column("reference_id", sa.BigInteger, sa.ForeignKey("references.id"), nullable=False),
    sa.Column("detector", sa.Text, nullable=False),
    # the bytes of Detector.dump; null with the reason if the baseline cannot calibrate it
    sa.Column("body", sa.LargeBinary),
    sa.Column("absent_reason", sa.Text),
    sa.PrimaryKeyConstraint("reference_id", "detector"),
)

settings_references: Final = sa.Table(
    "settings_references",
    metadata,
    # references for settings that a version's main reference lacks
    own_id(),
    version_id(),
    sa.Column("reference_id", sa.BigInteger, sa.ForeignKey("references.id"), nullable=False),
    sa.Column("strata", ARRAY(sa.Text), nullable=False),
    sa.Column("n_baseline", sa.Integer, nullable=False),
    sa.Column("span_days", sa.Double, nullable=False),
    sa.Column("created_at", TIME, nullable=False, server_default=NOW),
    # "which stand beside the reference in force?"
    sa.Index(None, "reference_id"),
)

settings_calibrations: Final = sa.Table(
    "settings_calibrations",
    metadata,
    sa.Column(
        "settings_id", sa.BigInteger, sa.ForeignKey("settings_references.id"), nullable=False
    ),
    sa.Column("detector", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),  # what Detector.dump wrote
    sa.PrimaryKeyConstraint("settings_id", "detector"),
)

reference_bins: Final = sa.Table(
    "reference_bins",
    metadata,
    sa.Column("reference_id", sa.BigInteger, sa.ForeignKey("references.id"), nullable=False),
    sa.Column("signal", sa.Text, nullable=False),
    sa.Column("edges", sa.LargeBinary, nullable=False),  # float64
    sa.Column("counts", sa.LargeBinary, nullable=False),  # int32
    sa.PrimaryKeyConstraint("reference_id", "signal"),
)
