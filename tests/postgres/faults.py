"""Other processes that use an embedded server, and ways to break what they use."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from monitor.postgres import ServerSettings
from monitor.postgres.folder import open_lock, try_exclusive
from monitor.postgres.process import live_postmaster

SMALL = ServerSettings(shared_buffers="16MB", max_connections=20)
PATIENCE_SECONDS = 180.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that must come about; how fast is not the question."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def server_pid(data_dir: Path) -> int:
    found = live_postmaster(data_dir / "postgres" / "cluster")
    assert found is not None
    return found.pid


def entirely_gone(data_dir: Path) -> bool:
    """Whether no process of the server is left: its lock is free."""
    descriptor = open_lock(data_dir / "postgres" / "server.lock")
    try:
        return try_exclusive(descriptor)
    finally:
        os.close(descriptor)


def rows(conninfo: str) -> list[int]:
    with psycopg.connect(conninfo) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM kept ORDER BY number")]


def keep(conninfo: str, number: int) -> None:
    """Store a number; once this returns the server has acknowledged it."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number integer)")
        connection.execute("INSERT INTO kept VALUES (%s)", [number])


def rows_when_back(conninfo: str) -> list[int]:
    found: list[list[int]] = []

    def answers() -> bool:
        try:
            found.append(rows(conninfo))
        except psycopg.OperationalError:
            return False
        return True

    until(answers)
    return found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Another process that uses the server of a folder."""

    process: subprocess.Popen[str]
    conninfo: str

    def leave(self) -> None:
        self.process.communicate()
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()
