"""The clock may sleep; the loops must not."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from monitor.schedule import Loop, Pulse, backoff

FAST = timedelta(milliseconds=50)


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    pulse = Pulse(every=FAST)
    yield pulse
    pulse.stop()


def test_waiting_loops_are_woken_again_and_again(pulse: Pulse) -> None:
    turns = threading.Semaphore(0)
    loop = Loop("turning", lambda: bool(turns.release()), pulse=pulse, every=FAST)
    loop.start()
    assert all(turns.acquire(timeout=10) for _ in range(3))
    pulse.stop()
    assert loop.join(timeout=10)


def test_a_clock_that_sleeps_is_started_anew_and_loops_go_on(pulse: Pulse) -> None:
    # what a wall clock set back by an hour does to APScheduler: no job runs until then
    pulse._scheduler.pause()
    assert pulse.wait(20 * FAST)
    assert pulse.restarts >= 1


def test_work_that_raises_is_counted_and_tried_again(pulse: Pulse) -> None:
    tried = threading.Semaphore(0)

    def work() -> bool:
        tried.release()
        raise RuntimeError("this turn fails")

    loop = Loop("failing", work, pulse=pulse, every=FAST)
    loop.start()
    assert tried.acquire(timeout=10)
    assert tried.acquire(timeout=10)
    assert loop.alive
    assert loop.failures >= 1


def test_work_that_has_more_to_do_is_called_at_once() -> None:
    pulse = Pulse(every=timedelta(hours=1))
    left = iter([True, True, False])
    done = threading.Event()

    def work() -> bool:
        more = next(left)
        if not more:
            done.set()
        return more

    Loop("busy", work, pulse=pulse, every=timedelta(hours=1)).start()
    assert done.wait(timeout=10)
    pulse.stop()


def test_backoff_doubles_to_an_hour() -> None:
    assert backoff(0) == timedelta(seconds=15)
    assert backoff(3) == timedelta(minutes=2)
    assert backoff(40) == timedelta(hours=1)
