"""Tables of records, and what stands beside each: tokens, embeddings, texts, feedback."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, REAL

from monitor.store.tables.columns import NOW, RECORD_ID, TIME, adapter_id, metadata, own_id

contexts: Final = sa.Table(
    "contexts",
    metadata,
    # attributes that many records share, stored once: a record needs only four bytes for all
    sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("arm", sa.Text, nullable=False, server_default=""),
    sa.Column("replica", sa.Text, nullable=False, server_default=""),
    sa.Column("engine", sa.Text, nullable=False, server_default=""),
    sa.Column("stratum", sa.Text, nullable=False),
    sa.UniqueConstraint("source", "arm", "replica", "engine", "stratum"),
)

records: Final = sa.Table(
    "records",
    metadata,
    # eight-byte columns first, then four, two and one: no padding between them
    sa.Column("at", TIME, nullable=False),
    sa.Column("received_at", TIME, nullable=False, server_default=NOW),
    sa.Column("sum_nll", sa.Double),
    sa.Column("adapter_id", sa.Integer, nullable=False),
    sa.Column("version_id", sa.Integer),
    sa.Column("context_id", sa.Integer, nullable=False),
    sa.Column("sample_prob", REAL, nullable=False),
    sa.Column("prompt_tokens", sa.Integer),
    # 24 bits of a keyed hash of how the request begins
    sa.Column("prompt_prefix", sa.Integer),
    sa.Column("output_tokens", sa.Integer),
    sa.Column("latency_ms", REAL),
    sa.Column("ttft_ms", REAL),
    sa.Column("n_tokens", sa.Integer),
    sa.Column("mean_nll", REAL),
    sa.Column("p95_nll", REAL),
    sa.Column("near_certain", REAL),
    sa.Column("entropy", REAL),
    sa.Column("margin", REAL),
    sa.Column("non_finite", sa.Integer),
    sa.Column("rep_4gram", REAL),
    sa.Column("compression", REAL),
    sa.Column("status", sa.SmallInteger),
    # its index in detectors.answer_format.FORMATS
    sa.Column("answer_format", sa.SmallInteger),
    sa.Column("loop", sa.Boolean),
    sa.Column("empty", sa.Boolean),
    sa.Column("truncated", sa.Boolean),
    sa.Column("refusal", sa.Boolean),
    sa.Column("invalid", sa.Boolean),
    sa.Column("missing", sa.Boolean),
    sa.Column("training_text", sa.Boolean),
    sa.Column("id", RECORD_ID, nullable=False),
    sa.Column("finish_reason", sa.Text),
    sa.Column("subject", sa.LargeBinary),
    # "this adapter's records of a window, in order of time" and idempotence, by one index
    sa.PrimaryKeyConstraint("adapter_id", "at", "id"),
    postgresql_partition_by="RANGE (at)",
)


def _beside_records(name: str, *columns: sa.Column[Any]) -> sa.Table:
    """Make a table with at most one row for each record."""
    return sa.Table(
        name,
        metadata,
        sa.Column("adapter_id", sa.Integer, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("id", RECORD_ID, nullable=False),
        *columns,
        sa.PrimaryKeyConstraint("adapter_id", "at", "id"),
        postgresql_partition_by="RANGE (at)",
    )


record_tokens: Final = _beside_records(
    "record_tokens",
    # float16 arrays of at most 256 tokens; STORAGE EXTERNAL: they do not compress
    sa.Column("nll", sa.LargeBinary),
    sa.Column("entropy", sa.LargeBinary),
    sa.Column("margin", sa.LargeBinary),
)

record_embeddings: Final = _beside_records(
    "record_embeddings",
    sa.Column("encoder", sa.Text, nullable=False),
    sa.Column("embedding", sa.LargeBinary, nullable=False),
    # the reference whose training index gave the similarity; both null before one exists
    sa.Column("reference_id", sa.BigInteger),
    sa.Column("similarity", REAL),
    # float4 along that reference's axes; null if it has none
    sa.Column("coordinates", sa.LargeBinary),
    # keyed hashes of the prompt's terms, eight bytes each; null if it had no text
    sa.Column("terms", sa.LargeBinary),
)

answer_embeddings: Final = _beside_records(
    "answer_embeddings",
    sa.Column("encoder", sa.Text, nullable=False),
    sa.Column("embedding", sa.LargeBinary, nullable=False),
    # the reference along whose axes it was placed, and float4 signals; null before one exists
    sa.Column("reference_id", sa.BigInteger),
    sa.Column("placed", sa.LargeBinary),
)

record_texts: Final = _beside_records(
    "record_texts",
    sa.Column("prompt", sa.Text),
    sa.Column("output", sa.Text),
)

terms: Final = sa.Table(
    "terms",
    metadata,
    adapter_id(),
    sa.Column("term", sa.LargeBinary, nullable=False),  # as in record_embeddings.terms
    # the first five subjects that used it; emptied once the word is stored
    sa.Column("subjects", ARRAY(sa.LargeBinary), nullable=False),
    sa.Column("word", sa.Text),  # null until five subjects used it
    sa.Column("seen_at", TIME, nullable=False),
    sa.PrimaryKeyConstraint("adapter_id", "term"),
)

pending_texts: Final = sa.Table(
    "pending_texts",
    metadata,
    own_id(),
    sa.Column("adapter_id", sa.Integer, nullable=False),
    sa.Column("version_id", sa.Integer),
    sa.Column("record_id", RECORD_ID, nullable=False),
    sa.Column("at", TIME, nullable=False),
    sa.Column("received_at", TIME, nullable=False),
    sa.Column("prompt", sa.Text),
    sa.Column("output", sa.Text),
    # an embedding that came with the record still needs its similarity
    sa.Column("encoder", sa.Text),
    sa.Column("embedding", sa.LargeBinary),
    sa.Column("failures", sa.SmallInteger, nullable=False, server_default="0"),
    # a drain works on the row until then; no transaction stays open while a model runs
    sa.Column("lease_until", TIME),
    # "which texts of this adapter wait for the embedding probe, oldest first?"
    sa.Index(None, "adapter_id", "at"),
)

feedback: Final = sa.Table(
    "feedback",
    metadata,
    sa.Column("adapter_id", sa.Integer, nullable=False),
    # the record's own time: (adapter, at, id) names a record everywhere
    sa.Column("at", TIME, nullable=False),
    sa.Column("record_id", RECORD_ID, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("received_at", TIME, nullable=False, server_default=NOW),
    sa.PrimaryKeyConstraint("adapter_id", "at", "record_id", "name"),
    postgresql_partition_by="RANGE (at)",
)

feedback_arrivals: Final = sa.Table(
    "feedback_arrivals",
    metadata,
    own_id(),
    sa.Column("adapter_id", sa.Integer, nullable=False),
    sa.Column("at", TIME, nullable=False),  # of the record
    sa.Column("record_id", RECORD_ID, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("received_at", TIME, nullable=False, server_default=NOW),
    # the rest is null until an evaluation of the record's version has read it
    sa.Column("version_id", sa.Integer),
    sa.Column("context_id", sa.Integer),
    sa.Column("subject", sa.LargeBinary),
    sa.Column("window_end", TIME),
    # "what has come for this adapter's records that no window has read?"
    sa.Index(
        "ix_feedback_arrivals_unread",
        "adapter_id",
        "at",
        postgresql_where=sa.text("window_end IS NULL"),
    ),
    # "what did this version's windows read lately?"
    sa.Index(
        "ix_feedback_arrivals_read",
        "version_id",
        "window_end",
        postgresql_where=sa.text("window_end IS NOT NULL"),
    ),
)

capture_counts: Final = sa.Table(
    "capture_counts",
    metadata,
    adapter_id(),
    sa.Column("hour", TIME, nullable=False),
    # accepted, duplicates, sampled_out, rejected; backfilled counts, of accepted and sampled_out,
    # those sent long after they were made
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("adapter_id", "hour", "outcome"),
)

sampling_rates: Final = sa.Table(
    "sampling_rates",
    metadata,
    # only earlier releases use it, which may still run beside this one
    sa.Column("adapter_id", sa.Integer, sa.ForeignKey("adapters.id"), primary_key=True),
    sa.Column("reference_id", sa.BigInteger),
    sa.Column("rate", sa.Double, nullable=False),
    sa.Column("since", TIME, nullable=False),
)
