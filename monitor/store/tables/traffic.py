"""Tables of traffic: routes, actions, canaries and retraining requests."""

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
    PrimaryKeyConstraint,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from monitor.store.tables.columns import NOW, TIME, adapter_id, metadata, own_id, version_id

routes: Final = Table(
    "routes",
    metadata,
    Column("adapter_id", Integer, ForeignKey("adapters.id"), primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("arms", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("since", TIME, nullable=False),
    Column("valid_until", TIME),
    Column("on_expiry", Text, nullable=False, server_default="stable"),
    Column("hold_until", TIME),
)

route_history: Final = Table(
    "route_history",
    metadata,
    adapter_id(),
    Column("generation", BigInteger, nullable=False),
    Column("arms", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("since", TIME, nullable=False),
    Column("valid_until", TIME),
    Column("on_expiry", Text, nullable=False),
    PrimaryKeyConstraint("adapter_id", "generation"),
)

route_failures: Final = Table(
    "route_failures",
    metadata,
    adapter_id(),
    Column("generation", BigInteger, nullable=False),
    Column("why", Text, nullable=False),
    Column("since", TIME, nullable=False),
    PrimaryKeyConstraint("adapter_id"),
)

# each row names its server and transaction, so that any copy of the table can be told from the
# original
route_epochs: Final = Table(
    "route_epochs",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("server", Text, nullable=False),
    Column("written_by", Text, nullable=False),
    Column("opened_at", TIME, nullable=False, server_default=NOW),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
)

# routes that routers report to hold in place of the one in force
route_refusals: Final = Table(
    "route_refusals",
    metadata,
    adapter_id(),
    Column("router", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("since", TIME, nullable=False, server_default=NOW),
    Column("said_at", TIME, nullable=False, server_default=NOW),
    PrimaryKeyConstraint("adapter_id", "router"),
)

actions: Final = Table(
    "actions",
    metadata,
    own_id(),
    adapter_id(),
    version_id(),
    Column("kind", Text, nullable=False),  # fallback | trial | end_trial | return
    # recommended | awaiting_approval | executing | applied | verified | blocked | expired
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", JSONB, nullable=False),
    Column("expected_generation", BigInteger),
    Column("target", JSONB),
    Column("actor", Text, nullable=False),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    Column("decided_at", TIME),
    Index(None, "adapter_id", "created_at"),
    # "which moves was the router not seen to do?" -- asked every second
    Index(
        "ix_actions_unread",
        "id",
        postgresql_where=sa.text("state IN ('executing', 'applied', 'verify_failed')"),
    ),
)

# an evaluation leaves one for the breaker, in the transaction that stores its verdict
pending_decisions: Final = Table(
    "pending_decisions",
    metadata,
    Column("version_id", Integer, ForeignKey("versions.id"), primary_key=True),
    adapter_id(),
    Column("evidence", JSONB),  # null: whether traffic returns
    Column("asked_at", TIME, nullable=False),
    Column("waits_since", TIME, nullable=False),  # whoever has waited longest is next
    Column("lease_until", TIME),
    Column("lease_owner", Text),
)

canaries: Final = Table(
    "canaries",
    metadata,
    own_id(),
    adapter_id(),
    version_id(),
    # the version in charge when it was made: the control
    Column("control_id", Integer, ForeignKey("versions.id"), nullable=False),
    # of monitor.traffic.trial.states
    Column("plan", JSONB, nullable=False),
    Column("state", JSONB, nullable=False),
    Column("phase", Text, nullable=False),
    Column("latched", Boolean, nullable=False, server_default=sa.false()),
    # guardrails, unchecked ones, and what earlier steps measured
    Column("guards", JSONB, nullable=False),
    Column("unchecked", ARRAY(Text), nullable=False, server_default=sa.text("'{}'::text[]")),
    Column("carried", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    Column("mode", Text),  # null: the adapter's
    Column("generation", BigInteger),  # of the route that it wrote last
    Column("measured_until", TIME),
    Column("created_by", Text, nullable=False),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    Column("updated_at", TIME, nullable=False, server_default=NOW),
    Column("ended_at", TIME),
    Column("next_look_at", TIME),  # null: it has ended, and people know
    Column("lease_until", TIME),
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
    own_id(),
    Column("canary_id", BigInteger, ForeignKey("canaries.id"), nullable=False),
    Column("at", TIME, nullable=False),
    Column("event", Text, nullable=False),  # checked | looked | read_back | ordered
    Column("phase", Text, nullable=False),  # after it
    Column("pause", Text),
    Column("step", Integer, nullable=False),
    Column("weight", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    # null if nothing was measured
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
    Column("name", Text, primary_key=True),  # kill_switch | clock | admission_required
    Column("value", JSONB, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", TIME, nullable=False, server_default=NOW),
)

retrainings: Final = Table(
    "retrainings",
    metadata,
    own_id(),
    adapter_id(),
    version_id(),
    Column("cause", Text, nullable=False),  # input | max_age | person
    Column("reason", Text, nullable=False),
    Column("window_start", TIME, nullable=False),
    Column("window_end", TIME, nullable=False),
    Column("below", Double),
    Column("replay_share", Double, nullable=False),
    Column("evidence", JSONB, nullable=False),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    # "when was this adapter's retraining asked for last?"
    Index(None, "adapter_id", "created_at"),
)

trainings: Final = Table(
    "trainings",
    metadata,
    Column(
        "retraining_id",
        BigInteger,
        ForeignKey("retrainings.id"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("worker", Text, nullable=False),
    # grows with each worker that takes it, so that one that lost it writes nothing more
    Column("epoch", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # running | done | refused | failed | cancelled
    Column("step", Text, nullable=False),
    Column("progress", Double, nullable=False, server_default="0"),  # of the step, in [0, 1]
    Column("note", Text, nullable=False, server_default=""),
    Column("made", Text),  # name of the version that it made
    Column("lease_until", TIME),
    Column("began_at", TIME, nullable=False, server_default=NOW),
    Column("finished_at", TIME),
)
