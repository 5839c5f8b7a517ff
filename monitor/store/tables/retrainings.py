"""Tables of retrainings: what was asked for, and who trains."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from monitor.store.tables.columns import NOW, TIME, adapter_id, metadata, own_id, version_id

retrainings: Final = sa.Table(
    "retrainings",
    metadata,
    own_id(),
    adapter_id(),
    version_id(),
    sa.Column("cause", sa.Text, nullable=False),  # input | max_age | person
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("window_start", TIME, nullable=False),
    sa.Column("window_end", TIME, nullable=False),
    sa.Column("below", sa.Double),
    sa.Column("replay_share", sa.Double, nullable=False),
    sa.Column("evidence", JSONB, nullable=False),
    sa.Column("created_at", TIME, nullable=False, server_default=NOW),
    # "when was this adapter's retraining asked for last?"
    sa.Index(None, "adapter_id", "created_at"),
)

trainings: Final = sa.Table(
    "trainings",
    metadata,
    sa.Column(
        "retraining_id",
        sa.BigInteger,
        sa.ForeignKey("retrainings.id"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("worker", sa.Text, nullable=False),
    # grows with each worker that takes it, so that one that lost it writes nothing more
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # running | done | refused | failed | cancelled
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("progress", sa.Double, nullable=False, server_default="0"),  # of the step, in [0, 1]
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    sa.Column("made", sa.Text),  # name of the version that it made
    sa.Column("lease_until", TIME),
    sa.Column("began_at", TIME, nullable=False, server_default=NOW),
    sa.Column("finished_at", TIME),
)
