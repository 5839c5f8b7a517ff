"""Tables of probes' findings about the models, and of declared changes."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from monitor.store.tables.columns import NOW, TIME, metadata, own_id, version_id

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
