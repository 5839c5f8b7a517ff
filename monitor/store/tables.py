"""The schema, in one place. Migrations create it; ``alembic check`` keeps the two equal.

Conventions: integer keys inside, names outside; ``timestamptz`` everywhere; no enum types
in the database (a new word must not need a table rewrite) but a CHECK where a wrong word
would do harm; partitioned tables are created empty here, their daily partitions by
:mod:`monitor.store.partitions`.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL, UUID

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_TIME: Final = DateTime(timezone=True)
_NOW: Final = sa.text("now()")
# compared byte by byte: cheaper than a language's order, and the same on every server
_RECORD_ID: Final = Text(collation="C")


def _id() -> Column[int]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def _adapter(*, nullable: bool = False) -> Column[int]:
    return Column("adapter_id", Integer, ForeignKey("adapters.id"), nullable=nullable)


def _version(*, nullable: bool = False) -> Column[int]:
    return Column("version_id", Integer, ForeignKey("versions.id"), nullable=nullable)


adapters: Final = Table(
    "adapters",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("owner", Text),
    Column("tier", Text, nullable=False, server_default="standard"),
    Column("labels", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    Column("runbook", Text),
    Column("mode", Text),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
)

versions: Final = Table(
    "versions",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    _adapter(),
    Column("name", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("parent", Text),
    Column("uri", Text),
    Column("sha256", Text),
    Column("base_model", Text),
    Column("metadata", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    Column("registered_at", _TIME, nullable=False, server_default=_NOW),
    UniqueConstraint("adapter_id", "name"),
)

# --- records: daily partitions by ``at``; dropping partitions is the whole retention ------

contexts: Final = Table(
    "contexts",
    metadata,
    # what many records share, stored once: a record then carries four bytes for all of it
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("source", Text, nullable=False),
    Column("arm", Text, nullable=False, server_default=""),
    Column("replica", Text, nullable=False, server_default=""),
    Column("engine", Text, nullable=False, server_default=""),
    Column("stratum", Text, nullable=False),
    UniqueConstraint("source", "arm", "replica", "engine", "stratum"),
)

records: Final = Table(
    "records",
    metadata,
    # eight-byte columns first, then four, two and one: no padding between them
    Column("at", _TIME, nullable=False),
    Column("received_at", _TIME, nullable=False, server_default=_NOW),
    Column("sum_nll", Double),
    Column("adapter_id", Integer, nullable=False),
    Column("version_id", Integer),
    Column("context_id", Integer, nullable=False),
    Column("sample_prob", REAL, nullable=False),
    Column("prompt_tokens", Integer),
    Column("output_tokens", Integer),
    Column("latency_ms", REAL),
    Column("ttft_ms", REAL),
    Column("n_tokens", Integer),
    Column("mean_nll", REAL),
    Column("p95_nll", REAL),
    Column("near_certain", REAL),
    Column("entropy", REAL),
    Column("margin", REAL),
    Column("non_finite", Integer),
    Column("rep_4gram", REAL),
    Column("compression", REAL),
    Column("status", SmallInteger),
    Column("loop", Boolean),
    Column("empty", Boolean),
    Column("truncated", Boolean),
    Column("refusal", Boolean),
    Column("invalid", Boolean),
    Column("missing", Boolean),
    Column("id", _RECORD_ID, nullable=False),
    Column("finish_reason", Text),
    Column("subject", LargeBinary),
    # "this adapter's records of a window, in order of time" and idempotence, by one index
    PrimaryKeyConstraint("adapter_id", "at", "id"),
    postgresql_partition_by="RANGE (at)",
)

record_tokens: Final = Table(
    "record_tokens",
    metadata,
    Column("adapter_id", Integer, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("id", _RECORD_ID, nullable=False),
    # float16 arrays of at most 256 tokens; STORAGE EXTERNAL: they do not compress
    Column("nll", LargeBinary),
    Column("entropy", LargeBinary),
    Column("margin", LargeBinary),
    PrimaryKeyConstraint("adapter_id", "at", "id"),
    postgresql_partition_by="RANGE (at)",
)

record_embeddings: Final = Table(
    "record_embeddings",
    metadata,
    Column("adapter_id", Integer, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("id", _RECORD_ID, nullable=False),
    Column("encoder", Text, nullable=False),
    Column("embedding", LargeBinary, nullable=False),
    # the reference whose training index gave the similarity; both null before one exists
    Column("reference_id", BigInteger),
    Column("similarity", REAL),
    # float4 along that reference's axes; null where it has none
    Column("coordinates", LargeBinary),
    # keyed hashes of the prompt's terms, eight bytes each; null where it had no text
    Column("terms", LargeBinary),
    PrimaryKeyConstraint("adapter_id", "at", "id"),
    postgresql_partition_by="RANGE (at)",
)

answer_embeddings: Final = Table(
    "answer_embeddings",
    metadata,
    Column("adapter_id", Integer, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("id", _RECORD_ID, nullable=False),
    Column("encoder", Text, nullable=False),
    Column("embedding", LargeBinary, nullable=False),
    # the reference along whose axes it was placed, and float4 signals; null before one exists
    Column("reference_id", BigInteger),
    Column("placed", LargeBinary),
    PrimaryKeyConstraint("adapter_id", "at", "id"),
    postgresql_partition_by="RANGE (at)",
)

record_texts: Final = Table(
    "record_texts",
    metadata,
    Column("adapter_id", Integer, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("id", _RECORD_ID, nullable=False),
    Column("prompt", Text),
    Column("output", Text),
    PrimaryKeyConstraint("adapter_id", "at", "id"),
    postgresql_partition_by="RANGE (at)",
)

terms: Final = Table(
    "terms",
    metadata,
    _adapter(),
    Column("term", LargeBinary, nullable=False),  # as in record_embeddings.terms
    # the first five subjects that used it; nobody any more once the word is known
    Column("subjects", ARRAY(LargeBinary), nullable=False),
    Column("word", Text),  # null until five subjects used it
    Column("seen_at", _TIME, nullable=False),
    PrimaryKeyConstraint("adapter_id", "term"),
)

pending_texts: Final = Table(
    "pending_texts",
    metadata,
    _id(),
    Column("adapter_id", Integer, nullable=False),
    Column("version_id", Integer),
    Column("record_id", _RECORD_ID, nullable=False),
    Column("at", _TIME, nullable=False),
    Column("received_at", _TIME, nullable=False),
    Column("prompt", Text),
    Column("output", Text),
    # an embedding that came with the record still needs its similarity
    Column("encoder", Text),
    Column("embedding", LargeBinary),
    Column("failures", SmallInteger, nullable=False, server_default="0"),
    # a drain works on the row until then; no transaction stays open while a model runs
    Column("lease_until", _TIME),
    # "which texts of this adapter wait for the embedding probe, oldest first?"
    Index(None, "adapter_id", "at"),
)

feedback: Final = Table(
    "feedback",
    metadata,
    Column("adapter_id", Integer, nullable=False),
    # the record's own time: (adapter, at, id) names a record everywhere
    Column("at", _TIME, nullable=False),
    Column("record_id", _RECORD_ID, nullable=False),
    Column("name", Text, nullable=False),
    Column("value", Double, nullable=False),
    Column("received_at", _TIME, nullable=False, server_default=_NOW),
    PrimaryKeyConstraint("adapter_id", "at", "record_id", "name"),
    postgresql_partition_by="RANGE (at)",
)

feedback_arrivals: Final = Table(
    "feedback_arrivals",
    metadata,
    _id(),
    Column("adapter_id", Integer, nullable=False),
    Column("at", _TIME, nullable=False),  # of the record
    Column("record_id", _RECORD_ID, nullable=False),
    Column("name", Text, nullable=False),
    Column("value", Double, nullable=False),
    Column("received_at", _TIME, nullable=False, server_default=_NOW),
    # the rest is null until an evaluation of the record's version has read it
    Column("version_id", Integer),
    Column("context_id", Integer),
    Column("subject", LargeBinary),
    Column("window_end", _TIME),
    # "what has come for this adapter's records that no window has read?"
    Index(
        "ix_feedback_arrivals_unread",
        "adapter_id",
        "at",
        postgresql_where=sa.text("window_end IS NULL"),
    ),
    # "what did this version's windows read lately?"
    Index(
        "ix_feedback_arrivals_read",
        "version_id",
        "window_end",
        postgresql_where=sa.text("window_end IS NOT NULL"),
    ),
)

capture_counts: Final = Table(
    "capture_counts",
    metadata,
    _adapter(),
    Column("hour", _TIME, nullable=False),
    # accepted, duplicates, sampled_out, rejected; backfilled: of the first and the third those
    # that came long after they were made
    Column("outcome", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint("adapter_id", "hour", "outcome"),
)

sampling_rates: Final = Table(
    "sampling_rates",
    metadata,
    Column("adapter_id", Integer, ForeignKey("adapters.id"), primary_key=True),
    # fixed for a reference's life: a changing rate changes the mix it is compared with
    Column("reference_id", BigInteger),
    Column("rate", Double, nullable=False),
    Column("since", _TIME, nullable=False),
)

# --- references ---------------------------------------------------------------------------

references: Final = Table(
    "references",
    metadata,
    _id(),
    _version(),
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
    Column("lease_until", _TIME),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("failures", SmallInteger, nullable=False, server_default="0"),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
    Column("ready_at", _TIME),
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
    Column("at", _TIME),
    # waits here until the builder has used it, then the rows are deleted
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
    # what Detector.dump wrote; null with the reason where the baseline cannot carry it
    Column("body", LargeBinary),
    Column("absent_reason", Text),
    PrimaryKeyConstraint("reference_id", "detector"),
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

# --- perplexity ---------------------------------------------------------------------------

perplexity_runs: Final = Table(
    "perplexity_runs",
    metadata,
    _id(),
    # null: a run of a base model, which belongs to every version on it
    _version(nullable=True),
    Column("corpus", Text, nullable=False),  # name and sha256 prefix of the corpus
    Column("model", Text, nullable=False),
    Column("replica", Text),
    Column("engine", Text),
    Column("dtype", Text),
    Column("source", Text),  # prompt_logprobs | echo | sglang | local
    Column("weights", Text),  # hash of what was asked, where its files are readable
    Column("role", Text, nullable=False),  # registration | scheduled | suspicion | confirmation
    Column("state", Text, nullable=False),  # done | stopped
    Column("reason", Text),
    Column("at", _TIME, nullable=False, server_default=_NOW),
    # a registration that a declared change replaced: kept for the charts, compared with no more
    Column("retired_at", _TIME),
    Column("retired_because", Text),
    # "what did the last probes of this version say?"
    Index(None, "version_id", "corpus", "at"),
    # "what did the base model say?"
    Index(
        "ix_perplexity_runs_base",
        "model",
        "corpus",
        "at",
        postgresql_where=sa.text("version_id IS NULL"),
    ),
)

perplexity_documents: Final = Table(
    "perplexity_documents",
    metadata,
    Column(
        "run_id",
        BigInteger,
        ForeignKey("perplexity_runs.id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("document", Text, nullable=False),
    Column("sum_nll", Double, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("beside", Boolean, nullable=False, server_default=sa.false()),
    PrimaryKeyConstraint("run_id", "document"),
)

# --- what a model is ----------------------------------------------------------------------

identity_checks: Final = Table(
    "identity_checks",
    metadata,
    _id(),
    _version(),
    Column("at", _TIME, nullable=False, server_default=_NOW),
    Column("role", Text, nullable=False),  # as of perplexity_runs
    Column("state", Text, nullable=False),  # applied | not_applied | mixed_up | wrong_weights
    Column("base", Text),
    Column("sibling", Text),
    Column("replica", Text),
    Column("engine", Text),
    Column("kl", Double),  # mean nats per token, adapter against base
    Column("nll_difference", Double),  # mean nats per token, adapter minus base
    Column("details", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    Column("retired_at", _TIME),
    Index(None, "version_id", "at"),
)

weight_inspections: Final = Table(
    "weight_inspections",
    metadata,
    Column("version_id", Integer, ForeignKey("versions.id"), primary_key=True),
    Column("at", _TIME, nullable=False, server_default=_NOW),
    Column("state", Text, nullable=False),  # healthy | suspect | broken | unreadable
    Column("weights", Text),  # sha256 over the folder's files
    Column("reason", Text),
    Column("report", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
)

selftests: Final = Table(
    "selftests",
    metadata,
    Column("version_id", Integer, ForeignKey("versions.id"), primary_key=True),
    Column("requested_at", _TIME),
    Column("lease_until", _TIME),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("progress", Double, nullable=False, server_default="0"),
    Column("finished_at", _TIME),
    Column("reference_id", BigInteger, ForeignKey("references.id")),  # that the report is of
    Column("report", JSONB),
    Column("error", Text),
)

changes: Final = Table(
    "changes",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),  # engine | base | adapter | prompt | traffic | other
    Column("title", Text, nullable=False),
    Column("adapters", ARRAY(Text)),  # null: the whole fleet
    Column("begun_at", _TIME, nullable=False),
    Column("ended_at", _TIME),  # null: under way
    Column("author", Text, nullable=False),
    Column("details", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
    Index(None, "begun_at"),
)

# --- evaluation ---------------------------------------------------------------------------

tasks: Final = Table(
    "tasks",
    metadata,
    _id(),
    _version(),
    Column("kind", Text, nullable=False),  # EvaluationKind
    Column("next_due_at", _TIME, nullable=False),
    Column("next_window_start", _TIME),
    # "run now": the window then ends at now - lag instead of on the grid
    Column("requested_at", _TIME),
    Column("lease_until", _TIME),
    Column("lease_owner", Text),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("failures", SmallInteger, nullable=False, server_default="0"),
    Column("quarantined_at", _TIME),
    Column("stopped", Text),  # why the newest try of a probe had no answer
    UniqueConstraint("version_id", "kind"),
    # "what is due?" -- claimed with FOR UPDATE SKIP LOCKED each tick
    Index(None, "next_due_at"),
)

evaluations: Final = Table(
    "evaluations",
    metadata,
    _id(),
    _adapter(),
    _version(),
    Column("kind", Text, nullable=False),
    Column("window_start", _TIME, nullable=False),
    Column("window_end", _TIME, nullable=False),
    Column("state", Text, nullable=False),  # done | skipped | error
    Column("reference_id", BigInteger),
    Column("n_records", Integer, nullable=False, server_default="0"),
    Column("n_late", Integer, nullable=False, server_default="0"),
    Column("verdict", Text),
    Column("reason", Text),
    Column("epoch", BigInteger, nullable=False),
    Column("started_at", _TIME, nullable=False),
    Column("finished_at", _TIME, nullable=False, server_default=_NOW),
    # one result per (adapter version, kind, window), whoever computed it
    UniqueConstraint("version_id", "kind", "window_end"),
    Index(None, "adapter_id", "window_end"),
)

_SCORE_COLUMNS: Final = (
    ("window_start", _TIME, False),
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
    _version(),
    Column("detector", Text, nullable=False),
    Column("at", _TIME, nullable=False),  # end of the window
    *_score_columns(),
    PrimaryKeyConstraint("version_id", "detector", "at"),
    postgresql_partition_by="RANGE (at)",
)

latest_scores: Final = Table(
    "latest_scores",
    metadata,
    _version(),
    Column("detector", Text, nullable=False),
    Column("at", _TIME, nullable=False),
    *_score_columns(),
    PrimaryKeyConstraint("version_id", "detector"),
)

process_states: Final = Table(
    "process_states",
    metadata,
    _version(),
    Column("detector", Text, nullable=False),
    # a new generation starts its processes afresh
    Column("reference_id", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("updated_at", _TIME, nullable=False, server_default=_NOW),
    PrimaryKeyConstraint("version_id", "detector"),
)

increments: Final = Table(
    "increments",
    metadata,
    _version(),
    Column("detector", Text, nullable=False),
    Column("at", _TIME, nullable=False),  # end of the window
    Column("window_start", _TIME, nullable=False),
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
    Column("since", _TIME, nullable=False),
    # the memory of the policy: which detectors crossed, when, their winners and onsets
    Column("memory", JSONB, nullable=False),
    Column("drift_score", Double, nullable=False, server_default="0"),
    Column("updated_at", _TIME, nullable=False, server_default=_NOW),
    Index(None, "adapter_id"),
)

transitions: Final = Table(
    "transitions",
    metadata,
    _id(),
    _adapter(),
    _version(),
    Column("at", _TIME, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("blame", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("onset_start", _TIME),
    Column("onset_end", _TIME),
    Column("evaluation_id", BigInteger),
    Column("details", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    Index(None, "adapter_id", "at"),
)

# --- people -------------------------------------------------------------------------------

# of a version, or of all adapters on a base model
incidents: Final = Table(
    "incidents",
    metadata,
    _id(),
    _adapter(nullable=True),
    _version(nullable=True),
    Column("base_model", Text),  # empty: not registered; null: of a version
    Column("kind", Text, nullable=False),  # drift | no_data | error
    Column("number", Integer, nullable=False),
    Column("phase", Text, nullable=False),  # of alerts.incident
    Column("severity", Text, nullable=False),
    Column("blame", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("opened_at", _TIME, nullable=False),
    Column("closed_at", _TIME),
    Column("acknowledged_by", Text),
    Column("acknowledged_until", _TIME),
    Column("state", JSONB, nullable=False),
    # the fleet incident that a version's own was found to belong to
    Column("part_of", BigInteger, ForeignKey("incidents.id")),
    Column("marked", Text),  # false_page | accepted; null: nobody has judged it
    Column("marked_by", Text),
    Column("marked_at", _TIME),
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
    _version(),
    Column("joined_at", _TIME, nullable=False),
    Column("left_at", _TIME),
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
    Column("next_at", _TIME, nullable=False, server_default=_NOW),
    Column("lease_until", _TIME),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_error", Text),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
    Column("delivered_at", _TIME),
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

# messages that wait to be told: for what belongs together, or for a silence to end
held: Final = Table(
    "held",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False, unique=True),
    Column("channel", Text, nullable=False),
    Column("incident_id", BigInteger, ForeignKey("incidents.id"), nullable=False),
    Column("transition_id", BigInteger, ForeignKey("transitions.id")),
    Column("alert", JSONB, nullable=False),
    Column("at", _TIME, nullable=False, server_default=_NOW),
    Index(None, "incident_id"),
)

silences: Final = Table(
    "silences",
    metadata,
    _id(),
    Column("match", JSONB, nullable=False),  # as alerts.matching writes it
    Column("starts_at", _TIME, nullable=False),
    Column("ends_at", _TIME, nullable=False),
    Column("author", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
    # "which hold now, or will?"
    Index(None, "ends_at"),
)

# --- routing ------------------------------------------------------------------------------

routes: Final = Table(
    "routes",
    metadata,
    Column("adapter_id", Integer, ForeignKey("adapters.id"), primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("arms", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("since", _TIME, nullable=False),
    Column("valid_until", _TIME),
    Column("on_expiry", Text, nullable=False, server_default="stable"),
    Column("hold_until", _TIME),
)

route_history: Final = Table(
    "route_history",
    metadata,
    _adapter(),
    Column("generation", BigInteger, nullable=False),
    Column("arms", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("since", _TIME, nullable=False),
    Column("valid_until", _TIME),
    Column("on_expiry", Text, nullable=False),
    PrimaryKeyConstraint("adapter_id", "generation"),
)

route_failures: Final = Table(
    "route_failures",
    metadata,
    _adapter(),
    Column("generation", BigInteger, nullable=False),
    Column("why", Text, nullable=False),
    Column("since", _TIME, nullable=False),
    PrimaryKeyConstraint("adapter_id"),
)

actions: Final = Table(
    "actions",
    metadata,
    _id(),
    _adapter(),
    _version(),
    Column("kind", Text, nullable=False),  # fallback | trial | end_trial | return
    # recommended | awaiting_approval | executing | applied | verified | blocked | expired
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", JSONB, nullable=False),
    Column("expected_generation", BigInteger),
    Column("target", JSONB),
    Column("actor", Text, nullable=False),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
    Column("decided_at", _TIME),
    Index(None, "adapter_id", "created_at"),
)

canaries: Final = Table(
    "canaries",
    metadata,
    _id(),
    _adapter(),
    _version(),
    # the version in charge when it was made: what it is compared with
    Column("control_id", Integer, ForeignKey("versions.id"), nullable=False),
    # of monitor.routing.canary.states
    Column("plan", JSONB, nullable=False),
    Column("state", JSONB, nullable=False),
    Column("phase", Text, nullable=False),
    Column("latched", Boolean, nullable=False, server_default=sa.false()),
    # guardrails, what is left unchecked, and what earlier steps measured
    Column("guards", JSONB, nullable=False),
    Column("unchecked", ARRAY(Text), nullable=False, server_default=sa.text("'{}'::text[]")),
    Column("carried", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    Column("mode", Text),  # null: the adapter's
    Column("generation", BigInteger),  # of the route that it wrote last
    Column("measured_until", _TIME),
    Column("created_by", Text, nullable=False),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
    Column("updated_at", _TIME, nullable=False, server_default=_NOW),
    Column("ended_at", _TIME),
    Column("next_look_at", _TIME),  # null: it has ended, and people know
    Column("lease_until", _TIME),
    Column("lease_owner", Text),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    # "is there a canary of this adapter now?" -- one at a time
    Index(
        "ix_canaries_active",
        "adapter_id",
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
    # "which versions of this adapter may not come back by themselves?"
    Index("ix_canaries_latched", "adapter_id", postgresql_where=sa.text("latched")),
)

canary_looks: Final = Table(
    "canary_looks",
    metadata,
    _id(),
    Column("canary_id", BigInteger, ForeignKey("canaries.id"), nullable=False),
    Column("at", _TIME, nullable=False),
    Column("event", Text, nullable=False),  # checked | looked | read_back | ordered
    Column("phase", Text, nullable=False),  # after it
    Column("pause", Text),
    Column("step", Integer, nullable=False),
    Column("weight", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    # null where nothing was measured
    Column("outcome", Text),
    Column("trial_requests", Integer),
    Column("control_requests", Integer),
    Column("guards", JSONB),
    # of this look alone: requests and failures of both arms by hard guardrail
    Column("failures", JSONB),
    Index(None, "canary_id", "id"),
    # "how many canaries were rolled back lately?" -- asked at each look at any of them
    Index("ix_canary_looks_rollbacks", "at", postgresql_where=sa.text("phase = 'rolling_back'")),
)

flags: Final = Table(
    "flags",
    metadata,
    Column("name", Text, primary_key=True),  # kill_switch
    Column("value", JSONB, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", _TIME, nullable=False, server_default=_NOW),
)

# --- access -------------------------------------------------------------------------------

keys: Final = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
    Column("expires_at", _TIME),
    Column("revoked_at", _TIME),
    Column("last_used_at", _TIME),
)

audit: Final = Table(
    "audit",
    metadata,
    _id(),
    Column("at", _TIME, nullable=False, server_default=_NOW),
    Column("actor", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    # a trigger made by the migration refuses UPDATE and DELETE
    # what was done about one incident
    Index("ix_audit_subject", "subject"),
)

retrainings: Final = Table(
    "retrainings",
    metadata,
    _id(),
    _adapter(),
    _version(),
    Column("cause", Text, nullable=False),  # input | max_age
    Column("reason", Text, nullable=False),
    Column("window_start", _TIME, nullable=False),
    Column("window_end", _TIME, nullable=False),
    Column("below", Double),
    Column("replay_share", Double, nullable=False),
    Column("evidence", JSONB, nullable=False),
    Column("created_at", _TIME, nullable=False, server_default=_NOW),
    # "when was this adapter's retraining asked for last?"
    Index(None, "adapter_id", "created_at"),
)

PARTITIONED: Final = (
    "records",
    "record_tokens",
    "record_embeddings",
    "answer_embeddings",
    "record_texts",
    "feedback",
    "scores",
    "increments",
)
"""Tables cut into daily partitions by ``at`` (UTC days)."""
