"""Read a few requests of an interval that show a finding best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

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


LEAST_SIMILAR: Final = "e.similarity"
BY_DETECTOR: Final[Mapping[str, str]] = MappingProxyType(
    {
        "input_similarity": LEAST_SIMILAR,
        "errors": "(r.status >= 500) DESC NULLS LAST",
        "non_finite": "r.non_finite DESC NULLS LAST",
        "missing": "r.missing DESC NULLS LAST",
        "empty": "r.empty DESC NULLS LAST",
        "truncated": "r.truncated DESC NULLS LAST",
        "repetition": "r.loop DESC NULLS LAST, r.rep_4gram DESC NULLS LAST",
        "refusal": "r.refusal DESC NULLS LAST",
        "invalid": "r.invalid DESC NULLS LAST",
        "latency": "r.latency_ms DESC NULLS LAST",
        "entropy": "r.entropy DESC NULLS LAST",
        "prompt_length": "r.prompt_tokens DESC NULLS LAST",
    }
)
"""The order in which requests show a detector's finding: the clearest first."""
LEAST_CERTAIN: Final = "r.mean_nll DESC NULLS LAST"


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
    clearest = BY_DETECTOR.get(detector or "", LEAST_CERTAIN)
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
        f" ORDER BY {clearest}, r.at DESC, r.id LIMIT :limit"
    )
    bound = {
        "adapter": version.adapter_id,
        "version": version.id,
        "start": start,
        "end": end,
        "limit": limit,
    }
    return [ExampleRow(**row) for row in connection.execute(query, bound).mappings()]
