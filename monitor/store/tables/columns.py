"""Columns that many tables have, and the metadata they belong to."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Identity, Integer, MetaData, Text

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TIME: Final = DateTime(timezone=True)
NOW: Final = sa.text("now()")
# compared byte by byte: cheaper than a language's order, and the same on every server
RECORD_ID: Final = Text(collation="C")


def own_id() -> Column[int]:
    """Make the key of a table with its own numbers."""
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def adapter_id(*, nullable: bool = False) -> Column[int]:
    """Make the column of the adapter that a row belongs to."""
    return Column("adapter_id", Integer, ForeignKey("adapters.id"), nullable=nullable)


def version_id(*, nullable: bool = False) -> Column[int]:
    """Make the column of the version that a row belongs to."""
    return Column("version_id", Integer, ForeignKey("versions.id"), nullable=nullable)
