"""The first schema: what ``monitor/store/tables.py`` said when Driftline was born."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "adapters",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("tier", sa.Text(), server_default="standard", nullable=False),
        sa.Column(
            "labels",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("runbook", sa.Text(), nullable=True),
        sa.Column("mode", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_adapters")),
        sa.UniqueConstraint("name", name=op.f("uq_adapters_name")),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column(
            "details",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
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
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("record_id", sa.Text(collation="C"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("adapter_id", "at", "record_id", "name", name=op.f("pk_feedback")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "flags",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_flags")),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )
    op.create_table(
        "pending_texts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=True),
        sa.Column("record_id", sa.Text(collation="C"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=True),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("encoder", sa.Text(), nullable=True),
        sa.Column("embedding", sa.LargeBinary(), nullable=True),
        sa.Column("failures", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pending_texts")),
    )
    op.create_index(
        op.f("ix_pending_texts_adapter_id_at"), "pending_texts", ["adapter_id", "at"], unique=False
    )
    op.create_table(
        "record_embeddings",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("encoder", sa.Text(), nullable=False),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.Column("reference_id", sa.BigInteger(), nullable=True),
        sa.Column("similarity", sa.REAL(), nullable=True),
        sa.PrimaryKeyConstraint("adapter_id", "at", "id", name=op.f("pk_record_embeddings")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "record_texts",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=True),
        sa.Column("output", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("adapter_id", "at", "id", name=op.f("pk_record_texts")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "record_tokens",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("nll", sa.LargeBinary(), nullable=True),
        sa.Column("entropy", sa.LargeBinary(), nullable=True),
        sa.Column("margin", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("adapter_id", "at", "id", name=op.f("pk_record_tokens")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "records",
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("sum_nll", sa.Double(), nullable=True),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=True),
        sa.Column("context_id", sa.Integer(), nullable=False),
        sa.Column("sample_prob", sa.REAL(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column("latency_ms", sa.REAL(), nullable=True),
        sa.Column("ttft_ms", sa.REAL(), nullable=True),
        sa.Column("n_tokens", sa.Integer(), nullable=True),
        sa.Column("mean_nll", sa.REAL(), nullable=True),
        sa.Column("p95_nll", sa.REAL(), nullable=True),
        sa.Column("near_certain", sa.REAL(), nullable=True),
        sa.Column("entropy", sa.REAL(), nullable=True),
        sa.Column("margin", sa.REAL(), nullable=True),
        sa.Column("non_finite", sa.Integer(), nullable=True),
        sa.Column("rep_4gram", sa.REAL(), nullable=True),
        sa.Column("compression", sa.REAL(), nullable=True),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("loop", sa.Boolean(), nullable=True),
        sa.Column("empty", sa.Boolean(), nullable=True),
        sa.Column("truncated", sa.Boolean(), nullable=True),
        sa.Column("refusal", sa.Boolean(), nullable=True),
        sa.Column("missing", sa.Boolean(), nullable=True),
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("subject", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("adapter_id", "at", "id", name=op.f("pk_records")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "capture_counts",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_capture_counts_adapter_id")
        ),
        sa.PrimaryKeyConstraint("adapter_id", "hour", "outcome", name=op.f("pk_capture_counts")),
    )
    op.create_table(
        "route_history",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("arms", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("on_expiry", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_route_history_adapter_id")
        ),
        sa.PrimaryKeyConstraint("adapter_id", "generation", name=op.f("pk_route_history")),
    )
    op.create_table(
        "routes",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("arms", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("on_expiry", sa.Text(), server_default="stable", nullable=False),
        sa.Column("hold_until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["adapter_id"], ["adapters.id"], name=op.f("fk_routes_adapter_id")),
        sa.PrimaryKeyConstraint("adapter_id", name=op.f("pk_routes")),
    )
    op.create_table(
        "sampling_rates",
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("reference_id", sa.BigInteger(), nullable=True),
        sa.Column("rate", sa.Double(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_sampling_rates_adapter_id")
        ),
        sa.PrimaryKeyConstraint("adapter_id", name=op.f("pk_sampling_rates")),
    )
    op.create_table(
        "versions",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("uri", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("base_model", sa.Text(), nullable=True),
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "registered_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_versions_adapter_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_versions")),
        sa.UniqueConstraint("adapter_id", "name", name=op.f("uq_versions_adapter_id_name")),
    )
    op.create_table(
        "actions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("expected_generation", sa.BigInteger(), nullable=True),
        sa.Column("target", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_actions_adapter_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_actions_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_actions")),
    )
    op.create_index(
        op.f("ix_actions_adapter_id_created_at"),
        "actions",
        ["adapter_id", "created_at"],
        unique=False,
    )
    op.create_table(
        "evaluations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("window_end", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reference_id", sa.BigInteger(), nullable=True),
        sa.Column("n_records", sa.Integer(), server_default="0", nullable=False),
        sa.Column("n_late", sa.Integer(), server_default="0", nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
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
        op.f("ix_evaluations_adapter_id_window_end"),
        "evaluations",
        ["adapter_id", "window_end"],
        unique=False,
    )
    op.create_table(
        "incidents",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("blame", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_incidents_adapter_id")
        ),
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
    op.create_index(
        "ix_incidents_open",
        "incidents",
        ["adapter_id", "version_id", "kind"],
        unique=True,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "increments",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
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
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("evidence_notice", sa.Double(), nullable=False),
        sa.Column("evidence_page", sa.Double(), nullable=False),
        sa.Column("effect", sa.Double(), nullable=False),
        sa.Column("effect_low", sa.Double(), nullable=False),
        sa.Column("effect_high", sa.Double(), nullable=False),
        sa.Column("n_reference", sa.Integer(), nullable=False),
        sa.Column("n_window", sa.Integer(), nullable=False),
        sa.Column("minimum_detectable", sa.Double(), nullable=False),
        sa.Column("winner", sa.Text(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("blame", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_latest_scores_version_id")
        ),
        sa.PrimaryKeyConstraint("version_id", "detector", name=op.f("pk_latest_scores")),
    )
    op.create_table(
        "perplexity_runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("corpus", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("replica", sa.Text(), nullable=True),
        sa.Column("engine", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_perplexity_runs_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_perplexity_runs")),
    )
    op.create_index(
        op.f("ix_perplexity_runs_version_id_corpus_at"),
        "perplexity_runs",
        ["version_id", "corpus", "at"],
        unique=False,
    )
    op.create_table(
        "process_states",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("reference_id", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_process_states_version_id")
        ),
        sa.PrimaryKeyConstraint("version_id", "detector", name=op.f("pk_process_states")),
    )
    op.create_table(
        "references",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("n_training", sa.Integer(), server_default="0", nullable=False),
        sa.Column("n_baseline", sa.Integer(), server_default="0", nullable=False),
        sa.Column("span_days", sa.Double(), server_default="0", nullable=False),
        sa.Column("encoder", sa.Text(), nullable=True),
        sa.Column(
            "strata",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{}'::text[]"),
            nullable=False,
        ),
        sa.Column("hourly_rate", sa.Double(), server_default="0", nullable=False),
        sa.Column("progress", sa.Double(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column(
            "request",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failures", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True),
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
        unique=False,
        postgresql_where=sa.text("state = 'building'"),
    )
    op.create_table(
        "scores",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("detector", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("window_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("evidence_notice", sa.Double(), nullable=False),
        sa.Column("evidence_page", sa.Double(), nullable=False),
        sa.Column("effect", sa.Double(), nullable=False),
        sa.Column("effect_low", sa.Double(), nullable=False),
        sa.Column("effect_high", sa.Double(), nullable=False),
        sa.Column("n_reference", sa.Integer(), nullable=False),
        sa.Column("n_window", sa.Integer(), nullable=False),
        sa.Column("minimum_detectable", sa.Double(), nullable=False),
        sa.Column("winner", sa.Text(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("blame", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_scores_version_id")),
        sa.PrimaryKeyConstraint("version_id", "detector", "at", name=op.f("pk_scores")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("next_due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_window_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failures", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("quarantined_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name=op.f("fk_tasks_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("version_id", "kind", name=op.f("uq_tasks_version_id_kind")),
    )
    op.create_index(op.f("ix_tasks_next_due_at"), "tasks", ["next_due_at"], unique=False)
    op.create_table(
        "transitions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("blame", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("onset_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("onset_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("evaluation_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "details",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["adapter_id"], ["adapters.id"], name=op.f("fk_transitions_adapter_id")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_transitions_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transitions")),
    )
    op.create_index(
        op.f("ix_transitions_adapter_id_at"), "transitions", ["adapter_id", "at"], unique=False
    )
    op.create_table(
        "verdicts",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("adapter_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("blame", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("memory", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("drift_score", sa.Double(), server_default="0", nullable=False),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_verdicts_version_id")
        ),
        sa.PrimaryKeyConstraint("version_id", name=op.f("pk_verdicts")),
    )
    op.create_index(op.f("ix_verdicts_adapter_id"), "verdicts", ["adapter_id"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.BigInteger(), nullable=True),
        sa.Column("transition_id", sa.BigInteger(), nullable=True),
        sa.Column("alert", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column(
            "next_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
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
    op.create_index(op.f("ix_outbox_incident_id"), "outbox", ["incident_id"], unique=False)
    op.create_index(
        "ix_outbox_order",
        "outbox",
        ["channel", "incident_id", "seq"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(
        "ix_outbox_queued",
        "outbox",
        ["next_at"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_table(
        "perplexity_documents",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("sum_nll", sa.Double(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["perplexity_runs.id"],
            name=op.f("fk_perplexity_documents_run_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "document", name=op.f("pk_perplexity_documents")),
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
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("absent_reason", sa.Text(), nullable=True),
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
        sa.Column("text_hash", sa.LargeBinary(), nullable=True),
        sa.Column("subject", sa.LargeBinary(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=True),
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

    _store_arrays_uncompressed()
    _make_audit_append_only()


def _store_arrays_uncompressed() -> None:
    """Float arrays and vectors do not compress: trying costs time at every write."""
    for table, columns in {
        "record_tokens": ("nll", "entropy", "margin"),
        "record_embeddings": ("embedding",),
        "pending_texts": ("embedding",),
        "reference_vectors": ("vectors",),
        "increments": ("body",),
        "process_states": ("body",),
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


def downgrade() -> None:
    op.drop_table("reference_vectors")
    op.drop_table("reference_items")
    op.drop_table("reference_calibrations")
    op.drop_table("reference_bins")
    op.drop_table("perplexity_documents")
    op.drop_index(
        "ix_outbox_queued", table_name="outbox", postgresql_where=sa.text("state = 'queued'")
    )
    op.drop_index(
        "ix_outbox_order", table_name="outbox", postgresql_where=sa.text("state = 'queued'")
    )
    op.drop_index(op.f("ix_outbox_incident_id"), table_name="outbox")
    op.drop_table("outbox")
    op.drop_index(op.f("ix_verdicts_adapter_id"), table_name="verdicts")
    op.drop_table("verdicts")
    op.drop_index(op.f("ix_transitions_adapter_id_at"), table_name="transitions")
    op.drop_table("transitions")
    op.drop_index(op.f("ix_tasks_next_due_at"), table_name="tasks")
    op.drop_table("tasks")
    op.drop_table("scores")
    op.drop_index(
        "ix_references_building",
        table_name="references",
        postgresql_where=sa.text("state = 'building'"),
    )
    op.drop_table("references")
    op.drop_table("process_states")
    op.drop_index(op.f("ix_perplexity_runs_version_id_corpus_at"), table_name="perplexity_runs")
    op.drop_table("perplexity_runs")
    op.drop_table("latest_scores")
    op.drop_table("increments")
    op.drop_index(
        "ix_incidents_open", table_name="incidents", postgresql_where=sa.text("closed_at IS NULL")
    )
    op.drop_table("incidents")
    op.drop_index(op.f("ix_evaluations_adapter_id_window_end"), table_name="evaluations")
    op.drop_table("evaluations")
    op.drop_index(op.f("ix_actions_adapter_id_created_at"), table_name="actions")
    op.drop_table("actions")
    op.drop_table("versions")
    op.drop_table("sampling_rates")
    op.drop_table("routes")
    op.drop_table("route_history")
    op.drop_table("capture_counts")
    op.drop_table("records")
    op.drop_table("record_tokens")
    op.drop_table("record_texts")
    op.drop_table("record_embeddings")
    op.drop_index(op.f("ix_pending_texts_adapter_id_at"), table_name="pending_texts")
    op.drop_table("pending_texts")
    op.drop_table("keys")
    op.drop_table("flags")
    op.drop_table("feedback")
    op.drop_table("contexts")
    op.drop_table("audit")
    op.drop_table("adapters")
    op.execute("DROP FUNCTION audit_refuses_change()")
