"""From texts that arrive to the groups and words that people are shown, text itself gone."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.capture.redact import redact
from monitor.capture.terms import TermHashes
from monitor.domain import Interval, ReferenceId, Version
from monitor.evaluate import newness
from monitor.evaluate.explain import Explained, explain
from monitor.evaluate.loading import Calibrations
from monitor.evaluate.neighbours import nearest_training
from monitor.evaluate.newness import Newness, NotCompared, new_since, read_newness
from monitor.probes.embedding import Embedder, EmbeddingClient
from monitor.reference.build import BuildSettings, build_next
from monitor.reference.index import Indexes
from monitor.reference.live import TextFate, drain_embeddings
from monitor.store.database import Database
from monitor.store.references import references
from tests.real_texts import lines
from tests.reference.conftest import NOON, BagOfWords, Live, Send, baseline, training

KEY = b"k" * 32
LATER = NOON + timedelta(hours=14)

Drain = Callable[[Embedder], None]


@pytest.fixture
def drain(database: Database, indexes: Indexes) -> Drain:
    """Embed what waits, taking the terms of its text."""

    def until_empty(embed: Embedder, *, store_text: bool = False) -> None:
        keeping = TextFate(terms=TermHashes(key=KEY), store_text=store_text, redact=redact)
        clock: dict[str, Any] = {"now": lambda: NOON + timedelta(days=1)}
        while drain_embeddings(database, embed, indexes=indexes, keeping=keeping, **clock):
            pass

    return until_empty


def _look(database: Database, version: Version, since: datetime = NOON) -> Newness:
    return database.run(lambda tx: read_newness(tx, version, since=since, until=LATER))


def _told(database: Database, version: Version, *, since: datetime, examples: int) -> Explained:
    """Give what a ticket says of inputs that drift since then."""

    def read(tx: Connection) -> Explained:
        reading: Any = SimpleNamespace(
            version=version,
            calibrated=Calibrations().current(tx, [version.id])[version.id],
            interval=Interval(start=LATER, end=LATER),
        )
        onset = Interval(start=since, end=since + timedelta(hours=1))
        judgement: Any = SimpleNamespace(
            verdict=SimpleNamespace(onset=onset, detectors=("input_similarity",)),
            memory=SimpleNamespace(crossings=()),
        )
        return explain(tx, reading, judgement, examples=examples)

    return database.run(read)


def _asked(count: int, *, start: int = 0) -> list[str]:
    """Questions of one kind, no two alike: 14 words of 40 each."""
    rng = np.random.default_rng(start)
    return [
        "where is my card " + " ".join(f"{'abcdefghij'[n % 10]}{'klmn'[n // 10]}x" for n in drawn)
        for drawn in rng.permuted(np.tile(np.arange(40), (count, 1)), axis=1)[:, :10]
    ]


VOUCHER = "please redeem this gift voucher today {} thank you"


def test_new_requests_come_back_as_a_group_with_its_words(  # noqa: PLR0917 - fixtures
    database: Database,
    version: Version,
    words: BagOfWords,
    indexes: Indexes,
    send: Send,
    live: Live,
    drain: Drain,
) -> None:
    send([*training(_asked(200)), *baseline(_asked(400, start=1))])
    build_next(database, words, indexes=indexes)
    live(_asked(100, start=3), start=NOON - timedelta(hours=14))
    live([VOUCHER.format("now")], start=NOON - timedelta(hours=1))
    live(_asked(60, start=2), subjects=[f"s{n % 30}" for n in range(60)])
    new = [VOUCHER.format(word) for word in ("ann", "bob", "eve", "joe", "kim") * 4]
    live(new, start=NOON + timedelta(hours=2), subjects=[f"n{n % 10}" for n in range(20)])
    drain(words)

    found = _look(database, version)
    assert (found.compared, found.unlike, found.looked_at) == (80, found.unlike, found.unlike)
    (group,) = found.groups
    assert (group.count, group.subjects) == (20, 10)
    assert group.share == pytest.approx(20 / 80)
    assert group.growth is not None
    assert group.growth.ratio == pytest.approx((20 / 80) / (1 / 101))
    assert group.growth.interval[0] > 3.0
    assert group.first_seen == NOON + timedelta(hours=2)
    assert group.similarity < found.below
    assert 0.9 < group.cohesion <= 1.0
    assert {"redeem", "voucher"} <= {word for term in group.words for word in term.split()}
    assert "ann" not in group.words, "only four requests of two subjects named her"
    assert len(group.neighbours) == 3
    nearest = [one.similarity for one in group.neighbours]
    assert nearest == sorted(nearest, reverse=True)
    assert all(1 <= one.row <= 200 for one in group.neighbours)
    assert group.prompts == ()
    assert {one.text for one in group.neighbours} == {None}

    for opted_in in (True, False):
        told = _told(database, version, since=NOON, examples=int(opted_in)).new
        assert told is not None
        assert (told.count, told.of, told.subjects) == (20, 80, 10)
        assert told.words == (group.words if opted_in else ())


def test_where_texts_are_kept_the_nearest_training_texts_come_redacted(
    database: Database, version: Version, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    trained = [f"{text} ask ann@example.org" for text in _asked(1_100)]  # three chunks
    send([*training(trained), *baseline(_asked(400, start=1))])
    build_next(database, words, indexes=indexes, settings=BuildSettings(keep_text=redact))
    vectors = words.embed([trained[1_050], trained[3]])
    made = database.run(lambda tx: references.current(tx, version.id))
    assert made is not None
    wanted = [trained[n].replace("ann@example.org", "[email]") for n in (1_050, 3)]

    def nearest(tx: Connection, reference: ReferenceId) -> list[tuple[int, str | None]]:
        found = nearest_training(tx, reference, vectors.astype(np.float32), most=1)
        return [(one.row, one.text) for (one,) in found]

    assert database.run(lambda tx: nearest(tx, made.id)) == [(1_051, wanted[0]), (4, wanted[1])]


def test_nothing_is_new_where_nothing_changed(  # noqa: PLR0917 - fixtures
    database: Database,
    version: Version,
    words: BagOfWords,
    indexes: Indexes,
    send: Send,
    live: Live,
    drain: Drain,
) -> None:
    with pytest.raises(NotCompared, match="support@v1 has no reference yet"):
        _look(database, version)
    send([*training(_asked(200)), *baseline(_asked(400, start=1))])
    build_next(database, words, indexes=indexes)
    assert _look(database, version).groups == ()
    live(_asked(200, start=2))
    drain(words)
    found = _look(database, version)
    assert found.unlike <= 20  # 5 % of 200; P(Binomial(200, .05) > 20) = .001
    assert not [group for group in found.groups if group.share > 0.1]
    assert database.run(lambda tx: new_since(tx, version, now=LATER)) == LATER - timedelta(days=1)


def test_a_reference_without_a_training_index_says_so(
    database: Database, version: Version, words: BagOfWords, indexes: Indexes, send: Send
) -> None:
    send(baseline([None] * 400))
    build_next(database, words, indexes=indexes)
    with pytest.raises(NotCompared, match="generation 1 has no similarities to training"):
        _look(database, version)


def test_text_is_shown_redacted_and_only_where_it_is_kept(  # noqa: PLR0917 - fixtures
    database: Database,
    version: Version,
    words: BagOfWords,
    indexes: Indexes,
    send: Send,
    live: Live,
    drain: Callable[..., None],
) -> None:
    send([*training(_asked(200)), *baseline(_asked(400, start=1))])
    build_next(database, words, indexes=indexes)
    live([VOUCHER.format("ann@example.org")] * 4, subjects=["one"] * 4)
    drain(words, store_text=True)
    (group,) = _look(database, version).groups
    assert group.prompts == (VOUCHER.format("[email]"),) * 4
    assert group.outputs == ("",) * 4
    assert (group.subjects, group.words) == (1, ())
    assert database.run(lambda tx: _anywhere(tx, "ann")) == 0


def _anywhere(tx: Connection, word: str) -> int:
    """Count the rows that hold a word in clear where a word may stand."""
    query = sa.text(
        "SELECT (SELECT count(*) FROM terms WHERE word LIKE '%' || :word || '%')"
        " + (SELECT count(*) FROM record_texts WHERE prompt LIKE '%' || :word || '%')"
        " + (SELECT count(*) FROM pending_texts)"
    )
    return int(tx.execute(query, {"word": word}).scalar_one())


# --- real requests ------------------------------------------------------------------------


UNSEEN = {
    "verify_source_of_funds": "source",
    "top_up_by_cash_or_cheque": "cheque",
    "exchange_charge": "exchange",
}
"""Intents left out of index and baseline, and a word that only they have."""
SPOKEN = {
    "GetWeather": "weather",
    "BookRestaurant": "restaurant",
    "AddToPlaylist": "playlist",
}


def test_intents_nobody_trained_for_come_back_as_groups_with_their_words(  # noqa: PLR0917 - fixtures
    database: Database,
    version: Version,
    minilm: EmbeddingClient,
    indexes: Indexes,
    send: Send,
    live: Live,
    drain: Drain,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """BANKING77 with 15 intents trained and three not; a day later a voice assistant's."""
    trained, asked, spoken = map(lines, ("banking77_train", "banking77_test", "snips"))
    monkeypatch.setattr(newness, "MOST_RECORDS", 1_000)  # all, to judge a group by
    known = [name for name in sorted({line["label"] for line in asked}) if name not in UNSEEN][::5]
    half = [line for number, line in enumerate(asked) if number % 2]
    rest = [line for number, line in enumerate(asked) if not number % 2]
    index = [text for text, _ in _some(trained, known, 20)]
    held_out = [text for text, _ in _some(half, known, 20)]
    send([*training(index), *baseline(held_out)])
    build_next(database, minilm, indexes=indexes)
    first = [*_some(rest, known, 5), *_some(asked, list(UNSEEN), 30)]
    second = [*_some(rest, known, 5), *_some(spoken, list(SPOKEN), 30)]
    tomorrow = NOON + timedelta(days=1)
    for start, sent in ((NOON, first), (tomorrow, second)):
        everyone = [f"s{number % 90}" for number in range(len(sent))]
        live([text for text, _ in sent], start=start, subjects=everyone)
    drain(minilm)

    for start, sent, expected in ((NOON, first, UNSEEN), (tomorrow, second, SPOKEN)):
        found = database.run(
            partial(read_newness, version=version, since=start, until=start + timedelta(hours=14))
        )
        _judge(found, [label for _, label in sent], expected, start=start)


def _some(
    lines: Sequence[dict[str, str]], labels: Sequence[str], most: int
) -> list[tuple[str, str]]:
    """Take the first texts of each label, with the label."""
    taken: Counter[str] = Counter()
    found = []
    for line in lines:
        if line["label"] in labels and taken[line["label"]] < most:
            taken[line["label"]] += 1
            found.append((line["text"], line["label"]))
    return found


def _judge(
    found: Newness, labels: Sequence[str], expected: dict[str, str], *, start: datetime
) -> None:
    """Every new label is the subject of a large, pure group that is named by its word."""
    named: dict[str, str] = {}
    for group in found.groups:
        sent = [
            labels[int(record.removeprefix(f"{start.isoformat()}-"))] for record in group.records
        ]
        (label, count), *_ = Counter(sent).most_common(1)
        if len(sent) >= 10:
            assert count / len(sent) >= 0.85, (label, sent)
        said = {word for term in group.words for word in term.split()}
        if label in expected and expected[label] in said:
            named.setdefault(label, expected[label])
    assert named == expected
