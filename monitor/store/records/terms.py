"""Store typical words of requests: as hashes, and in clear once many subjects used them.

A record has the hashes of its terms beside its embedding. This table holds the words of a hash only
if at least five subjects used the term; until then the row has their (hashed) names and no word.
One subject counts once, so nobody can put a word here alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import AdapterId
from monitor.store.tables.records import terms as table

ENOUGH_SUBJECTS: Final = 5
"""The number of different subjects that must use a term before its words are stored."""
MOST_TERMS: Final = 20_000
"""Per adapter; of more, those with the fewest subjects go first, then the oldest."""
_ONE_IN: Final = 64
"""The number is checked for one in so many new terms, chosen by a hash no sender controls."""
_TRIMMED: Final = MOST_TERMS * 19 // 20
_FRESH: Final = timedelta(days=1)
"""The shortest time between two updates of a known term's row."""


class _Named(NamedTuple):
    adapter_id: AdapterId
    term: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A record's terms: hashes with their words, which are deleted with the text."""

    adapter_id: AdapterId
    at: datetime
    record_id: str
    terms: Mapping[bytes, str]


_SUBJECTS: Final = sa.text(
    "SELECT r.adapter_id, r.at, r.id, r.subject FROM records r"
    " JOIN unnest(CAST(:adapters AS integer[]), CAST(:times AS timestamptz[]),"
    " CAST(:ids AS text[])) AS g(adapter_id, at, id)"
    " ON r.adapter_id = g.adapter_id AND r.at = g.at AND r.id = g.id"
    " WHERE r.at >= :first AND r.at <= :last AND r.subject IS NOT NULL"
)
_LOCK: Final = sa.text("SELECT pg_advisory_xact_lock(hashtext('driftline terms'))")
_GIVEN: Final = "unnest(CAST(:adapters AS integer[]), CAST(:terms AS bytea[])"
_KNOWN: Final = sa.text(
    f"SELECT t.adapter_id, t.term FROM terms t JOIN {_GIVEN}) AS g(adapter_id, term)"
    " ON t.adapter_id = g.adapter_id AND t.term = g.term"
    " WHERE t.word IS NOT NULL AND t.seen_at > :fresh"
)
_ADD: Final = sa.text(
    "INSERT INTO terms AS t (adapter_id, term, subjects, seen_at)"
    " SELECT adapter_id, term, (array_agg(DISTINCT subject))[1:5], :now"
    f" FROM {_GIVEN}, CAST(:subjects AS bytea[])) AS g(adapter_id, term, subject)"
    " GROUP BY adapter_id, term"
    " ON CONFLICT (adapter_id, term) DO UPDATE SET seen_at = excluded.seen_at,"
    " subjects = CASE WHEN t.word IS NOT NULL THEN t.subjects ELSE"
    " (SELECT (array_agg(DISTINCT s))[1:5] FROM unnest(t.subjects || excluded.subjects) s) END"
    " RETURNING t.adapter_id, t.term, xmax = 0 AS is_new,"
    f" word IS NULL AND cardinality(subjects) >= {ENOUGH_SUBJECTS} AS is_common"
)
_NAME: Final = sa.text(
    # its subjects are not needed any more
    "UPDATE terms t SET word = g.word, subjects = '{}'"
    f" FROM {_GIVEN}, CAST(:words AS text[])) AS g(adapter_id, term, word)"
    " WHERE t.adapter_id = g.adapter_id AND t.term = g.term"
)
_CROWDED: Final = sa.text(
    "SELECT adapter_id FROM terms WHERE adapter_id = ANY(:adapters)"
    f" GROUP BY adapter_id HAVING count(*) > {MOST_TERMS}"
)
_TRIM: Final = sa.text(
    "DELETE FROM terms WHERE (adapter_id, term) IN (SELECT adapter_id, term FROM ("
    " SELECT adapter_id, term, row_number() OVER (PARTITION BY adapter_id ORDER BY"
    " word IS NULL, cardinality(subjects) DESC, seen_at DESC, term) AS place"
    f" FROM terms WHERE adapter_id = ANY(:adapters)) ranked WHERE place > {_TRIMMED})"
)


def note(connection: Connection, uses: Sequence[Use], *, now: datetime) -> None:
    """Count the subjects of terms, and store the words that have become common.

    A record without a subject does not count. Noting the same record again changes nothing. Call
    this last in a transaction: it waits for others that do the same.
    """
    words, pairs = _pairs(connection, [use for use in uses if use.terms])
    if not pairs:
        return
    connection.execute(_LOCK)
    seen = connection.execute(_KNOWN, _columns(words) | {"fresh": now - _FRESH})
    known = {_Named(row.adapter_id, row.term) for row in seen}
    fresh = sorted(pair for pair in pairs if pair[0] not in known)
    if not fresh:
        return
    bound = _columns([named for named, _ in fresh])
    bound |= {"subjects": [subject for _, subject in fresh], "now": now}
    added = connection.execute(_ADD, bound).all()
    common = [_Named(row.adapter_id, row.term) for row in added if row.is_common]
    if common:
        connection.execute(_NAME, _columns(common) | {"words": [words[one] for one in common]})
    _keep_bounds(
        connection,
        {row.adapter_id for row in added if row.is_new and row.term[0] % _ONE_IN == 0},
    )


def words_of(
    connection: Connection, adapter_id: AdapterId, terms: Collection[bytes]
) -> dict[bytes, str]:
    """Return the words of those terms that are common enough to be stored."""
    query = sa.select(table.c.term, table.c.word).where(
        table.c.adapter_id == adapter_id,
        table.c.term.in_(list(terms)),
        table.c.word.is_not(None),
    )
    return {term: word for term, word in connection.execute(query) if word is not None}


def drop_older(connection: Connection, *, than: datetime) -> int:
    """Delete terms unused since a time; return how many."""
    return connection.execute(table.delete().where(table.c.seen_at < than)).rowcount


def _pairs(
    connection: Connection, uses: Sequence[Use]
) -> tuple[dict[_Named, str], set[tuple[_Named, bytes]]]:
    """Return the words by term, and the subjects of each term."""
    if not uses:
        return {}, set()
    bound = {
        "adapters": [use.adapter_id for use in uses],
        "times": [use.at for use in uses],
        "ids": [use.record_id for use in uses],
        "first": min(use.at for use in uses),
        "last": max(use.at for use in uses),
    }
    subject = {(a, at, i): who for a, at, i, who in connection.execute(_SUBJECTS, bound)}
    words: dict[_Named, str] = {}
    pairs: set[tuple[_Named, bytes]] = set()
    for use in uses:
        who = subject.get((use.adapter_id, use.at, use.record_id))
        if who is None:
            continue
        for term, word in use.terms.items():
            named = _Named(use.adapter_id, term)
            words[named] = word
            pairs.add((named, bytes(who)))
    return words, pairs


def _columns(named: Collection[_Named]) -> dict[str, object]:
    return {
        "adapters": [one.adapter_id for one in named],
        "terms": [one.term for one in named],
    }


def _keep_bounds(connection: Connection, adapters: Collection[AdapterId]) -> None:
    if not adapters:
        return
    found = connection.execute(_CROWDED, {"adapters": list(adapters)}).scalars().all()
    if found:
        connection.execute(_TRIM, {"adapters": list(found)})
