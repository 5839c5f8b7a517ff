from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.store.database import Database
from monitor.store.records import ingest, terms
from monitor.store.records.terms import Use

Say = Callable[..., None]


@pytest.fixture
def say(database: Database, noon: datetime, support: Any, batch: Callable[..., Any]) -> Say:
    """Store records of some subjects and note their words; a word is its own hash here."""
    sent = [0]

    def store(subjects: Sequence[bytes | None], *words: str, now: datetime = noon) -> None:
        ids = [f"r{sent[0] + number}" for number in range(len(subjects))]
        sent[0] += len(ids)
        made = batch(support, ids, noon, subject=list(subjects))
        database.run(lambda tx: ingest.insert(tx, made))
        uses = [
            Use(
                adapter_id=support.adapter.id,
                at=noon,
                record_id=each,
                terms={word.encode(): word for word in words},
            )
            for each in ids
        ]
        database.run(lambda tx: terms.note(tx, uses, now=now))

    return store


def _subjects(count: int, start: int = 0) -> list[bytes | None]:
    return [b"subject%d" % (start + number) for number in range(count)]


def _words(database: Database, support: Any, *asked: str) -> set[str]:
    wanted = [word.encode() for word in asked]
    found = database.run(lambda tx: terms.words_of(tx, support.adapter.id, wanted))
    return set(found.values())


def _rows(database: Database) -> list[tuple[Any, ...]]:
    query = sa.text("SELECT convert_from(term, 'utf8'), cardinality(subjects), word FROM terms")
    return sorted(tuple(row) for row in database.run(lambda tx: tx.execute(query).all()))


def test_a_word_is_written_down_by_its_fifth_subject_and_not_before(
    database: Database, support: Any, say: Say
) -> None:
    say(_subjects(4), "refund")
    assert _rows(database) == [("refund", 4, None)]
    say(_subjects(1, start=4), "refund", "novel")
    assert _words(database, support, "refund", "novel") == {"refund"}
    assert _rows(database) == [("novel", 1, None), ("refund", 0, "refund")], "nobody is named"


def test_five_subjects_at_once_are_enough(database: Database, support: Any, say: Say) -> None:
    say(_subjects(9), "refund")
    assert _words(database, support, "refund") == {"refund"}


def test_one_subject_repeating_a_word_ten_thousand_times_writes_nothing_down(
    database: Database, support: Any, say: Say
) -> None:
    for _ in range(10):
        say([b"attacker"] * 1_000, "secret")
    assert _rows(database) == [("secret", 1, None)]
    assert _words(database, support, "secret") == set()


def test_records_without_a_subject_count_for_nobody(database: Database, say: Say) -> None:
    say([None] * 50, "refund")
    assert _rows(database) == []


def test_noting_the_same_records_again_changes_nothing(
    database: Database, support: Any, say: Say, noon: datetime
) -> None:
    say(_subjects(3), "refund")
    uses = [
        Use(adapter_id=support.adapter.id, at=noon, record_id="r0", terms={b"refund": "refund"})
    ]
    for _ in range(5):
        database.run(lambda tx: terms.note(tx, uses, now=noon))
    assert _rows(database) == [("refund", 3, None)]


def test_words_of_one_adapter_are_no_words_of_another(
    database: Database, say: Say, register: Callable[[str], Any]
) -> None:
    say(_subjects(5), "refund")
    assert _words(database, register("billing"), "refund") == set()


def test_what_nobody_says_any_more_is_forgotten(
    database: Database, say: Say, noon: datetime
) -> None:
    say(_subjects(5), "old", "kept")
    say(_subjects(1), "kept", now=noon + timedelta(days=2))
    dropped = database.run(lambda tx: terms.drop_older(tx, than=noon + timedelta(days=1)))
    assert (dropped, [row[0] for row in _rows(database)]) == (1, ["kept"])


def test_a_flood_of_words_leaves_those_that_many_use(
    database: Database, support: Any, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terms, "_ONE_IN", 1)
    crowded = str(terms._CROWDED).replace(str(terms.MOST_TERMS), "40")  # noqa: SLF001 - the statement, with a limit that a test reaches
    trim = str(terms._TRIM).replace(str(terms._TRIMMED), "38")  # noqa: SLF001 - the statement, with a limit that a test reaches
    monkeypatch.setattr(terms, "_CROWDED", sa.text(crowded))
    monkeypatch.setattr(terms, "_TRIM", sa.text(trim))
    say(_subjects(5), "refund")
    say(_subjects(3), "rising")
    for flood in range(4):
        say([b"attacker"], *(f"junk{flood}-{number}" for number in range(30)))
    rows = {row[0] for row in _rows(database)}
    assert len(rows) <= 40
    assert {"refund", "rising"} <= rows
    assert _words(database, support, "refund") == {"refund"}
