"""Tables of what is known of adapters: versions, records, references, and what probes found."""

from __future__ import annotations

from typing import Any, Final

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
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, REAL

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TIME: Final = DateTime(timezone=True)
NOW: Final = sa.text("now()")
# compared byte by byte: cheaper than a language's order, and the same on every server
RECORD_ID: Final = Text(collation="C")


def own_id() -> Column[int]:
    """Make the key of a table with its own numbers."""
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def adapter_id(*, nullable: bool = False) -> Column[int]:
    """Make the column of the adapter that a row belongs to."""
    return Column("adapter_id", Integer, ForeignKey("adapters.id"), nullable=nullable)


def version_id(*, nullable: bool = False) -> Column[int]:
    """Make the column of the version that a row belongs to."""
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
    Column("created_at", TIME, nullable=False, server_default=NOW),
)

versions: Final = Table(
    "versions",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    adapter_id(),
    Column("name", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("parent", Text),
    Column("uri", Text),
    Column("sha256", Text),
    Column("base_model", Text),
    Column("metadata", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    Column("registered_at", TIME, nullable=False, server_default=NOW),
    UniqueConstraint("adapter_id", "name"),
)

contexts: Final = Table(
    "contexts",
    metadata,
    # attributes that many records share, stored once: a record needs only four bytes for all
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
    Column("at", TIME, nullable=False),
    Column("received_at", TIME, nullable=False, server_default=NOW),
    Column("sum_nll", Double),
    Column("adapter_id", Integer, nullable=False),
    Column("version_id", Integer),
    Column("context_id", Integer, nullable=False),
    Column("sample_prob", REAL, nullable=False),
    Column("prompt_tokens", Integer),
    # 24 bits of a keyed hash of how the request begins
    Column("prompt_prefix", Integer),
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
    # its index in detectors.answer_format.FORMATS
    Column("answer_format", SmallInteger),
    Column("loop", Boolean),
    Column("empty", Boolean),
    Column("truncated", Boolean),
    Column("refusal", Boolean),
    Column("invalid", Boolean),
    Column("missing", Boolean),
    Column("training_text", Boolean),
    Column("id", RECORD_ID, nullable=False),
    Column("finish_reason", Text),
    Column("subject", LargeBinary),
    # "this adapter's records of a window, in order of time" and idempotence, by one index
    PrimaryKeyConstraint("adapter_id", "at", "id"),
    postgresql_partition_by="RANGE (at)",
)


def _beside_records(name: str, *columns: Column[Any]) -> Table:
    """Make a table with at most one row for each record."""
    return Table(
        name,
        metadata,
        Column("adapter_id", Integer, nullable=False),
        Column("at", TIME, nullable=False),
        Column("id", RECORD_ID, nullable=False),
        *columns,
        PrimaryKeyConstraint("adapter_id", "at", "id"),
        postgresql_partition_by="RANGE (at)",
    )


record_tokens: Final = _beside_records(
    "record_tokens",
    # float16 arrays of at most 256 tokens; STORAGE EXTERNAL: they do not compress
    Column("nll", LargeBinary),
    Column("entropy", LargeBinary),
    Column("margin", LargeBinary),
)

record_embeddings: Final = _beside_records(
    "record_embeddings",
    Column("encoder", Text, nullable=False),
    Column("embedding", LargeBinary, nullable=False),
    # the reference whose training index gave the similarity; both null before one exists
    Column("reference_id", BigInteger),
    Column("similarity", REAL),
    # float4 along that reference's axes; null if it has none
    Column("coordinates", LargeBinary),
    # keyed hashes of the prompt's terms, eight bytes each; null if it had no text
    Column("terms", LargeBinary),
)

answer_embeddings: Final = _beside_records(
    "answer_embeddings",
    Column("encoder", Text, nullable=False),
    Column("embedding", LargeBinary, nullable=False),
    # the reference along whose axes it was placed, and float4 signals; null before one exists
    Column("reference_id", BigInteger),
    Column("placed", LargeBinary),
)

record_texts: Final = _beside_records(
    "record_texts",
    Column("prompt", Text),
    Column("output", Text),
)

terms: Final = Table(
    "terms",
    metadata,
    adapter_id(),
    Column("term", LargeBinary, nullable=False),  # as in record_embeddings.terms
    # the first five subjects that used it; emptied once the word is stored
    Column("subjects", ARRAY(LargeBinary), nullable=False),
    Column("word", Text),  # null until five subjects used it
    Column("seen_at", TIME, nullable=False),
    PrimaryKeyConstraint("adapter_id", "term"),
)

pending_texts: Final = Table(
    "pending_texts",
    metadata,
    own_id(),
    Column("adapter_id", Integer, nullable=False),
    Column("version_id", Integer),
    Column("record_id", RECORD_ID, nullable=False),
    Column("at", TIME, nullable=False),
    Column("received_at", TIME, nullable=False),
    Column("prompt", Text),
    Column("output", Text),
    # an embedding that came with the record still needs its similarity
    Column("encoder", Text),
    Column("embedding", LargeBinary),
    Column("failures", SmallInteger, nullable=False, server_default="0"),
    # a drain works on the row until then; no transaction stays open while a model runs
    Column("lease_until", TIME),
    # "which texts of this adapter wait for the embedding probe, oldest first?"
    Index(None, "adapter_id", "at"),
)

feedback: Final = Table(
    "feedback",
    metadata,
    Column("adapter_id", Integer, nullable=False),
    # the record's own time: (adapter, at, id) names a record everywhere
    Column("at", TIME, nullable=False),
    Column("record_id", RECORD_ID, nullable=False),
    Column("name", Text, nullable=False),
    Column("value", Double, nullable=False),
    Column("received_at", TIME, nullable=False, server_default=NOW),
    PrimaryKeyConstraint("adapter_id", "at", "record_id", "name"),
    postgresql_partition_by="RANGE (at)",
)

feedback_arrivals: Final = Table(
    "feedback_arrivals",
    metadata,
    own_id(),
    Column("adapter_id", Integer, nullable=False),
    Column("at", TIME, nullable=False),  # of the record
    Column("record_id", RECORD_ID, nullable=False),
    Column("name", Text, nullable=False),
    Column("value", Double, nullable=False),
    Column("received_at", TIME, nullable=False, server_default=NOW),
    # the rest is null until an evaluation of the record's version has read it
    Column("version_id", Integer),
    Column("context_id", Integer),
    Column("subject", LargeBinary),
    Column("window_end", TIME),
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
    adapter_id(),
    Column("hour", TIME, nullable=False),
    # accepted, duplicates, sampled_out, rejected; backfilled counts, of accepted and sampled_out,
    # those sent long after they were made
    Column("outcome", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint("adapter_id", "hour", "outcome"),
)

sampling_rates: Final = Table(
    "sampling_rates",
    metadata,
    # only earlier releases use it, which may still run beside this one
    Column("adapter_id", Integer, ForeignKey("adapters.id"), primary_key=True),
    Column("reference_id", BigInteger),
    Column("rate", Double, nullable=False),
    Column("since", TIME, nullable=False),
)

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

perplexity_runs: Final = Table(
    "perplexity_runs",
    metadata,
    own_id(),
    # null for a run of a base model, which belongs to every version on it
    version_id(nullable=True),
    Column("corpus", Text, nullable=False),  # name and sha256 prefix of the corpus
    Column("model", Text, nullable=False),
    Column("replica", Text),
    Column("engine", Text),
    Column("dtype", Text),
    Column("source", Text),  # prompt_logprobs | echo | sglang | local
    Column("weights", Text),  # hash of the weights that were asked, if their files are readable
    Column("role", Text, nullable=False),  # registration | scheduled | suspicion | confirmation
    Column("state", Text, nullable=False),  # done | stopped
    Column("reason", Text),
    Column("seconds", Double),  # of the engine's time; null if no engine was asked
    Column("made_by", Text),  # the process; only it resumes its unfinished runs
    Column("at", TIME, nullable=False, server_default=NOW),
    # a registration that a declared change replaced: kept for charts, no longer compared with
    Column("retired_at", TIME),
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
        "run_id", BigInteger, ForeignKey("perplexity_runs.id", ondelete="CASCADE"), nullable=False
    ),
    Column("document", Text, nullable=False),
    Column("sum_nll", Double, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("beside", Boolean, nullable=False, server_default=sa.false()),
    Column("read_at", TIME),  # null in rows of releases that did not store it
    PrimaryKeyConstraint("run_id", "document"),
)

identity_checks: Final = Table(
    "identity_checks",
    metadata,
    own_id(),
    version_id(),
    Column("at", TIME, nullable=False, server_default=NOW),
    Column("role", Text, nullable=False),  # as in perplexity_runs
    Column("state", Text, nullable=False),  # applied | not_applied | mixed_up | wrong_weights
    Column("base", Text),
    Column("sibling", Text),
    Column("replica", Text),
    Column("engine", Text),
    Column("kl", Double),  # mean nats per token, adapter against base
    Column("nll_difference", Double),  # mean nats per token, adapter minus base
    Column("details", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    Column("reading", LargeBinary),  # of a registration: what the version expects at each token
    Column("retired_at", TIME),
    Index(None, "version_id", "at"),
)

weight_inspections: Final = Table(
    "weight_inspections",
    metadata,
    Column("version_id", Integer, ForeignKey("versions.id"), primary_key=True),
    Column("at", TIME, nullable=False, server_default=NOW),
    Column("state", Text, nullable=False),  # healthy | suspect | broken | unreadable
    Column("weights", Text),  # identity: sha256 over weights and config
    Column("reason", Text),
    Column("report", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
)

admissions: Final = Table(
    "admissions",
    metadata,
    own_id(),
    version_id(),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", TIME, nullable=False, server_default=NOW),
    Column("request", JSONB),  # what is checked beside the weights; null once it is finished
    Column("lease_until", TIME),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("finished_at", TIME),
    Column("verdict", Text),  # pass | warn | refuse; null: not finished, or it could not be checked
    Column("report", JSONB),
    Column("error", Text),
    # "was this version admitted?"
    Index(None, "version_id", "id"),
    # "which one is next?"
    Index("ix_admissions_open", "id", postgresql_where=sa.text("finished_at IS NULL")),
)

selftests: Final = Table(
    "selftests",
    metadata,
    Column("version_id", Integer, ForeignKey("versions.id"), primary_key=True),
    Column("requested_at", TIME),
    Column("lease_until", TIME),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("progress", Double, nullable=False, server_default="0"),
    Column("finished_at", TIME),
    Column("reference_id", BigInteger, ForeignKey("references.id")),  # that the report is of
    Column("report", JSONB),
    Column("error", Text),
)

reports: Final = Table(
    "reports",
    metadata,
    # Evidently's reports: requested, drawn by a worker, deleted after a day
    own_id(),
    version_id(),
    Column("start_at", TIME, nullable=False),
    Column("end_at", TIME, nullable=False),
    Column("requested_at", TIME, nullable=False, server_default=NOW),
    Column("lease_until", TIME),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("progress", Double, nullable=False, server_default="0"),
    Column("finished_at", TIME),
    Column("error", Text),
    Column("facts", JSONB),
    Column("page", LargeBinary),  # HTML, gzip
    Column("snapshot", LargeBinary),  # Evidently's JSON, gzip
    UniqueConstraint("version_id", "start_at", "end_at"),
)

changes: Final = Table(
    "changes",
    metadata,
    own_id(),
    Column("kind", Text, nullable=False),  # engine | base | adapter | prompt | traffic | other
    Column("title", Text, nullable=False),
    Column("adapters", ARRAY(Text)),  # null: the whole fleet
    Column("begun_at", TIME, nullable=False),
    Column("ended_at", TIME),  # null: under way
    Column("author", Text, nullable=False),
    Column("details", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    Index(None, "begun_at"),
)
