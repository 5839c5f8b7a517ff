"""Tables of evaluations: what is due, what detectors said, what was made of it."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from monitor.store.tables.columns import NOW, TIME, adapter_id, metadata, own_id, version_id

tasks: Final = sa.Table(
    "tasks",
    metadata,
    own_id(),
    version_id(),
    sa.Column("kind", sa.Text, nullable=False),  # EvaluationKind
    sa.Column("next_due_at", TIME, nullable=False),
    sa.Column("next_window_start", TIME),
    # "run now": the window then ends at now - lag instead of on the grid
    sa.Column("requested_at", TIME),
    sa.Column("lease_until", TIME),
    sa.Column("lease_owner", sa.Text),
    sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("failures", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("quarantined_at", TIME),
    sa.Column("last_done_at", TIME),  # when a window of it was judged last
    sa.Column("stopped", sa.Text),  # why the newest try of a probe had no result
    # goes before tasks that are merely due: only its probes can clear the version
    sa.Column("first", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("version_id", "kind"),
    # "what is due?" -- claimed with FOR UPDATE SKIP LOCKED each tick
    sa.Index(None, "next_due_at"),
)

evaluations: Final = sa.Table(
    "evaluations",
    metadata,
    own_id(),
    adapter_id(),
    version_id(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("window_start", TIME, nullable=False),
    sa.Column("window_end", TIME, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # done | skipped | error
    sa.Column("reference_id", sa.BigInteger),
    sa.Column("n_records", sa.Integer, nullable=False, server_default="0"),
    sa.Column("n_late", sa.Integer, nullable=False, server_default="0"),
    sa.Column("verdict", sa.Text),
    sa.Column("reason", sa.Text),
    # each detector's coverage of the window's requests; null if it had none
    sa.Column("coverage", JSONB(none_as_null=True)),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("started_at", TIME, nullable=False),
    sa.Column("finished_at", TIME, nullable=False, server_default=NOW),
    # one result per (adapter version, kind, window), whoever computed it
    sa.UniqueConstraint("version_id", "kind", "window_end"),
    sa.Index(None, "adapter_id", "window_end"),
)

coverage_days: Final = sa.Table(
    "coverage_days",
    metadata,
    version_id(),
    sa.Column("day", sa.Date, nullable=False),
    # the coverage of the day's evaluations, added up by detector
    sa.Column("body", JSONB, nullable=False),
    sa.PrimaryKeyConstraint("version_id", "day"),
)

_SCORE_COLUMNS: Final = (
    ("window_start", TIME, False),
    ("value", sa.Double, False),
    ("evidence_notice", sa.Double, False),
    ("evidence_page", sa.Double, False),
    ("effect", sa.Double, False),
    ("effect_low", sa.Double, False),
    ("effect_high", sa.Double, False),
    ("n_reference", sa.Integer, False),
    ("n_window", sa.Integer, False),
    ("minimum_detectable", sa.Double, False),
    ("winner", sa.Text, True),
    ("verdict", sa.Text, False),
    ("blame", sa.Text, False),
    ("reason", sa.Text, False),
    ("evaluation_id", sa.BigInteger, False),
    ("details", JSONB, False),
)


def _score_columns() -> list[sa.Column[object]]:
    return [sa.Column(name, kind, nullable=null) for name, kind, null in _SCORE_COLUMNS]


scores: Final = sa.Table(
    "scores",
    metadata,
    version_id(),
    sa.Column("detector", sa.Text, nullable=False),
    sa.Column("at", TIME, nullable=False),  # end of the window
    *_score_columns(),
    sa.PrimaryKeyConstraint("version_id", "detector", "at"),
    postgresql_partition_by="RANGE (at)",
)

latest_scores: Final = sa.Table(
    "latest_scores",
    metadata,
    version_id(),
    sa.Column("detector", sa.Text, nullable=False),
    sa.Column("at", TIME, nullable=False),
    *_score_columns(),
    sa.PrimaryKeyConstraint("version_id", "detector"),
)

process_states: Final = sa.Table(
    "process_states",
    metadata,
    version_id(),
    sa.Column("detector", sa.Text, nullable=False),
    # a new generation starts its processes afresh
    sa.Column("reference_id", sa.BigInteger, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("updated_at", TIME, nullable=False, server_default=NOW),
    sa.PrimaryKeyConstraint("version_id", "detector"),
)

increments: Final = sa.Table(
    "increments",
    metadata,
    version_id(),
    sa.Column("detector", sa.Text, nullable=False),
    sa.Column("at", TIME, nullable=False),  # end of the window
    sa.Column("window_start", TIME, nullable=False),
    sa.Column("reference_id", sa.BigInteger, nullable=False),
    sa.Column("n_units", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.PrimaryKeyConstraint("version_id", "detector", "at"),
    postgresql_partition_by="RANGE (at)",
)

verdicts: Final = sa.Table(
    "verdicts",
    metadata,
    sa.Column("version_id", sa.Integer, sa.ForeignKey("versions.id"), primary_key=True),
    sa.Column("adapter_id", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("blame", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("since", TIME, nullable=False),
    # the memory of the policy: which detectors crossed, when, their winners and onsets
    sa.Column("memory", JSONB, nullable=False),
    # how it moved, for others on its base; null where nothing but its inputs did
    sa.Column("moved", JSONB(none_as_null=True)),
    sa.Column("drift_score", sa.Double, nullable=False, server_default="0"),
    sa.Column("updated_at", TIME, nullable=False, server_default=NOW),
    sa.Index(None, "adapter_id"),
)

transitions: Final = sa.Table(
    "transitions",
    metadata,
    own_id(),
    adapter_id(),
    version_id(),
    sa.Column("at", TIME, nullable=False),
    sa.Column("before", sa.Text, nullable=False),
    sa.Column("after", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("blame", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("onset_start", TIME),
    sa.Column("onset_end", TIME),
    sa.Column("evaluation_id", sa.BigInteger),
    sa.Column("details", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Index(None, "adapter_id", "at"),
)

reports: Final = sa.Table(
    "reports",
    metadata,
    # Evidently's reports: requested, drawn by a worker, deleted after a day
    own_id(),
    version_id(),
    sa.Column("start_at", TIME, nullable=False),
    sa.Column("end_at", TIME, nullable=False),
    sa.Column("requested_at", TIME, nullable=False, server_default=NOW),
    sa.Column("lease_until", TIME),
    sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("progress", sa.Double, nullable=False, server_default="0"),
    sa.Column("finished_at", TIME),
    sa.Column("error", sa.Text),
    sa.Column("facts", JSONB),
    sa.Column("page", sa.LargeBinary),  # HTML, gzip
    sa.Column("snapshot", sa.LargeBinary),  # Evidently's JSON, gzip
    sa.UniqueConstraint("version_id", "start_at", "end_at"),
)
