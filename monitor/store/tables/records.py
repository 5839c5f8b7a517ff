"""Tables of captured records: daily partitions by ``at``, dropped whole by retention."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, REAL

from monitor.store.tables.columns import NOW, RECORD_ID, TIME, adapter_id, metadata, own_id

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

record_tokens: Final = Table(
    "record_tokens",
    metadata,
    Column("adapter_id", Integer, nullable=False),
    Column("at", TIME, nullable=False),
    Column("id", RECORD_ID, nullable=False),
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
    Column("at", TIME, nullable=False),
    Column("id", RECORD_ID, nullable=False),
    Column("encoder", Text, nullable=False),
    Column("embedding", LargeBinary, nullable=False),
    # the reference whose training index gave the similarity; both null before one exists
    Column("reference_id", BigInteger),
    Column("similarity", REAL),
    # float4 along that reference's axes; null if it has none
    Column("coordinates", LargeBinary),
    # keyed hashes of the prompt's terms, eight bytes each; null if it had no text
    Column("terms", LargeBinary),
    PrimaryKeyConstraint("adapter_id", "at", "id"),
    postgresql_partition_by="RANGE (at)",
)

answer_embeddings: Final = Table(
    "answer_embeddings",
    metadata,
    Column("adapter_id", Integer, nullable=False),
    Column("at", TIME, nullable=False),
    Column("id", RECORD_ID, nullable=False),
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
    Column("at", TIME, nullable=False),
    Column("id", RECORD_ID, nullable=False),
    Column("prompt", Text),
    Column("output", Text),
    PrimaryKeyConstraint("adapter_id", "at", "id"),
    postgresql_partition_by="RANGE (at)",
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
