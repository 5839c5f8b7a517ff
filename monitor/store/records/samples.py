"""Count a version's compared requests, sample them evenly, and find those least like training.

A sample is taken by a hash of the record's id: the same one at every look, spread over the
whole interval, and a larger limit only adds to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import AdapterId, Interval, ReferenceId, Version
from monitor.store.records import contexts
from monitor.store.records.requests import EMBEDDED


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedWith:
    """The requests of an interval that were compared with one reference."""

    version: Version
    reference_id: ReferenceId
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A request: its sender, similarity to training and terms (eight bytes each).

    ``vector`` is float16, empty if it was not read.
    """

    id: str
    at: datetime
    subject: bytes | None
    similarity: float
    terms: bytes | None
    vector: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """A request's similarity to its nearest training example; the text only if stored."""

    record_id: str
    at: datetime
    similarity: float
    prompt: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSize:
    """The lengths of a request and its answer, in tokens; None: not known."""

    prompt_tokens: int | None
    output_tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredText:
    """The redacted texts of a request, as far as they are stored."""

    prompt: str | None
    output: str | None


_FROM: Final = f" FROM records r{EMBEDDED}"
_WHERE: Final = (
    " WHERE r.adapter_id = :adapter AND r.version_id = :version"
    " AND r.at >= :start AND r.at < :end AND e.reference_id = :reference"
)
_TEXT: Final = (
    " LEFT JOIN record_texts t ON t.adapter_id = r.adapter_id AND t.at = r.at AND t.id = r.id"
    " AND t.at >= :start AND t.at < :end"
)
_COLUMNS: Final = "SELECT r.id, r.at, r.subject, e.similarity::float8 AS similarity, e.terms"
_EVENLY: Final = " ORDER BY hashtextextended(r.id, 0), r.at LIMIT :limit"


def unlike(connection: Connection, of: ComparedWith, *, below: float, limit: int) -> list[Sampled]:
    """Sample requests less similar to training than ``below``, with their vectors."""
    query = sa.text(
        f"{_COLUMNS}, e.embedding AS vector{_FROM}{_WHERE} AND e.similarity < :below{_EVENLY}"
    )
    bound = _bound(of) | {"below": below, "limit": limit}
    return [Sampled(**row) for row in connection.execute(query, bound).mappings()]


def like(connection: Connection, of: ComparedWith, *, below: float, limit: int) -> list[Sampled]:
    """Sample requests at least as similar as ``below`` that have terms, without vectors."""
    query = sa.text(
        f"{_COLUMNS}, ''::bytea AS vector{_FROM}{_WHERE}"
        f" AND e.similarity >= :below AND e.terms IS NOT NULL{_EVENLY}"
    )
    bound = _bound(of) | {"below": below, "limit": limit}
    return [Sampled(**row) for row in connection.execute(query, bound).mappings()]


def least_similar(connection: Connection, of: ComparedWith, *, limit: int) -> list[Similar]:
    """Return the requests least similar to training, worst first."""
    query = sa.text(
        "SELECT r.id AS record_id, r.at, e.similarity::float8 AS similarity, t.prompt"
        f"{_FROM}{_TEXT}{_WHERE} AND e.similarity IS NOT NULL"
        " ORDER BY e.similarity, r.at LIMIT :limit"
    )
    found = connection.execute(query, _bound(of) | {"limit": limit})
    return [Similar(**row) for row in found.mappings()]


def count_below(connection: Connection, of: ComparedWith, *, similarity: float) -> tuple[int, int]:
    """Count the requests below a similarity to training, and all compared."""
    query = sa.text(
        "SELECT count(*) FILTER (WHERE e.similarity < :similarity), count(*)"
        f"{_FROM}{_WHERE} AND e.similarity IS NOT NULL"
    )
    below, compared = connection.execute(query, _bound(of) | {"similarity": similarity}).one()
    return below, compared


def prompts(
    connection: Connection, adapter_id: AdapterId, requests: list[tuple[str, datetime]]
) -> dict[str, StoredText]:
    """Return the redacted texts of requests by id, where the prompt is stored."""
    if not requests:
        return {}
    query = sa.text(
        "SELECT t.id, t.prompt, t.output FROM record_texts t"
        " JOIN unnest(CAST(:ids AS text[]), CAST(:times AS timestamptz[])) AS g(id, at)"
        " ON t.id = g.id AND t.at = g.at"
        " WHERE t.adapter_id = :adapter AND t.at >= :first AND t.at <= :last"
        " AND t.prompt IS NOT NULL"
    )
    times = [at for _, at in requests]
    bound = {
        "adapter": adapter_id,
        "ids": [name for name, _ in requests],
        "times": times,
        "first": min(times),
        "last": max(times),
    }
    found = connection.execute(query, bound)
    return {row.id: StoredText(prompt=row.prompt, output=row.output) for row in found}


def texts(
    connection: Connection, of: Version, within: Interval, *, strata: Sequence[str], limit: int
) -> list[StoredText]:
    """Sample the stored texts of a version's records of some settings."""
    query = sa.text(
        "SELECT t.prompt, t.output FROM record_texts t JOIN records r"
        " ON r.adapter_id = t.adapter_id AND r.at = t.at AND r.id = t.id"
        " AND r.at >= :start AND r.at < :end"
        " WHERE t.adapter_id = :adapter AND r.version_id = :version"
        " AND t.at >= :start AND t.at < :end AND r.context_id = ANY(:contexts)"
        " ORDER BY hashtextextended(t.id, 0), t.at LIMIT :limit"
    )
    bound = {
        "adapter": of.adapter_id,
        "version": of.id,
        "start": within.start,
        "end": within.end,
        "contexts": contexts.of_strata(connection, strata),
        "limit": limit,
    }
    return [StoredText(**row) for row in connection.execute(query, bound).mappings()]


def sizes(
    connection: Connection, adapter_id: AdapterId, ids: Sequence[str], *, within: Interval
) -> dict[str, RequestSize]:
    """Return the lengths of requests made in a closed interval, by id."""
    query = sa.text(
        "SELECT id, prompt_tokens, COALESCE(output_tokens, n_tokens) AS output_tokens FROM records"
        " WHERE adapter_id = :adapter AND at >= :start AND at <= :end"
        " AND id = ANY(CAST(:ids AS text[]))"
    )
    bound = {
        "adapter": adapter_id,
        "start": within.start,
        "end": within.end,
        "ids": list(ids),
    }
    return {
        row.id: RequestSize(prompt_tokens=row.prompt_tokens, output_tokens=row.output_tokens)
        for row in connection.execute(query, bound)
    }


def _bound(of: ComparedWith) -> dict[str, object]:
    return {
        "version": of.version.id,
        "adapter": of.version.adapter_id,
        "reference": of.reference_id,
        "start": of.start,
        "end": of.end,
    }
