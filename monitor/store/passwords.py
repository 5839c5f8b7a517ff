"""Passwords of the database that a command prints: tokens of a cloud's IAM, of a vault."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

import psycopg

KEPT: Final = timedelta(minutes=1)
"""How long one password serves new connections; such tokens live for minutes."""
PAUSE: Final = timedelta(seconds=5)
"""The least time between two that are asked for because the server refused the last one."""
PATIENCE: Final = timedelta(seconds=15)


class PasswordCommand:
    """Asks a command for the password of each new connection; threads may share it.

    The command gets no input, and learns by ``PGUSER``, ``PGHOST`` and ``PGPORT`` whose password is
    wanted. Neither its output nor its errors are ever logged.
    """

    def __init__(
        self, command: Sequence[str], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._command = tuple(command)
        self._monotonic = monotonic
        self._kept: dict[tuple[str, ...], tuple[float, str]] = {}
        self._again: dict[tuple[str, ...], float] = {}
        self._asking = threading.Lock()

    def __call__(
        self, *, user: str = "", host: str = "", port: str = "", refused: str | None = None
    ) -> str:
        """Return the password of a user at a server, at most a minute old.

        Parameters
        ----------
        refused
            The password that the server has just refused. If it is still kept, the command is asked
            again, at most once in :data:`PAUSE`.

        Raises
        ------
        psycopg.OperationalError
            The command failed, took too long, or printed nothing: as if no connection could be
            made, so that it is tried again.
        """
        whose = (user, host, port)
        with self._asking:
            now = self._monotonic()
            kept = self._kept.get(whose)
            if kept and kept[1] == refused and now >= self._again.get(whose, now):
                self._again[whose] = now + PAUSE.total_seconds()
                kept = None
            if kept is None or now - kept[0] > KEPT.total_seconds():
                self._kept.pop(whose, None)
                kept = self._kept[whose] = (now, self._asked(whose))
            return kept[1]

    def _asked(self, whose: tuple[str, ...]) -> str:
        program = self._command[0]
        names = ("PGUSER", "PGHOST", "PGPORT")
        try:
            ran = subprocess.run(  # noqa: S603 (of the configuration, which its owner wrote)
                self._command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PATIENCE.total_seconds(),
                check=False,
                env=os.environ | dict(zip(names, whose, strict=True)),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise psycopg.OperationalError(
                f"database.password_command: {program}: {type(error).__name__}"
            ) from None
        password = ran.stdout.decode(errors="replace").strip()
        if ran.returncode or not password:
            raise psycopg.OperationalError(
                f"database.password_command: {program} ended with {ran.returncode}"
                f" and {'a' if password else 'no'} password"
            )
        return password
