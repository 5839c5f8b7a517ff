"""The first schema: nothing was released before it.

Its number is that of the development state which it equals, so a database of that state is at it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0031"
down_revision = None
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_NOW = sa.text("now()")
_EMPTY = sa.text("'{}'::jsonb")


def upgrade() -> None:
    _create_keys_and_audit()
    _create_registry()
    _create_references()
    _create_records()
    _create_evaluation()
    _create_probes_and_changes()
    _create_incidents_and_messages()
    _create_traffic()
    _store_arrays_uncompressed()
    _make_audit_append_only()
    op.execute(_SERVER)
    found = op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    for made in (_MAKE, _DROP):
        op.execute(made.format(schema=found))
    for function in _OF_DAYS:
        op.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")


def downgrade() -> None:
    for table in reversed(_TABLES.split()):
        op.drop_table(table)
    for function in ("audit_refuses_change()", "driftline_server()", *_OF_DAYS):
        op.execute(f"DROP FUNCTION {function}")


def _create_keys_and_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(), server_default=_EMPTY, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(
        "ix_audit_canaries",
        "audit",
        ["id"],
        postgresql_where=sa.text("\"left\"(act, 7) = 'canary.'"),
    )
    op.create_index("ix_audit_subject", "audit", ["subject"])
    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("expires_at", _TIME),
        sa.Column("revoked_at", _TIME),
        sa.Column("last_used_at", _TIME),
        sa.Column("match", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )


def _create_registry() -> None:
    op.create_table(
        "adapters",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("tier", sa.Text(), server_default="standard", nullable=False),
        sa.Column("labels", postgresql.JSONB(), server_default=_EMPTY, nullable=False),
        sa.Column("runbook", sa.Text()),
        sa.Column("mode", sa.Text()),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adapters")),
        sa.UniqueConstraint("name", name=op.f("uq_adapters_name")),
    )
    op.create_table(
        "versions",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text()),
        sa.Column("uri", sa.Text()),
        sa.Column("sha256", sa.Text()),
        sa.Column("base_model", sa.Text()),
        sa.Column("metadata", postgresql.JSONB(), server_default=_EMPTY, nullable=False),
        sa.Column("registered_at", _TIME, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_versions_adapter_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_versions")),
        sa.UniqueConstraint("adapter_id", "name", name=op.f("uq_versions_adapter_id_name")),
    )


def _create_references() -> None:
    op.create_table(
        "references",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text()),
        sa.Column("n_training", sa.Integer(), server_default="0", nullable=False),
        sa.Column("n_baseline", sa.Integer(), server_default="0", nullable=False),
        sa.Column("span_days", sa.Double(), server_default="0", nullable=False),
        sa.Column("encoder", sa.Text()),
        sa.Column(
            "strata",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{}'::text[]"),
            nullable=False,
        ),
        sa.Column("hourly_rate", sa.Double(), server_default="0", nullable=False),
        sa.Column("progress", sa.Double(), server_default="0", nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("request", postgresql.JSONB(), server_default=_EMPTY, nullable=False),
        sa.Column("lease_until", _TIME),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failures", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("ready_at", _TIME),
        sa.CheckConstraint(
            "state IN ('building', 'ready', 'failed')", name=op.f("ck_references_state")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_references_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_references")),
        sa.UniqueConstraint(
            "version_id", "generation", name=op.f("uq_references_version_id_generation")
        ),
    )
    op.create_index(
        "ix_references_building",
        "references",
        ["lease_until"],
        postgresql_where=sa.text("state = 'building'"),
    )
    op.create_table(
        "reference_axes",
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("encoder", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("text IN ('prompt', 'output')", name=op.f("ck_reference_axes_text")),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_reference_axes_reference_id")
        ),
        sa.PrimaryKeyConstraint("reference_id", "text", name=op.f("pk_reference_axes")),
    )
    op.create_table(
        "reference_baselines",
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_reference_baselines_reference_id")
        ),
        sa.PrimaryKeyConstraint("reference_id", name=op.f("pk_reference_baselines")),
    )
    op.create_table(
        "reference_bins",
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.Column("signal", sa.Text(), nullable=False),
        sa.Column("edges", sa.LargeBinary(), nullable=False),
        sa.Column("counts", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_reference_bins_reference_id")
        ),
        sa.PrimaryKeyConstraint("reference_id", "signal", name=op.f("pk_reference_bins")),
    )
    op.create_table(
        "reference_calibrations",
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("absent_reason", sa.Text()),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_reference_calibrations_reference_id")
        ),
        sa.PrimaryKeyConstraint("reference_id", "detector", name=op.f("pk_reference_calibrations")),
    )
    op.create_table(
        "reference_items",
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("text_hash", sa.LargeBinary()),
        sa.Column("subject", sa.LargeBinary()),
        sa.Column("at", _TIME),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "role IN ('training', 'baseline')", name=op.f("ck_reference_items_role")
        ),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_reference_items_reference_id")
        ),
        sa.PrimaryKeyConstraint("reference_id", "seq", name=op.f("pk_reference_items")),
    )
    op.create_table(
        "reference_vectors",
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("vectors", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_reference_vectors_reference_id")
        ),
        sa.PrimaryKeyConstraint("reference_id", "chunk", name=op.f("pk_reference_vectors")),
    )
    op.create_table(
        "settings_references",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.Column("strata", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("n_baseline", sa.Integer(), nullable=False),
        sa.Column("span_days", sa.Double(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_settings_references_reference_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_settings_references_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settings_references")),
    )
    op.create_index(
        op.f("ix_settings_references_reference_id"), "settings_references", ["reference_id"]
    )
    op.create_table(
        "settings_calibrations",
        sa.Column("settings_id", sa.BigInteger(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["settings_id"],
            ["settings_references.id"],
            name=op.f("fk_settings_calibrations_settings_id"),
        ),
        sa.PrimaryKeyConstraint("settings_id", "detector", name=op.f("pk_settings_calibrations")),
    )


def _create_records() -> None:
    op.create_table(
        "answer_embeddings",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("encoder", sa.Text(), nullable=False),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.Column("reference_id", sa.BigInteger()),
        sa.Column("placed", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("adapter_id", "at", "id", name=op.f("pk_answer_embeddings")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "contexts",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), server_default="", nullable=False),
        sa.Column("replica", sa.Text(), server_default="", nullable=False),
        sa.Column("engine", sa.Text(), server_default="", nullable=False),
        sa.Column("stratum", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contexts")),
        sa.UniqueConstraint(
            "source",
            "arm",
            "replica",
            "engine",
            "stratum",
            name=op.f("uq_contexts_source_arm_replica_engine_stratum"),
        ),
    )
    op.create_table(
        "feedback",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("record_id", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("received_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("adapter_id", "at", "record_id", "name", name=op.f("pk_feedback")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "feedback_arrivals",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("record_id", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("received_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("version_id", sa.Integer()),
        sa.Column("context_id", sa.Integer()),
        sa.Column("subject", sa.LargeBinary()),
        sa.Column("window_end", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback_arrivals")),
    )
    op.create_index(
        "ix_feedback_arrivals_read",
        "feedback_arrivals",
        ["version_id", "window_end"],
        postgresql_where=sa.text("window_end IS NOT NULL"),
    )
    op.create_index(
        "ix_feedback_arrivals_unread",
        "feedback_arrivals",
        ["adapter_id", "at"],
        postgresql_where=sa.text("window_end IS NULL"),
    )
    op.create_table(
        "pending_texts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer()),
        sa.Column("record_id", sa.Text(collation="C"), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("prompt", sa.Text()),
        sa.Column("output", sa.Text()),
        sa.Column("encoder", sa.Text()),
        sa.Column("embedding", sa.LargeBinary()),
        sa.Column("failures", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("lease_until", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pending_texts")),
    )
    op.create_index(op.f("ix_pending_texts_adapter_id_at"), "pending_texts", ["adapter_id", "at"])
    op.create_table(
        "record_embeddings",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("encoder", sa.Text(), nullable=False),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.Column("reference_id", sa.BigInteger()),
        sa.Column("similarity", sa.REAL()),
        sa.Column("coordinates", sa.LargeBinary()),
        sa.Column("terms", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("adapter_id", "at", "id", name=op.f("pk_record_embeddings")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "record_texts",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("prompt", sa.Text()),
        sa.Column("output", sa.Text()),
        sa.PrimaryKeyConstraint("adapter_id", "at", "id", name=op.f("pk_record_texts")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "record_tokens",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("nll", sa.LargeBinary()),
        sa.Column("entropy", sa.LargeBinary()),
        sa.Column("margin", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("adapter_id", "at", "id", name=op.f("pk_record_tokens")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "records",
        sa.Column("at", _TIME, nullable=False),
        sa.Column("received_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("sum_nll", sa.Double()),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer()),
        sa.Column("context_id", sa.Integer(), nullable=False),
        sa.Column("sample_prob", sa.REAL(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer()),
        sa.Column("output_tokens", sa.Integer()),
        sa.Column("latency_ms", sa.REAL()),
        sa.Column("ttft_ms", sa.REAL()),
        sa.Column("n_tokens", sa.Integer()),
        sa.Column("mean_nll", sa.REAL()),
        sa.Column("p95_nll", sa.REAL()),
        sa.Column("near_certain", sa.REAL()),
        sa.Column("entropy", sa.REAL()),
        sa.Column("margin", sa.REAL()),
        sa.Column("non_finite", sa.Integer()),
        sa.Column("rep_4gram", sa.REAL()),
        sa.Column("compression", sa.REAL()),
        sa.Column("status", sa.SmallInteger()),
        sa.Column("loop", sa.Boolean()),
        sa.Column("empty", sa.Boolean()),
        sa.Column("truncated", sa.Boolean()),
        sa.Column("refusal", sa.Boolean()),
        sa.Column("missing", sa.Boolean()),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("finish_reason", sa.Text()),
        sa.Column("subject", sa.LargeBinary()),
        sa.Column("invalid", sa.Boolean()),
        sa.Column("prompt_prefix", sa.Integer()),
        sa.Column("answer_format", sa.SmallInteger()),
        sa.PrimaryKeyConstraint("adapter_id", "at", "id", name=op.f("pk_records")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "capture_counts",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("hour", _TIME, nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_capture_counts_adapter_id")
        ),
        sa.PrimaryKeyConstraint("adapter_id", "hour", "outcome", name=op.f("pk_capture_counts")),
    )
    op.create_table(
        "sampling_rates",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("reference_id", sa.BigInteger()),
        sa.Column("rate", sa.Double(), nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_sampling_rates_adapter_id")
        ),
        sa.PrimaryKeyConstraint("adapter_id", name=op.f("pk_sampling_rates")),
    )
    op.create_table(
        "terms",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("term", sa.LargeBinary(), nullable=False),
        sa.Column("subjects", postgresql.ARRAY(sa.LargeBinary()), nullable=False),
        sa.Column("word", sa.Text()),
        sa.Column("seen_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["adapter_id"], ["adapters.id"], name=op.f("fk_terms_adapter_id")),
        sa.PrimaryKeyConstraint("adapter_id", "term", name=op.f("pk_terms")),
    )


def _create_evaluation() -> None:
    op.create_table(
        "coverage_days",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("body", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_coverage_days_version_id")
        ),
        sa.PrimaryKeyConstraint("version_id", "day", name=op.f("pk_coverage_days")),
    )
    op.create_table(
        "evaluations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("window_start", _TIME, nullable=False),
        sa.Column("window_end", _TIME, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reference_id", sa.BigInteger()),
        sa.Column("n_records", sa.Integer(), server_default="0", nullable=False),
        sa.Column("n_late", sa.Integer(), server_default="0", nullable=False),
        sa.Column("verdict", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("finished_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("coverage", postgresql.JSONB(none_as_null=True)),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_evaluations_adapter_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_evaluations_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
        sa.UniqueConstraint(
            "version_id",
            "kind",
            "window_end",
            name=op.f("uq_evaluations_version_id_kind_window_end"),
        ),
    )
    op.create_index(
        op.f("ix_evaluations_adapter_id_window_end"), "evaluations", ["adapter_id", "window_end"]
    )
    op.create_table(
        "increments",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("window_start", _TIME, nullable=False),
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.Column("n_units", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_increments_version_id")
        ),
        sa.PrimaryKeyConstraint("version_id", "detector", "at", name=op.f("pk_increments")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "latest_scores",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("window_start", _TIME, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("evidence_notice", sa.Double(), nullable=False),
        sa.Column("evidence_page", sa.Double(), nullable=False),
        sa.Column("effect", sa.Double(), nullable=False),
        sa.Column("effect_low", sa.Double(), nullable=False),
        sa.Column("effect_high", sa.Double(), nullable=False),
        sa.Column("n_reference", sa.Integer(), nullable=False),
        sa.Column("n_window", sa.Integer(), nullable=False),
        sa.Column("minimum_detectable", sa.Double(), nullable=False),
        sa.Column("winner", sa.Text()),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("blame", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False),
        sa.Column("details", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_latest_scores_version_id")
        ),
        sa.PrimaryKeyConstraint("version_id", "detector", name=op.f("pk_latest_scores")),
    )
    op.create_table(
        "process_states",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_process_states_version_id")
        ),
        sa.PrimaryKeyConstraint("version_id", "detector", name=op.f("pk_process_states")),
    )
    op.create_table(
        "scores",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("window_start", _TIME, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("evidence_notice", sa.Double(), nullable=False),
        sa.Column("evidence_page", sa.Double(), nullable=False),
        sa.Column("effect", sa.Double(), nullable=False),
        sa.Column("effect_low", sa.Double(), nullable=False),
        sa.Column("effect_high", sa.Double(), nullable=False),
        sa.Column("n_reference", sa.Integer(), nullable=False),
        sa.Column("n_window", sa.Integer(), nullable=False),
        sa.Column("minimum_detectable", sa.Double(), nullable=False),
        sa.Column("winner", sa.Text()),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("blame", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False),
        sa.Column("details", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_scores_version_id")),
        sa.PrimaryKeyConstraint("version_id", "detector", "at", name=op.f("pk_scores")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("next_due_at", _TIME, nullable=False),
        sa.Column("next_window_start", _TIME),
        sa.Column("requested_at", _TIME),
        sa.Column("lease_until", _TIME),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failures", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("quarantined_at", _TIME),
        sa.Column("stopped", sa.Text()),
        sa.Column("first", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_tasks_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("version_id", "kind", name=op.f("uq_tasks_version_id_kind")),
    )
    op.create_index(op.f("ix_tasks_next_due_at"), "tasks", ["next_due_at"])
    op.create_table(
        "transitions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("blame", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("onset_start", _TIME),
        sa.Column("onset_end", _TIME),
        sa.Column("evaluation_id", sa.BigInteger()),
        sa.Column("details", postgresql.JSONB(), server_default=_EMPTY, nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_transitions_adapter_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_transitions_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transitions")),
    )
    op.create_index(op.f("ix_transitions_adapter_id_at"), "transitions", ["adapter_id", "at"])
    op.create_table(
        "verdicts",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("blame", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("memory", postgresql.JSONB(), nullable=False),
        sa.Column("drift_score", sa.Double(), server_default="0", nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_verdicts_version_id")
        ),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_verdicts")),
    )
    op.create_index(op.f("ix_verdicts_adapter_id"), "verdicts", ["adapter_id"])


def _create_probes_and_changes() -> None:
    op.create_table(
        "changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("adapters", postgresql.ARRAY(sa.Text())),
        sa.Column("begun_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(), server_default=_EMPTY, nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
    )
    op.create_index(op.f("ix_changes_begun_at"), "changes", ["begun_at"])
    op.create_table(
        "identity_checks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("base", sa.Text()),
        sa.Column("sibling", sa.Text()),
        sa.Column("replica", sa.Text()),
        sa.Column("engine", sa.Text()),
        sa.Column("kl", sa.Double()),
        sa.Column("nll_difference", sa.Double()),
        sa.Column("details", postgresql.JSONB(), server_default=_EMPTY, nullable=False),
        sa.Column("retired_at", _TIME),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_identity_checks_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_checks")),
    )
    op.create_index(
        op.f("ix_identity_checks_version_id_at"), "identity_checks", ["version_id", "at"]
    )
    op.create_table(
        "perplexity_runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version_id", sa.Integer()),
        sa.Column("corpus", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("replica", sa.Text()),
        sa.Column("engine", sa.Text()),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("dtype", sa.Text()),
        sa.Column("source", sa.Text()),
        sa.Column("weights", sa.Text()),
        sa.Column("retired_because", sa.Text()),
        sa.Column("retired_at", _TIME),
        sa.Column("seconds", sa.Double()),
        sa.Column("made_by", sa.Text()),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_perplexity_runs_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_perplexity_runs")),
    )
    op.create_index(
        "ix_perplexity_runs_base",
        "perplexity_runs",
        ["model", "corpus", "at"],
        postgresql_where=sa.text("version_id IS NULL"),
    )
    op.create_index(
        op.f("ix_perplexity_runs_version_id_corpus_at"),
        "perplexity_runs",
        ["version_id", "corpus", "at"],
    )
    op.create_table(
        "weight_inspections",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("weights", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("report", postgresql.JSONB(), server_default=_EMPTY, nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_weight_inspections_version_id")
        ),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_weight_inspections")),
    )
    op.create_table(
        "perplexity_documents",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("sum_nll", sa.Double(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("beside", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("read_at", _TIME),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["perplexity_runs.id"],
            name=op.f("fk_perplexity_documents_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "document", name=op.f("pk_perplexity_documents")),
    )
    op.create_table(
        "selftests",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("requested_at", _TIME),
        sa.Column("lease_until", _TIME),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("progress", sa.Double(), server_default="0", nullable=False),
        sa.Column("finished_at", _TIME),
        sa.Column("reference_id", sa.BigInteger()),
        sa.Column("report", postgresql.JSONB()),
        sa.Column("error", sa.Text()),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["references.id"], name=op.f("fk_selftests_reference_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_selftests_version_id")
        ),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_selftests")),
    )


def _create_incidents_and_messages() -> None:
    op.create_table(
        "silences",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("match", postgresql.JSONB(), nullable=False),
        sa.Column("starts_at", _TIME, nullable=False),
        sa.Column("ends_at", _TIME, nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silences")),
    )
    op.create_index(op.f("ix_silences_ends_at"), "silences", ["ends_at"])
    op.create_table(
        "incidents",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer()),
        sa.Column("version_id", sa.Integer()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("blame", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("opened_at", _TIME, nullable=False),
        sa.Column("closed_at", _TIME),
        sa.Column("acknowledged_by", sa.Text()),
        sa.Column("acknowledged_until", _TIME),
        sa.Column("state", postgresql.JSONB(), nullable=False),
        sa.Column("base_model", sa.Text()),
        sa.Column("part_of", sa.BigInteger()),
        sa.Column("marked", sa.Text()),
        sa.Column("marked_by", sa.Text()),
        sa.Column("marked_at", _TIME),
        sa.Column("marked_because", sa.Text()),
        sa.CheckConstraint(
            "(adapter_id IS NULL) = (base_model IS NOT NULL)", name=op.f("ck_incidents_of_whom")
        ),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_incidents_adapter_id")
        ),
        sa.ForeignKeyConstraint(["part_of"], ["incidents.id"], name=op.f("fk_incidents_part_of")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_incidents_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
        sa.UniqueConstraint(
            "adapter_id",
            "version_id",
            "kind",
            "number",
            name=op.f("uq_incidents_adapter_id_version_id_kind_number"),
        ),
    )
    op.create_index(op.f("ix_incidents_closed_at"), "incidents", ["closed_at"])
    op.create_index(
        "ix_incidents_fleet",
        "incidents",
        ["base_model", "kind", "number"],
        unique=True,
        postgresql_where=sa.text("base_model IS NOT NULL"),
    )
    op.create_index(
        "ix_incidents_open",
        "incidents",
        ["adapter_id", "version_id", "kind"],
        unique=True,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "fleet_members",
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("joined_at", _TIME, nullable=False),
        sa.Column("left_at", _TIME),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_fleet_members_incident_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_fleet_members_version_id")
        ),
        sa.PrimaryKeyConstraint("incident_id", "version_id", name=op.f("pk_fleet_members")),
    )
    op.create_index(
        "ix_fleet_members_in",
        "fleet_members",
        ["version_id"],
        postgresql_where=sa.text("left_at IS NULL"),
    )
    op.create_table(
        "held",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=False),
        sa.Column("transition_id", sa.BigInteger()),
        sa.Column("alert", postgresql.JSONB(), nullable=False),
        sa.Column("at", _TIME, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_held_incident_id")
        ),
        sa.ForeignKeyConstraint(
            ["transition_id"], ["transitions.id"], name=op.f("fk_held_transition_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_held")),
        sa.UniqueConstraint("seq", name=op.f("uq_held_seq")),
    )
    op.create_index(op.f("ix_held_incident_id"), "held", ["incident_id"])
    op.create_table(
        "outbox",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.BigInteger()),
        sa.Column("transition_id", sa.BigInteger()),
        sa.Column("alert", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("next_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("lease_until", _TIME),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text()),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("delivered_at", _TIME),
        sa.Column("group_key", sa.Text()),
        sa.Column("batch", sa.UUID()),
        sa.CheckConstraint(
            "state IN ('queued', 'delivered', 'dead')", name=op.f("ck_outbox_state")
        ),
        sa.ForeignKeyConstraint(
            ["incident_id"], ["incidents.id"], name=op.f("fk_outbox_incident_id")
        ),
        sa.ForeignKeyConstraint(
            ["transition_id"], ["transitions.id"], name=op.f("fk_outbox_transition_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("seq", name=op.f("uq_outbox_seq")),
    )
    op.create_index(
        "ix_outbox_batch", "outbox", ["batch"], postgresql_where=sa.text("batch IS NOT NULL")
    )
    op.create_index(
        "ix_outbox_dead", "outbox", ["channel"], postgresql_where=sa.text("state = 'dead'")
    )
    op.create_index(op.f("ix_outbox_incident_id"), "outbox", ["incident_id"])
    op.create_index(
        "ix_outbox_order",
        "outbox",
        ["channel", "incident_id", "seq"],
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_outbox_queued", "outbox", ["next_at"], postgresql_where=sa.text("state = 'queued'")
    )


def _create_traffic() -> None:
    op.create_table(
        "flags",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", _TIME, server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_flags")),
    )
    op.create_table(
        "route_epochs",
        sa.Column("epoch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("written_by", sa.Text(), nullable=False),
        sa.Column("opened_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_route_epochs")),
    )
    op.create_table(
        "route_failures",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_route_failures_adapter_id")
        ),
        sa.PrimaryKeyConstraint("adapter_id", name=op.f("pk_route_failures")),
    )
    op.create_table(
        "route_history",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("arms", postgresql.JSONB(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("valid_until", _TIME),
        sa.Column("on_expiry", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_route_history_adapter_id")
        ),
        sa.PrimaryKeyConstraint("adapter_id", "generation", name=op.f("pk_route_history")),
    )
    op.create_table(
        "route_refusals",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("router", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("since", _TIME, server_default=_NOW, nullable=False),
        sa.Column("said_at", _TIME, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_route_refusals_adapter_id")
        ),
        sa.PrimaryKeyConstraint("adapter_id", "router", name=op.f("pk_route_refusals")),
    )
    op.create_table(
        "routes",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("arms", postgresql.JSONB(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("since", _TIME, nullable=False),
        sa.Column("valid_until", _TIME),
        sa.Column("on_expiry", sa.Text(), server_default="stable", nullable=False),
        sa.Column("hold_until", _TIME),
        sa.ForeignKeyConstraint(["adapter_id"], ["adapters.id"], name=op.f("fk_routes_adapter_id")),
        sa.PrimaryKeyConstraint("adapter_id", name=op.f("pk_routes")),
    )
    op.create_table(
        "actions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(), nullable=False),
        sa.Column("expected_generation", sa.BigInteger()),
        sa.Column("target", postgresql.JSONB()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("decided_at", _TIME),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_actions_adapter_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_actions_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_actions")),
    )
    op.create_index(
        op.f("ix_actions_adapter_id_created_at"), "actions", ["adapter_id", "created_at"]
    )
    op.create_index(
        "ix_actions_unread",
        "actions",
        ["id"],
        postgresql_where=sa.text("state IN ('executing', 'applied', 'verify_failed')"),
    )
    op.create_table(
        "canaries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("control_id", sa.Integer(), nullable=False),
        sa.Column("plan", postgresql.JSONB(), nullable=False),
        sa.Column("state", postgresql.JSONB(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("latched", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("guards", postgresql.JSONB(), nullable=False),
        sa.Column(
            "unchecked",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{}'::text[]"),
            nullable=False,
        ),
        sa.Column("carried", postgresql.JSONB(), server_default=_EMPTY, nullable=False),
        sa.Column("mode", sa.Text()),
        sa.Column("generation", sa.BigInteger()),
        sa.Column("measured_until", _TIME),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("updated_at", _TIME, server_default=_NOW, nullable=False),
        sa.Column("ended_at", _TIME),
        sa.Column("next_look_at", _TIME),
        sa.Column("lease_until", _TIME),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_canaries_adapter_id")
        ),
        sa.ForeignKeyConstraint(
            ["control_id"], ["versions.id"], name=op.f("fk_canaries_control_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_canaries_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canaries")),
    )
    op.create_index(
        "ix_canaries_active",
        "canaries",
        ["adapter_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "ix_canaries_latched", "canaries", ["adapter_id"], postgresql_where=sa.text("latched")
    )
    op.create_table(
        "pending_decisions",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("evidence", postgresql.JSONB()),
        sa.Column("asked_at", _TIME, nullable=False),
        sa.Column("waits_since", _TIME, nullable=False),
        sa.Column("lease_until", _TIME),
        sa.Column("lease_owner", sa.Text()),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_pending_decisions_adapter_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_pending_decisions_version_id")
        ),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_pending_decisions")),
    )
    op.create_table(
        "retrainings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("window_start", _TIME, nullable=False),
        sa.Column("window_end", _TIME, nullable=False),
        sa.Column("below", sa.Double()),
        sa.Column("replay_share", sa.Double(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_retrainings_adapter_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_retrainings_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retrainings")),
    )
    op.create_index(
        op.f("ix_retrainings_adapter_id_created_at"), "retrainings", ["adapter_id", "created_at"]
    )
    op.create_table(
        "canary_looks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("canary_id", sa.BigInteger(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("pause", sa.Text()),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text()),
        sa.Column("trial_requests", sa.Integer()),
        sa.Column("control_requests", sa.Integer()),
        sa.Column("guards", postgresql.JSONB()),
        sa.Column("failures", postgresql.JSONB()),
        sa.ForeignKeyConstraint(
            ["canary_id"], ["canaries.id"], name=op.f("fk_canary_looks_canary_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canary_looks")),
    )
    op.create_index(op.f("ix_canary_looks_canary_id_id"), "canary_looks", ["canary_id", "id"])
    op.create_index(
        "ix_canary_looks_rollbacks",
        "canary_looks",
        ["at"],
        postgresql_where=sa.text("phase = 'rolling_back'"),
    )


def _store_arrays_uncompressed() -> None:
    """Float arrays and vectors do not compress: trying costs time at every write."""
    for table, columns in {
        "answer_embeddings": ("embedding",),
        "increments": ("body",),
        "pending_texts": ("embedding",),
        "process_states": ("body",),
        "record_embeddings": ("embedding",),
        "record_tokens": ("nll", "entropy", "margin"),
        "reference_vectors": ("vectors",),
    }.items():
        for column in columns:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")


def _make_audit_append_only() -> None:
    op.execute(
        """
        CREATE FUNCTION audit_refuses_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the audit is append-only: % is refused', TG_OP
                USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER audit_is_append_only
        BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
        FOR EACH STATEMENT EXECUTE FUNCTION audit_refuses_change()
        """
    )


_TABLES = """
    audit keys adapters versions references reference_axes reference_baselines
    reference_bins reference_calibrations reference_items reference_vectors
    settings_references settings_calibrations answer_embeddings contexts feedback
    feedback_arrivals pending_texts record_embeddings record_texts record_tokens records
    capture_counts sampling_rates terms coverage_days evaluations increments latest_scores
    process_states scores tasks transitions verdicts changes identity_checks perplexity_runs
    weight_inspections perplexity_documents selftests silences incidents fleet_members held
    outbox flags route_epochs route_failures route_history route_refusals routes actions
    canaries pending_decisions retrainings canary_looks
