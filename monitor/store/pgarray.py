"""Write PostgreSQL's binary array format, a whole column at a time.

One ``INSERT ... SELECT FROM unnest(...)`` takes a thousand rows as some thirty arrays. numpy lays
out each numeric column in a few vector operations, where a row-wise writer would format each value
by itself. Format: ``array_recv`` in PostgreSQL's ``arrayfuncs.c``.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from psycopg import Cursor
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format
from sqlalchemy import Connection

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class ArrayColumn(NamedTuple):
    """An array ready to be sent; ``body`` is the wire format."""

    body: bytes


class _ColumnDumper(Dumper):
    format = Format.BINARY
    oid = 0  # the cast beside the placeholder says which type it is

    def dump(self, obj: ArrayColumn) -> Buffer:
        return obj.body


_NUMERIC: Final[Mapping[str, tuple[int, str]]] = MappingProxyType(
    {
        "bool": (16, "?"),
        "int8": (20, ">i8"),
        "int2": (21, ">i2"),
        "int4": (23, ">i4"),
        "float4": (700, ">f4"),
        "float8": (701, ">f8"),
        "timestamptz": (1184, ">i8"),
    }
)
_YEAR_2000: Final = 946_684_800 * 1_000_000
_TEXT_OID: Final = 25
_BYTEA_OID: Final = 17
_NULL: Final = struct.pack(">i", -1)
_LENGTH: Final = struct.Struct(">i")


def numbers(values: Floats | Ints, kind: str) -> ArrayColumn:
    """Encode a numeric or boolean array; NaN becomes NULL, so no true NaN can be sent."""
    oid, dtype = _NUMERIC[kind]
    null = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.size, dtype=bool)
    cells = np.empty(values.size, dtype=[("length", ">i4"), ("value", dtype)])
    cells["length"] = np.where(null, -1, np.dtype(dtype).itemsize)
    cells["value"] = np.where(null, 0, values) if null.any() else values
    if not null.any():
        return ArrayColumn(_header(values.size, oid) + cells.tobytes())
    matrix = cells.view(np.uint8).reshape(values.size, -1)
    sent = np.ones(matrix.shape, dtype=bool)
    sent[null, 4:] = False
    return ArrayColumn(_header(values.size, oid) + matrix[sent].tobytes())


def times(microseconds: Ints) -> ArrayColumn:
    """Encode timestamptz from microseconds since 1970; the wire format counts from 2000."""
    return numbers(microseconds - _YEAR_2000, "timestamptz")


def texts(values: Sequence[str | None]) -> ArrayColumn:
    """Encode an array of text."""
    encoded = [None if value is None else value.encode() for value in values]
    return _variable(encoded, _TEXT_OID)


def blobs(values: Sequence[bytes | None]) -> ArrayColumn:
    """Encode an array of bytea."""
    return _variable(values, _BYTEA_OID)


def execute(
    connection: Connection, statement: str, columns: Sequence[object]
) -> Cursor[tuple[Any, ...]]:
    """Run a statement with ``%s`` placeholders, some of them columns, in the transaction."""
    driver: Any = connection.connection.dbapi_connection
    cursor: Cursor[tuple[Any, ...]] = driver.cursor(binary=True)
    cursor.adapters.register_dumper(ArrayColumn, _ColumnDumper)
    return cursor.execute(statement.encode(), columns)


def _variable(values: Sequence[bytes | None], oid: int) -> ArrayColumn:
    parts = [_header(len(values), oid)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            parts += (_LENGTH.pack(len(value)), value)
    return ArrayColumn(b"".join(parts))


def _header(size: int, oid: int) -> bytes:
    """Encode dimensions, has-nulls flag (a hint: 1 is always allowed), type, size, lower bound."""
    if size == 0:
        return struct.pack(">iiI", 0, 0, oid)
    return struct.pack(">iiIii", 1, 1, oid, size, 1)
