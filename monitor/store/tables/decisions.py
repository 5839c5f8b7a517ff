"""Tables of what is decided and done: verdicts, incidents, messages, traffic, acts of people."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
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
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from monitor.store.tables.facts import NOW, TIME, adapter_id, metadata, own_id, version_id

tasks: Final = Table(
    "tasks",
    metadata,
    own_id(),
    version_id(),
    Column("kind", Text, nullable=False),  # EvaluationKind
    Column("next_due_at", TIME, nullable=False),
    Column("next_window_start", TIME),
    # "run now": the window then ends at now - lag instead of on the grid
    Column("requested_at", TIME),
    Column("lease_until", TIME),
    Column("lease_owner", Text),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("failures", SmallInteger, nullable=False, server_default="0"),
    Column("quarantined_at", TIME),
    Column("stopped", Text),  # why the newest try of a probe had no result
    # goes before tasks that are merely due: only its probes can clear the version
    Column("first", Boolean, nullable=False, server_default=sa.false()),
    UniqueConstraint("version_id", "kind"),
    # "what is due?" -- claimed with FOR UPDATE SKIP LOCKED each tick
    Index(None, "next_due_at"),
)

evaluations: Final = Table(
    "evaluations",
    metadata,
    own_id(),
    adapter_id(),
    version_id(),
    Column("kind", Text, nullable=False),
    Column("window_start", TIME, nullable=False),
    Column("window_end", TIME, nullable=False),
    Column("state", Text, nullable=False),  # done | skipped | error
    Column("reference_id", BigInteger),
    Column("n_records", Integer, nullable=False, server_default="0"),
    Column("n_late", Integer, nullable=False, server_default="0"),
    Column("verdict", Text),
    Column("reason", Text),
    # each detector's coverage of the window's requests; null if it had none
    Column("coverage", JSONB(none_as_null=True)),
    Column("epoch", BigInteger, nullable=False),
    Column("started_at", TIME, nullable=False),
    Column("finished_at", TIME, nullable=False, server_default=NOW),
    # one result per (adapter version, kind, window), whoever computed it
    UniqueConstraint("version_id", "kind", "window_end"),
    Index(None, "adapter_id", "window_end"),
)

coverage_days: Final = Table(
    "coverage_days",
    metadata,
    version_id(),
    Column("day", Date, nullable=False),
    # the coverage of the day's evaluations, added up by detector
    Column("body", JSONB, nullable=False),
    PrimaryKeyConstraint("version_id", "day"),
)

_SCORE_COLUMNS: Final = (
    ("window_start", TIME, False),
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
    version_id(),
    Column("detector", Text, nullable=False),
    Column("at", TIME, nullable=False),  # end of the window
    *_score_columns(),
    PrimaryKeyConstraint("version_id", "detector", "at"),
    postgresql_partition_by="RANGE (at)",
)

latest_scores: Final = Table(
    "latest_scores",
    metadata,
    version_id(),
    Column("detector", Text, nullable=False),
    Column("at", TIME, nullable=False),
    *_score_columns(),
    PrimaryKeyConstraint("version_id", "detector"),
)

process_states: Final = Table(
    "process_states",
    metadata,
    version_id(),
    Column("detector", Text, nullable=False),
    # a new generation starts its processes afresh
    Column("reference_id", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("updated_at", TIME, nullable=False, server_default=NOW),
    PrimaryKeyConstraint("version_id", "detector"),
)

increments: Final = Table(
    "increments",
    metadata,
    version_id(),
    Column("detector", Text, nullable=False),
    Column("at", TIME, nullable=False),  # end of the window
    Column("window_start", TIME, nullable=False),
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
    Column("since", TIME, nullable=False),
    # the memory of the policy: which detectors crossed, when, their winners and onsets
    Column("memory", JSONB, nullable=False),
    Column("drift_score", Double, nullable=False, server_default="0"),
    Column("updated_at", TIME, nullable=False, server_default=NOW),
    Index(None, "adapter_id"),
)

transitions: Final = Table(
    "transitions",
    metadata,
    own_id(),
    adapter_id(),
    version_id(),
    Column("at", TIME, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("blame", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("onset_start", TIME),
    Column("onset_end", TIME),
    Column("evaluation_id", BigInteger),
    Column("details", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    Index(None, "adapter_id", "at"),
)

# of a version, or of all adapters on a base model
incidents: Final = Table(
    "incidents",
    metadata,
    own_id(),
    adapter_id(nullable=True),
    version_id(nullable=True),
    Column("base_model", Text),  # empty: not registered; null: of a version
    Column("kind", Text, nullable=False),  # of alerts.types
    Column("number", Integer, nullable=False),
    Column("phase", Text, nullable=False),  # of alerts.incident
    Column("severity", Text, nullable=False),
    Column("blame", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("opened_at", TIME, nullable=False),
    Column("closed_at", TIME),
    Column("acknowledged_by", Text),
    Column("acknowledged_until", TIME),
    Column("state", JSONB, nullable=False),
    # the fleet incident that a version's own one belongs to
    Column("part_of", BigInteger, ForeignKey("incidents.id")),
    Column("marked", Text),  # false_page | accepted; null: nobody has judged it
    Column("marked_by", Text),
    Column("marked_at", TIME),
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
    version_id(),
    Column("joined_at", TIME, nullable=False),
    Column("left_at", TIME),
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
    Column("next_at", TIME, nullable=False, server_default=NOW),
    Column("lease_until", TIME),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("last_error", Text),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    Column("delivered_at", TIME),
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

# messages that wait to be grouped, or for a silence to end
held: Final = Table(
    "held",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False, unique=True),
    Column("channel", Text, nullable=False),
    Column("incident_id", BigInteger, ForeignKey("incidents.id"), nullable=False),
    Column("transition_id", BigInteger, ForeignKey("transitions.id")),
    Column("alert", JSONB, nullable=False),
    Column("at", TIME, nullable=False, server_default=NOW),
    Index(None, "incident_id"),
)

silences: Final = Table(
    "silences",
    metadata,
    own_id(),
    Column("match", JSONB, nullable=False),  # as alerts.matching writes it
    Column("starts_at", TIME, nullable=False),
    Column("ends_at", TIME, nullable=False),
    Column("author", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    # "which hold now, or will?"
    Index(None, "ends_at"),
)

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

keys: Final = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("match", JSONB, nullable=False, server_default="{}"),
    Column("created_at", TIME, nullable=False, server_default=NOW),
    Column("expires_at", TIME),
    Column("revoked_at", TIME),
    Column("last_used_at", TIME),
    Column("per_minute", Integer),  # requests that a gateway passes; null: all
    Column("person", Text),  # issuer and subject of who logged in by OpenID Connect
)

audit: Final = Table(
    "audit",
    metadata,
    own_id(),
    Column("at", TIME, nullable=False, server_default=NOW),
    Column("actor", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    # a trigger made by the migration refuses UPDATE and DELETE
    # what was done about one incident
    Index("ix_audit_subject", "subject"),
    # "what became of canaries lately?" -- beside everything else that was ever done
    Index("ix_audit_canaries", "id", postgresql_where=sa.text("\"left\"(act, 7) = 'canary.'")),
)
