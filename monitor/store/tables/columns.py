"""Types and columns that many tables share, and the metadata that all belong to."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

metadata: Final = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TIME: Final = sa.DateTime(timezone=True)
NOW: Final = sa.text("now()")
# compared byte by byte: cheaper than a language's order, and the same on every server
RECORD_ID: Final = sa.Text(collation="C")


def own_id() -> sa.Column[int]:
    """Make the key of a table with its own numbers."""
    return sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True)


def adapter_id(*, nullable: bool = False) -> sa.Column[int]:
    """Make the column of the adapter that a row belongs to."""
    return sa.Column("adapter_id", sa.Integer, sa.ForeignKey("adapters.id"), nullable=nullable)


def version_id(*, nullable: bool = False) -> sa.Column[int]:
    """Make the column of the version that a row belongs to."""
    return sa.Column("version_id", sa.Integer, sa.ForeignKey("versions.id"), nullable=nullable)
