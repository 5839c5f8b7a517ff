"""Read a few requests of an interval that show a finding best."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.signals import SIGNALS, SIMILARITY, SignalKind
from monitor.domain import ReferenceId, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleRow:
    """A request with its lengths in tokens; its texts only where they are stored, redacted.

    ``reference_id`` is the reference whose training ``similarity`` is about; ``vector`` is
    float16 of unit length. None: not measured.
    """

    id: str
    at: datetime
    prompt_tokens: int | None
    output_tokens: int | None
    status: int | None
    prompt: str | None
    output: str | None
    similarity: float | None
    reference_id: ReferenceId | None
    vector: bytes | None


LEAST_CERTAIN: Final = "r.mean_nll DESC NULLS LAST"
_SHOWN: Final = frozenset({SignalKind.NUMBER, SignalKind.INTEGER, SignalKind.FLAG})
"""Kinds of column by which a request shows more or less of something."""


def examples(
    connection: Connection,
    version: Version,
    *,
    detector: str | None,
    start: datetime,
    end: datetime,
    limit: int,
) -> list[ExampleRow]:
    """Return the requests of ``[start, end)`` that show the detector's finding best.

    Of a detector that compares whole windows, and of none, those whose answers are the least
    certain.
    """
    query = sa.text(
        "SELECT r.id, r.at, r.prompt_tokens, r.status,"
        " COALESCE(r.output_tokens, r.n_tokens) AS output_tokens,"
        " t.prompt, t.output, e.similarity::float8 AS similarity, e.reference_id,"
        " e.embedding AS vector FROM records r"
        " LEFT JOIN record_embeddings e"
        " ON e.adapter_id = r.adapter_id AND e.at = r.at AND e.id = r.id"
        " AND e.at >= :start AND e.at < :end"
        " LEFT JOIN record_texts t"
        " ON t.adapter_id = r.adapter_id AND t.at = r.at AND t.id = r.id"
        " AND t.at >= :start AND t.at < :end"
        " WHERE r.adapter_id = :adapter AND r.version_id = :version"
        " AND r.at >= :start AND r.at < :end"
        f" ORDER BY {_clearest(detector)}, r.at DESC, r.id LIMIT :limit"
    )
    bound = {
        "adapter": version.adapter_id,
        "version": version.id,
        "start": start,
        "end": end,
        "limit": limit,
    }
    return [ExampleRow(**row) for row in connection.execute(query, bound).mappings()]


def _clearest(detector: str | None) -> str:
    """Order requests by the first of the detector's signals that a request has by itself."""
    for name in DETECTORS[detector].signals if detector and detector in DETECTORS else ():
        if name == SIMILARITY:
            return "e.similarity"
        if name == "error":
            return "(r.status >= 500) DESC NULLS LAST"
        if SIGNALS[name].kind in _SHOWN:
            return f"r.{name} DESC NULLS LAST"
    return LEAST_CERTAIN
