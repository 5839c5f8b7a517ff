"""The terms typical of a group of requests, found by their hashes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection

from detectors.typical_terms import typical_terms
from monitor.capture.terms import HASH_BYTES
from monitor.domain import AdapterId
from monitor.store.records import terms
from monitor.store.records.samples import Sampled

MOST_WORDS: Final = 8
_ASKED: Final = 200
"""Terms of a group whose words are looked up, the most typical first."""


def unit_of(row: Sampled) -> bytes | str:
    """Return the unit behind a request: its subject, or the request itself."""
    return row.subject or row.id


class TermCounts:
    """The number of units (subjects, or requests without one) that used each term."""

    def __init__(self, rows: Sequence[Sampled]) -> None:
        said: defaultdict[bytes | str, set[bytes]] = defaultdict(set)
        for row in rows:
            if row.terms is not None:
                terms = row.terms
                said[unit_of(row)].update(
                    terms[i : i + HASH_BYTES] for i in range(0, len(terms), HASH_BYTES)
                )
        self.units = len(said)
        self.of = Counter(term for each in said.values() for term in each)


def words_of_groups(
    tx: Connection,
    adapter_id: AdapterId,
    groups: Sequence[Sequence[Sampled]],
    *,
    others: Sequence[Sampled],
) -> list[tuple[str, ...]]:
    """Return each group's most typical words, against the other groups and all ``others``.

    A term counts once for a subject, however often it was used.
    """
    inside = [TermCounts(group) for group in groups]
    rest = TermCounts(others)
    total = sum((counts.of for counts in inside), rest.of)
    units = rest.units + sum(counts.units for counts in inside)
    ranked = [
        _ranked(counts, total=total, units=units)[:_ASKED] if counts.of else [] for counts in inside
    ]
    known = terms.words_of(tx, adapter_id, {term for each in ranked for term in each})
    return [_apart([known[term] for term in each if term in known]) for each in ranked]


def _ranked(counts: TermCounts, *, total: Counter[bytes], units: int) -> list[bytes]:
    names = sorted(counts.of)
    here = [counts.of[name] for name in names]
    typical, _ = typical_terms(
        here,
        [total[name] - mine for name, mine in zip(names, here, strict=True)],
        n_inside=counts.units,
        n_outside=units - counts.units,
    )
    return [names[place] for place in typical]


def _apart(words: Sequence[str]) -> tuple[str, ...]:
    """Leave out a term whose words an earlier one has, or that has an earlier one's.

    >>> _apart(["gift card", "gift", "card", "voucher", "a voucher"])
    ('gift card', 'voucher')
    """
    chosen: list[str] = []
    for word in words:
        own = set(word.split())
        if not any(own <= set(other.split()) or own >= set(other.split()) for other in chosen):
            chosen.append(word)
    return tuple(chosen[:MOST_WORDS])
