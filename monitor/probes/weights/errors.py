"""Why a folder is not inspected: one error, whatever is wrong with the files."""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """What the folder's owner can do about it."""

    MISSING = "missing"
    """It is not there, or not readable by this process."""
    UNSUPPORTED = "unsupported"
    """Its files are fine and of a kind that is not inspected."""
    DAMAGED = "damaged"
    """No engine should load it."""


class WeightsRefused(Exception):  # noqa: N818 - says what happened by its name
    """The folder cannot be inspected; the message names the file and what is wrong with it.

    Messages carry names and numbers of the files, never their contents.
    """

    def __init__(self, reason: str, *, refusal: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refusal = refusal


def damaged(reason: str) -> WeightsRefused:
    """The files are wrong."""
    return WeightsRefused(reason, refusal=Refusal.DAMAGED)


def missing(reason: str) -> WeightsRefused:
    """The files are out of reach."""
    return WeightsRefused(reason, refusal=Refusal.MISSING)


def unsupported(reason: str) -> WeightsRefused:
    """The files are of another kind."""
    return WeightsRefused(reason, refusal=Refusal.UNSUPPORTED)
