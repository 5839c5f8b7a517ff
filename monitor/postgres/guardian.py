"""Stop a server whose users are all gone: run as a program, one beside each started server.

A process that is killed cannot stop its server. This one waits until nobody has held the users'
lock for a while, which leaves time for a restarted Driftline to adopt the server, and then shuts
it down. It ends with the server. Only the standard library, so that it stays small and starts
fast: ``python -I -S guardian.py CONTROL_LOCK USERS_LOCK PIDFD``.
"""

import fcntl
import os
import select
import signal
import sys
from pathlib import Path

GRACE_SECONDS = 10.0
_POLL_SECONDS = 2.0
_SHUTDOWN_SECONDS = 60.0


def guard(control: Path, users: Path, *, pidfd: int, grace_seconds: float) -> None:
    """Wait for the end of the server; bring it about once nobody has used it for the grace time.

    Parameters
    ----------
    control, users
        Paths of the lock files.
    pidfd
        Descriptor of the server's process: unlike its id it can never come to mean another one.
    grace_seconds
        How long the server may be without users.
    """
    unused = 0.0
    while not _ended(pidfd, _POLL_SECONDS):
        try:
            with control.open("r+b") as control_file, users.open("r+b") as users_file:
                fcntl.flock(control_file, fcntl.LOCK_EX)
                unused = unused + _POLL_SECONDS if _nobody_holds(users_file.fileno()) else 0.0
                if unused >= grace_seconds:
                    _shut_down(pidfd)
        except FileNotFoundError:  # the data folder was deleted: there is nothing left to serve
            _shut_down(pidfd)


def _nobody_holds(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _shut_down(pidfd: int) -> None:
    for number in (signal.SIGINT, signal.SIGQUIT):
        if not _ended(pidfd, 0):
            signal.pidfd_send_signal(pidfd, number)
            _ended(pidfd, _SHUTDOWN_SECONDS)


def _ended(pidfd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


if __name__ == "__main__":
    os.chdir("/")
    locks = Path(sys.argv[1]), Path(sys.argv[2])
    guard(*locks, pidfd=int(sys.argv[3]), grace_seconds=GRACE_SECONDS)
