"""One thread embeds at a time, so that an evaluation finds its window's texts embedded."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from monitor.daemon.texts import WaitingTexts
from monitor.domain import Interval, Version
from monitor.probes.errors import ProbeFailed
from monitor.reference.index import Indexes
from monitor.reference.live import TextFate
from monitor.store.database import Database
from monitor.store.records import pending
from tests.reference.conftest import NOON, BagOfWords, Live, questions

HOUR = timedelta(hours=1)


class StartingEncoder(BagOfWords):
    """An encoder whose first request waits until it has started."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.started = threading.Event()

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.asked.set()
        assert self.started.wait(60)
        return super().embed(texts)


def test_an_evaluation_waits_for_the_texts_that_the_loop_has_in_hand(
    database: Database, version: Version, indexes: Indexes, live: Live
) -> None:
    live(questions(20))
    encoder = StartingEncoder()
    texts = WaitingTexts(database=database, embedder=encoder, indexes=indexes, keeping=TextFate())
    under_way = threading.Event()

    def evaluation() -> int:
        under_way.set()
        texts.embed_before([(version.adapter_id, NOON + HOUR)])
        return len(encoder.texts)

    with ThreadPoolExecutor(2) as pool:
        loop = pool.submit(texts.turn)
        assert encoder.asked.wait(60)
        embedded = pool.submit(evaluation)
        assert under_way.wait(60)
        early, _ = wait([embedded], timeout=2.0)  # it has time to find nothing left
        encoder.started.set()
        assert not early
        assert loop.result(60)
        assert embedded.result(60) == 20
    day = (version.id, version.adapter_id, Interval(start=NOON - HOUR, end=NOON + 24 * HOUR))
    assert database.run(lambda tx: pending.waiting(tx, [day])) == {version.id: 0}


def test_texts_wait_for_an_encoder_that_is_down_and_are_embedded_once_it_is_back(
    database: Database, words: BagOfWords, indexes: Indexes, live: Live
) -> None:
    live(questions(5))
    texts = WaitingTexts(database=database, embedder=words, indexes=indexes, keeping=TextFate())
    words.error = ProbeFailed("the worker died", permanent=False)
    assert not texts.turn()
    assert not words.texts
    words.error = None
    assert texts.turn()
    assert len(words.texts) == 5
    assert texts.next_due() is None


def test_an_evaluation_goes_on_while_the_encoder_is_down_and_embeds_before_its_end_alone(
    database: Database, version: Version, words: BagOfWords, indexes: Indexes, live: Live
) -> None:
    live(questions(5))
    texts = WaitingTexts(database=database, embedder=words, indexes=indexes, keeping=TextFate())
    until = [(version.adapter_id, NOON + timedelta(minutes=3))]
    words.error = ProbeFailed("paused", permanent=False, asked=False)
    texts.embed_before(until)
    assert not words.texts
    words.error = None
    texts.embed_before(until)
    assert len(words.texts) == 3
