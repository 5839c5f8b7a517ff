"""Tables of what probes, inspections and self-tests found out about versions."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from monitor.store.tables.columns import NOW, TIME, metadata, own_id, version_id

perplexity_runs: Final = sa.Table(
    "perplexity_runs",
    metadata,
    own_id(),
    # null for a run of a base model, which belongs to every version on it
    version_id(nullable=True),
    sa.Column("corpus", sa.Text, nullable=False),  # name and sha256 prefix of the corpus
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("replica", sa.Text),
    sa.Column("engine", sa.Text),
    sa.Column("dtype", sa.Text),
    sa.Column("source", sa.Text),  # prompt_logprobs | echo | sglang | local
    sa.Column(
        "weights", sa.Text
    ),  # hash of the weights that were asked, if their files are readable
    sa.Column(
        "role", sa.Text, nullable=False
    ),  # registration | scheduled | suspicion | confirmation
    sa.Column("state", sa.Text, nullable=False),  # done | stopped
    sa.Column("reason", sa.Text),
    sa.Column("seconds", sa.Double),  # of the engine's time; null if no engine was asked
    sa.Column("made_by", sa.Text),  # the process; only it resumes its unfinished runs
    sa.Column("at", TIME, nullable=False, server_default=NOW),
    # a registration that a declared change replaced: kept for charts, no longer compared with
    sa.Column("retired_at", TIME),
    sa.Column("retired_because", sa.Text),
    # "what did the last probes of this version say?"
    sa.Index(None, "version_id", "corpus", "at"),
    # "what did the base model say?"
    sa.Index(
        "ix_perplexity_runs_base",
        "model",
        "corpus",
        "at",
        postgresql_where=sa.text("version_id IS NULL"),
    ),
)

perplexity_documents: Final = sa.Table(
    "perplexity_documents",
    metadata,
    sa.Column(
        "run_id",
        sa.BigInteger,
        sa.ForeignKey("perplexity_runs.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("sum_nll", sa.Double, nullable=False),
    sa.Column("tokens", sa.Integer, nullable=False),
    sa.Column("bytes", sa.Integer, nullable=False),
    sa.Column("beside", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("read_at", TIME),  # null in rows of releases that did not store it
    sa.PrimaryKeyConstraint("run_id", "document"),
)

identity_checks: Final = sa.Table(
    "identity_checks",
    metadata,
    own_id(),
    version_id(),
    sa.Column("at", TIME, nullable=False, server_default=NOW),
    sa.Column("role", sa.Text, nullable=False),  # as in perplexity_runs
    sa.Column("state", sa.Text, nullable=False),  # applied | not_applied | mixed_up | wrong_weights
    sa.Column("base", sa.Text),
    sa.Column("sibling", sa.Text),
    sa.Column("replica", sa.Text),
    sa.Column("engine", sa.Text),
    sa.Column("kl", sa.Double),  # mean nats per token, adapter against base
    sa.Column("nll_difference", sa.Double),  # mean nats per token, adapter minus base
    sa.Column("details", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Column(
        "reading", sa.LargeBinary
    ),  # of a registration: what the version expects at each token
    sa.Column("retired_at", TIME),
    sa.Index(None, "version_id", "at"),
)

weight_inspections: Final = sa.Table(
    "weight_inspections",
    metadata,
    sa.Column("version_id", sa.Integer, sa.ForeignKey("versions.id"), primary_key=True),
    sa.Column("at", TIME, nullable=False, server_default=NOW),
    sa.Column("state", sa.Text, nullable=False),  # healthy | suspect | broken | unreadable
    sa.Column("weights", sa.Text),  # identity: sha256 over weights and config
    sa.Column("reason", sa.Text),
    sa.Column("report", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
)

admissions: Final = sa.Table(
    "admissions",
    metadata,
    own_id(),
    version_id(),
    sa.Column("requested_by", sa.Text, nullable=False),
    sa.Column("requested_at", TIME, nullable=False, server_default=NOW),
    sa.Column("request", JSONB),  # what is checked beside the weights; null once it is finished
    sa.Column("lease_until", TIME),
    sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("finished_at", TIME),
    sa.Column(
        "verdict", sa.Text
    ),  # pass | warn | refuse; null: not finished, or it could not be checked
    sa.Column("report", JSONB),
    sa.Column("error", sa.Text),
    # "was this version admitted?"
    sa.Index(None, "version_id", "id"),
    # "which one is next?"
    sa.Index("ix_admissions_open", "id", postgresql_where=sa.text("finished_at IS NULL")),
)

selftests: Final = sa.Table(
    "selftests",
    metadata,
    sa.Column("version_id", sa.Integer, sa.ForeignKey("versions.id"), primary_key=True),
    sa.Column("requested_at", TIME),
    sa.Column("lease_until", TIME),
    sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("progress", sa.Double, nullable=False, server_default="0"),
    sa.Column("finished_at", TIME),
    sa.Column(
        "reference_id", sa.BigInteger, sa.ForeignKey("references.id")
    ),  # that the report is of
    sa.Column("report", JSONB),
    sa.Column("error", sa.Text),
)
