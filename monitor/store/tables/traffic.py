"""Tables of traffic: routes, the breaker's actions, canaries, flags."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from monitor.store.tables.columns import NOW, TIME, adapter_id, metadata, own_id, version_id

routes: Final = sa.Table(
    "routes",
    metadata,
    sa.Column("adapter_id", sa.Integer, sa.ForeignKey("adapters.id"), primary_key=True),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("arms", JSONB, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("since", TIME, nullable=False),
    sa.Column("valid_until", TIME),
    sa.Column("on_expiry", sa.Text, nullable=False, server_default="stable"),
    sa.Column("hold_until", TIME),
)

route_history: Final = sa.Table(
    "route_history",
    metadata,
    adapter_id(),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("arms", JSONB, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("since", TIME, nullable=False),
    sa.Column("valid_until", TIME),
    sa.Column("on_expiry", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("adapter_id", "generation"),
)

route_failures: Final = sa.Table(
    "route_failures",
    metadata,
    adapter_id(),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("since", TIME, nullable=False),
    sa.PrimaryKeyConstraint("adapter_id"),
)

# each row names its server and transaction, so that any copy of the table can be told from the
# original
route_epochs: Final = sa.Table(
    "route_epochs",
    metadata,
    sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("server", sa.Text, nullable=False),
    sa.Column("written_by", sa.Text, nullable=False),
    sa.Column("opened_at", TIME, nullable=False, server_default=NOW),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
)

# routes that routers report to hold in place of the one in force
route_refusals: Final = sa.Table(
    "route_refusals",
    metadata,
    adapter_id(),
    sa.Column("router", sa.Text, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("since", TIME, nullable=False, server_default=NOW),
    sa.Column("said_at", TIME, nullable=False, server_default=NOW),
    sa.PrimaryKeyConstraint("adapter_id", "router"),
)

actions: Final = sa.Table(
    "actions",
    metadata,
    own_id(),
    adapter_id(),
    version_id(),
    sa.Column("kind", sa.Text, nullable=False),  # an ActionKind
    sa.Column("state", sa.Text, nullable=False),  # an ActionState
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", JSONB, nullable=False),
    sa.Column("expected_generation", sa.BigInteger),
    sa.Column("target", JSONB),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("created_at", TIME, nullable=False, server_default=NOW),
    sa.Column("decided_at", TIME),
    sa.Index(None, "adapter_id", "created_at"),
    # "which moves was the router not seen to make?" -- asked every second
    sa.Index(
        "ix_actions_unread",
        "id",
        postgresql_where=sa.text("state IN ('executing', 'applied', 'verify_failed')"),
    ),
)

# an evaluation leaves one for the breaker, in the transaction that stores its verdict
pending_decisions: Final = sa.Table(
    "pending_decisions",
    metadata,
    sa.Column("version_id", sa.Integer, sa.ForeignKey("versions.id"), primary_key=True),
    adapter_id(),
    sa.Column("evidence", JSONB),  # null: whether traffic returns
    sa.Column("asked_at", TIME, nullable=False),
    sa.Column("waits_since", TIME, nullable=False),  # whoever has waited longest is next
    sa.Column("lease_until", TIME),
    sa.Column("lease_owner", sa.Text),
)

canaries: Final = sa.Table(
    "canaries",
    metadata,
    own_id(),
    adapter_id(),
    version_id(),
    # the version in charge when the canary was made
    sa.Column("control_id", sa.Integer, sa.ForeignKey("versions.id"), nullable=False),
    # as monitor.traffic.trial.states writes them
    sa.Column("plan", JSONB, nullable=False),
    sa.Column("state", JSONB, nullable=False),
    sa.Column("phase", sa.Text, nullable=False),
    sa.Column("latched", sa.Boolean, nullable=False, server_default=sa.false()),
    # guardrails, unchecked ones, and what earlier steps measured
    sa.Column("guards", JSONB, nullable=False),
    sa.Column("unchecked", ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'::text[]")),
    sa.Column("carried", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Column("mode", sa.Text),  # null: the adapter's
    sa.Column("generation", sa.BigInteger),  # of the route that it wrote last
    sa.Column("measured_until", TIME),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", TIME, nullable=False, server_default=NOW),
    sa.Column("updated_at", TIME, nullable=False, server_default=NOW),
    sa.Column("ended_at", TIME),
    sa.Column("next_look_at", TIME),  # null: it has ended, and people know
    sa.Column("lease_until", TIME),
    sa.Column("lease_owner", sa.Text),
    sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
    # "is there a canary of this adapter now?" -- one at a time
    sa.Index(
        "ix_canaries_active",
        "adapter_id",
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    ),
    # "which versions of this adapter may not come back by themselves?"
    sa.Index("ix_canaries_latched", "adapter_id", postgresql_where=sa.text("latched")),
)

canary_looks: Final = sa.Table(
    "canary_looks",
    metadata,
    own_id(),
    sa.Column("canary_id", sa.BigInteger, sa.ForeignKey("canaries.id"), nullable=False),
    sa.Column("at", TIME, nullable=False),
    # the word of an Event of monitor.traffic.trial.states: of an order, which one it is
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("phase", sa.Text, nullable=False),  # after it
    sa.Column("pause", sa.Text),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("weight", sa.Double, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    # null if nothing was measured
    sa.Column("outcome", sa.Text),
    sa.Column("trial_requests", sa.Integer),
    sa.Column("control_requests", sa.Integer),
    sa.Column("guards", JSONB),
    # of this look alone: requests and failures of both arms by hard guardrail
    sa.Column("failures", JSONB),
    sa.Index(None, "canary_id", "id"),
    # "how many canaries were rolled back lately?" -- asked at each look at any of them
    sa.Index("ix_canary_looks_rollbacks", "at", postgresql_where=sa.text("phase = 'rolling_back'")),
)

flags: Final = sa.Table(
    "flags",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),  # kill_switch | clock | admission_required
    sa.Column("value", JSONB, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("at", TIME, nullable=False, server_default=NOW),
)
