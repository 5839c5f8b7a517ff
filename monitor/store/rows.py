"""Rows as shapes, and shapes as rows: most columns have the names of the shape's fields."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy import RowMapping

from monitor.store.tables.registry import adapters, versions

T = TypeVar("T")


def shaped(shape: type[T], row: RowMapping, **made: Any) -> T:
    """Make a slotted dataclass of the columns named as its fields; ``made`` goes before them."""
    fields: tuple[str, ...] = vars(shape)["__slots__"]
    return shape(**({name: row[name] for name in fields if name in row} | made))


def stored(table: sa.Table, one: object, **made: Any) -> dict[str, Any]:
    """Take the columns that a slotted dataclass has as fields; ``made`` goes before them."""
    fields: tuple[str, ...] = vars(type(one))["__slots__"]
    return {name: getattr(one, name) for name in fields if name in table.c} | made


def named(table: sa.Table, *columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Select rows about versions, with the names of ``adapter`` and ``version``."""
    return (
        sa.select(*(columns or table.c), *_NAMES)
        .select_from(table)
        .join(versions, versions.c.id == table.c.version_id)
        .join(adapters, adapters.c.id == versions.c.adapter_id)
    )


_NAMES: Final = (adapters.c.name.label("adapter"), versions.c.name.label("version"))
