"""The failures of a command: one message for people, one exit code for scripts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes that scripts can rely on. 2 is Typer's own: wrong usage."""

    OK = 0
    FAILED = 1
    DRIFTING = 3
    CRITICAL = 4
    DIFFERENT = 5


class CommandFailed(Exception):  # noqa: N818 (reads as a sentence where it is raised)
    """The command cannot do its work; the message says what to do about it."""

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class NotAnswering(CommandFailed):
    """The service does not answer, or cannot do its work now: the same may work in a while."""


@contextmanager
def failing(
    *errors: type[Exception], of: object = "", exit_code: ExitCode = ExitCode.FAILED
) -> Iterator[None]:
    """Let the command fail by these errors, in their words; ``of`` is named before them."""
    try:
        yield
    except errors as error:
        said = f"{of}: {error}" if of else str(error)
        raise CommandFailed(said, exit_code=exit_code) from None
