"""The clock may sleep; the loops must not."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.schedule import Loop, Pulse, backoff
from tests.clocks import WallClock, needs_faketime

FAST = timedelta(milliseconds=50)
YEAR = timedelta(days=365)


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    pulse = Pulse(every=FAST)
    yield pulse
    pulse.stop()


def test_waiting_loops_are_woken_again_and_again(pulse: Pulse) -> None:
    turns = threading.Semaphore(0)

    def turn() -> bool:
        turns.release()
        return False

    loop = Loop("turning", turn, pulse=pulse, every=FAST)
    loop.start()
    assert all(turns.acquire(timeout=10) for _ in range(3))
    pulse.stop()
    assert loop.join(timeout=10)


def test_a_clock_that_sleeps_is_started_anew_and_loops_go_on(pulse: Pulse) -> None:
    # what a wall clock set back by an hour does to APScheduler: no job runs until then
    pulse._scheduler.pause()  # noqa: SLF001 - what it plans shows nowhere else
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
    assert not loop.join(timeout=0)
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


def test_a_loop_that_is_woken_turns_at_once_and_once_more_after_the_turn_in_hand() -> None:
    pulse = Pulse(every=timedelta(hours=1))
    turns, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def work() -> bool:
        turns.release()
        go_on.acquire(timeout=60)
        return False

    loop = Loop("woken", work, pulse=pulse, every=timedelta(hours=1))
    loop.start()
    assert turns.acquire(timeout=60)
    loop.wake()  # in the middle of a turn
    go_on.release()
    assert turns.acquire(timeout=60)
    go_on.release()
    loop.wake()
    assert turns.acquire(timeout=60)
    go_on.release()
    pulse.stop()
    assert loop.join(timeout=60)


def test_backoff_doubles_to_an_hour() -> None:
    assert backoff(0) == timedelta(seconds=15)
    assert backoff(3) == timedelta(minutes=2)
    assert backoff(40) == timedelta(hours=1)


def test_a_clock_that_jumped_a_year_leaves_one_beat_to_make_up_for(pulse: Pulse) -> None:
    [job] = pulse._scheduler.get_jobs()  # noqa: SLF001 - what it plans shows nowhere else
    listed: list[datetime] = job._get_run_times(datetime.now(UTC) + timedelta(days=366))  # noqa: SLF001 - what it plans shows nowhere else
    assert len(listed) == 1


JUMPING = """
import os, resource, sys, time
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what is logged is no answer
from datetime import timedelta
from monitor.schedule import Pulse
pulse = Pulse(every=timedelta(milliseconds=200))
beats = 0
for line in sys.stdin:
    before, until = beats, time.monotonic() + float(line)
    while time.monotonic() < until:
        last = pulse.last_beat
        pulse.wait(timedelta(milliseconds=200))
        beats += pulse.last_beat != last
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(beats - before, peak, time.time(), file=answers, flush=True)
pulse.stop()
"""


@needs_faketime
def test_the_beat_goes_on_in_constant_memory_through_jumps_of_a_year(tmp_path: Path) -> None:
    clock = WallClock(tmp_path / "clock")
    child = subprocess.Popen(
        [sys.executable, "-c", JUMPING],
        env=os.environ | clock.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None

    def watched(shift: timedelta, seconds: float) -> tuple[float, float]:
        """Beats and peak MiB while the clock is this far off."""
        clock.move(shift)
        print(seconds, file=child.stdin, flush=True)
        beats, peak, now = child.stdout.readline().split()  # type: ignore[union-attr]  # asserted
        assert abs(float(now) - time.time() - shift.total_seconds()) < 60.0
        return float(beats), float(peak)

    with child:
        try:
            _, usual = watched(timedelta(), 1.0)
            # back a year: five beats are missed, then the clock is started anew
            for shift in (YEAR, timedelta(), -YEAR, timedelta(), YEAR):
                beats, peak = watched(shift, 3.0)
                assert beats >= 2
                assert peak < usual + 32.0
        finally:
            child.kill()
