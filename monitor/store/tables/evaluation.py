"""Tables of evaluation: tasks, scores, verdicts."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
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
from sqlalchemy.dialects.postgresql import JSONB

from monitor.store.tables.columns import NOW, TIME, adapter_id, metadata, own_id, version_id

tasks: Final = Table(
    "tasks",
    metadata,
    own_id(),
    version_id(),
    Column("kind", Text, nullable=False),  # EvaluationKind
    Column("next_due_at", TIME, nullable=False),
    Column("next_window_start", TIME),
    # "run now": the window then ends at now - lag instead of on the grid
    Column("requested_at", TIME),
    Column("lease_until", TIME),
    Column("lease_owner", Text),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("failures", SmallInteger, nullable=False, server_default="0"),
    Column("quarantined_at", TIME),
    Column("stopped", Text),  # why the newest try of a probe had no result
    # goes before tasks that are merely due: only its probes can clear the version
    Column("first", Boolean, nullable=False, server_default=sa.false()),
    UniqueConstraint("version_id", "kind"),
    # "what is due?" -- claimed with FOR UPDATE SKIP LOCKED each tick
    Index(None, "next_due_at"),
)

evaluations: Final = Table(
    "evaluations",
    metadata,
    own_id(),
    adapter_id(),
    version_id(),
    Column("kind", Text, nullable=False),
    Column("window_start", TIME, nullable=False),
    Column("window_end", TIME, nullable=False),
    Column("state", Text, nullable=False),  # done | skipped | error
    Column("reference_id", BigInteger),
    Column("n_records", Integer, nullable=False, server_default="0"),
    Column("n_late", Integer, nullable=False, server_default="0"),
    Column("verdict", Text),
    Column("reason", Text),
    # each detector's coverage of the window's requests; null if it had none
    Column("coverage", JSONB(none_as_null=True)),
    Column("epoch", BigInteger, nullable=False),
    Column("started_at", TIME, nullable=False),
    Column("finished_at", TIME, nullable=False, server_default=NOW),
    # one result per (adapter version, kind, window), whoever computed it
    UniqueConstraint("version_id", "kind", "window_end"),
    Index(None, "adapter_id", "window_end"),
)

coverage_days: Final = Table(
    "coverage_days",
    metadata,
    version_id(),
    Column("day", Date, nullable=False),
    # the coverage of the day's evaluations, added up by detector
    Column("body", JSONB, nullable=False),
    PrimaryKeyConstraint("version_id", "day"),
)

_SCORE_COLUMNS: Final = (
    ("window_start", TIME, False),
    ("value", Double, False),
    ("evidence_notice", Double, False),
    ("evidence_page", Double, False),
    ("effect", Double, False),
    ("effect_low", Double, False),
    ("effect_high", Double, False),
    ("n_reference", Integer, False),
    ("n_window", Integer, False),
    ("minimum_detectable", Double, False),
    ("winner", Text, True),
    ("verdict", Text, False),
    ("blame", Text, False),
    ("reason", Text, False),
    ("evaluation_id", BigInteger, False),
    ("details", JSONB, False),
)


def _score_columns() -> list[Column[object]]:
    return [Column(name, kind, nullable=null) for name, kind, null in _SCORE_COLUMNS]


scores: Final = Table(
    "scores",
    metadata,
    version_id(),
    Column("detector", Text, nullable=False),
    Column("at", TIME, nullable=False),  # end of the window
    *_score_columns(),
    PrimaryKeyConstraint("version_id", "detector", "at"),
    postgresql_partition_by="RANGE (at)",
)

latest_scores: Final = Table(
    "latest_scores",
    metadata,
    version_id(),
    Column("detector", Text, nullable=False),
    Column("at", TIME, nullable=False),
    *_score_columns(),
    PrimaryKeyConstraint("version_id", "detector"),
)

process_states: Final = Table(
    "process_states",
    metadata,
    version_id(),
    Column("detector", Text, nullable=False),
    # a new generation starts its processes afresh
    Column("reference_id", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("updated_at", TIME, nullable=False, server_default=NOW),
    PrimaryKeyConstraint("version_id", "detector"),
)

increments: Final = Table(
    "increments",
    metadata,
    version_id(),
    Column("detector", Text, nullable=False),
    Column("at", TIME, nullable=False),  # end of the window
    Column("window_start", TIME, nullable=False),
    Column("reference_id", BigInteger, nullable=False),
    Column("n_units", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("version_id", "detector", "at"),
    postgresql_partition_by="RANGE (at)",
)

verdicts: Final = Table(
    "verdicts",
    metadata,
    Column("version_id", Integer, ForeignKey("versions.id"), primary_key=True),
    Column("adapter_id", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("blame", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", TIME, nullable=False),
    # the memory of the policy: which detectors crossed, when, their winners and onsets
    Column("memory", JSONB, nullable=False),
    Column("drift_score", Double, nullable=False, server_default="0"),
    Column("updated_at", TIME, nullable=False, server_default=NOW),
    Index(None, "adapter_id"),
)

transitions: Final = Table(
    "transitions",
    metadata,
    own_id(),
    adapter_id(),
    version_id(),
    Column("at", TIME, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("blame", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("onset_start", TIME),
    Column("onset_end", TIME),
    Column("evaluation_id", BigInteger),
    Column("details", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    Index(None, "adapter_id", "at"),
)
