"""What the one writer does with submissions that the database does not take."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest

from monitor.capture.errors import Unavailable
from monitor.capture.queue import QueueBounds, Submission, WriteQueue
from monitor.store.records.ingest import NUMBERS, RecordBatch

TOGETHER = 5


def submission(size: int) -> Submission:
    nothing = np.empty(0, dtype=np.int64)
    batch = RecordBatch(
        adapter_id=nothing,
        at=nothing,
        id=(),
        numbers=dict.fromkeys(NUMBERS, np.empty(0)),
        finish_reason=(),
        subject=(),
    )
    return Submission(batch=batch, counts=Counter(), size=size)


class Refusing:
    """A database that answers every write of the submission of size 3 with an error."""

    def __init__(self, error: psycopg.Error) -> None:
        self.error = error
        self.writes: list[int] = []

    def write(self, taken: Sequence[Submission]) -> None:
        self.writes.append(len(taken))
        if any(one.size == 3 for one in taken):
            raise self.error


def outcomes(database: Refusing) -> list[bool]:
    """Submit five at once; whether each was stored."""
    queue = WriteQueue(database.write, QueueBounds(linger=0.2))
    queue.start()

    def submit(size: int) -> bool:
        try:
            queue.submit(submission(size))
        except Unavailable:
            return False
        return True

    with ThreadPoolExecutor(TOGETHER) as senders:
        stored = list(senders.map(submit, range(1, TOGETHER + 1)))
    assert queue.close()
    return stored


def test_one_submission_that_is_refused_takes_no_other_along() -> None:
    database = Refusing(psycopg.errors.NumericValueOutOfRange())
    assert outcomes(database) == [True, True, False, True, True]


@pytest.mark.parametrize(
    "error", [psycopg.OperationalError(), psycopg.errors.AdminShutdown()], ids=["lost", "shutdown"]
)
def test_a_database_that_is_away_is_waited_for_once_for_all_of_them(error: psycopg.Error) -> None:
    database = Refusing(error)
    stored = outcomes(database)
    assert sum(database.writes) == TOGETHER  # none was tried again alone
    assert not stored[2]
