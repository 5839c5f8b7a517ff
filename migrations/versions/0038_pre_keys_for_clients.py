"""Let a key be a client's, with a limit, or that of a person who logged in."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("keys", sa.Column("per_minute", sa.Integer()))
    op.add_column("keys", sa.Column("person", sa.Text()))


def downgrade() -> None:
    # earlier releases know no such scope, and could list no key at all
    op.execute("DELETE FROM keys WHERE 'ask' = ANY(scopes)")
    op.drop_column("keys", "person")
    op.drop_column("keys", "per_minute")