"""

_SERVER = """
CREATE FUNCTION driftline_server() RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  cluster text;
BEGIN
  IF pg_is_in_recovery() THEN
    RETURN NULL;
  END IF;
  SELECT system_identifier INTO cluster FROM pg_control_system();
  -- a server that was recovered, or promoted, writes on a new timeline
  RETURN concat_ws('/', cluster,
    (SELECT oid FROM pg_database WHERE datname = current_database()),
    left(pg_walfile_name(pg_current_wal_lsn()), 8));
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;  -- some providers keep this to themselves
END
$$
"""

_REFUSED = "RAISE EXCEPTION '% is no {}', given USING ERRCODE = 'insufficient_privilege'"

_MAKE = f"""
CREATE FUNCTION driftline_make_day(given text, first date, beyond date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {{schema}}, pg_temp AS $$
DECLARE
    day text := given || to_char(first, '_YYYYMMDD');
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_partitioned_table JOIN pg_class ON pg_class.oid = partrelid
        WHERE relname = given AND relnamespace = current_schema()::regnamespace
    ) THEN
        {_REFUSED.format("table cut by time")};
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', day, given);
    EXECUTE format(
        'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        given, day, first || ' 00:00:00+00', beyond || ' 00:00:00+00'
    );
END $$
"""

_DROP = f"""
CREATE FUNCTION driftline_drop_day(given text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {{schema}}, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_inherits
        JOIN pg_class child ON child.oid = inhrelid
        JOIN pg_partitioned_table ON partrelid = inhparent
        WHERE child.relname = given AND child.relkind = 'r'
          AND child.relnamespace = current_schema()::regnamespace
    ) THEN
        {_REFUSED.format("day of a table cut by time")};
    END IF;
    EXECUTE format('DROP TABLE %I', given);
END $$
"""

_OF_DAYS = ("driftline_make_day(text, date, date)", "driftline_drop_day(text)")
