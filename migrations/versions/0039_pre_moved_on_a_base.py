"""Keep how each version moved, and when each of its tasks was last done, for others on its base."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("verdicts", sa.Column("moved", JSONB(none_as_null=True)))
    # its next evaluation, within a minute, says how far: until then nobody is alone on its base
    op.execute(
        "UPDATE verdicts SET moved = jsonb_build_object('since', since, 'size', 0.0)"
        " WHERE kind IN ('critical', 'drifting') AND severity <> 'none' AND blame <> 'input'"
    )
    op.add_column("tasks", sa.Column("last_done_at", sa.DateTime(timezone=True)))
    op.execute(
        "UPDATE tasks SET last_done_at = done.at FROM ("
        " SELECT version_id, kind, max(finished_at) AS at FROM evaluations"
        " WHERE state = 'done' GROUP BY version_id, kind"
        ") AS done WHERE done.version_id = tasks.version_id AND done.kind = tasks.kind"
    )


def downgrade() -> None:
    op.drop_column("tasks", "last_done_at")
    op.drop_column("verdicts", "moved")
