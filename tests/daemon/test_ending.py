"""The end has a limit, and work in hand has less the later it comes to its turn."""

import threading
from datetime import timedelta

from monitor.daemon.ending import LATE, ORDERLY, Shutdown

SOON = timedelta(milliseconds=50)
MOST = timedelta(seconds=8)


def test_what_hangs_is_left_after_the_limit_and_children_are_killed_first() -> None:
    done: list[str] = []
    left = threading.Event()

    def leave(status: int) -> None:
        done.append(f"left with {status}")
        left.set()

    ending = Shutdown(last=SOON, leave=leave)
    ending.kills(lambda: done.append("killed"))
    ending.kills(left.wait)  # one that hangs is not waited for
    ending.begin()
    ending.begin()
    assert left.wait(10)
    assert done == ["killed", f"left with {LATE}"]


def test_before_the_signal_a_part_has_all_its_time_and_after_it_what_is_left() -> None:
    ending = Shutdown(leave=lambda _status: None)
    assert ending.left(MOST) == MOST.total_seconds()
    ending.begin()
    assert ending.left(MOST) == MOST.total_seconds()
    assert ending.left(timedelta(minutes=5)) <= ORDERLY.total_seconds()
