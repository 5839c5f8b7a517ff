"""A service that was off: the newest window is evaluated, the others are noted."""

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.inbox import Inbox
from tests.service import Service, running, until

WINDOW = 0.25
OFF = 10


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with Inbox() as opened:
        yield opened


def done(service: Service) -> int:
    items = service.get("/v1/adapters/support/evaluations")["items"]
    return sum(1 for one in items if one["kind"] == "hard" and one["state"] == "done")


def windows(connection: psycopg.Connection) -> list[tuple[str, str, bool]]:
    """State and reason of each hard window, and whether it ended before the next began."""
    return connection.execute(
        "SELECT state, reason, window_end = lead(window_start, 1, window_end)"
        " OVER (ORDER BY window_end) FROM evaluations WHERE kind = 'hard' ORDER BY window_end"
    ).fetchall()


def test_after_ten_windows_of_downtime_the_newest_runs_and_the_others_are_skipped(
    tmp_path: Path, inbox: Inbox
) -> None:
    changes = {"schedule.hard_interval": "250ms", "schedule.hard_lag": "100ms"}
    with running(tmp_path, inbox=inbox, changes=changes) as service:
        service.register("support", "v1")
        until(lambda: done(service) >= 2, "windows before the downtime")
        service.terminate()
        with service.stored() as connection:
            before = len(windows(connection))
        time.sleep(OFF * WINDOW)
        service.start()
        ran = until(lambda: done(service), "an evaluation")
        until(lambda: done(service) > ran, "a window after the downtime")
        service.terminate()
        with service.stored() as connection:
            found = windows(connection)
    after = found[before:]
    missed = [row for row in after if row[0] == "skipped"]
    assert len(missed) >= OFF - 1
    assert {reason for _, reason, _ in missed} == {"downtime: only the newest window is evaluated"}
    first_done = next(place for place, row in enumerate(after) if row[0] == "done")
    assert first_done == sum(1 for row in after[: first_done + 1] if row[0] == "skipped")
    assert all(joined for _, _, joined in found)
    assert inbox.messages == []
