"""The error for a folder that cannot be inspected."""

from __future__ import annotations

from enum import StrEnum


class Remedy(StrEnum):
    """A refusal, by what the folder's owner can do about it."""

    MISSING = "missing"
    """The folder is missing, or not readable by this process."""
    UNSUPPORTED = "unsupported"
    """The files are fine, but of a kind that is not inspected."""
    DAMAGED = "damaged"
    """No engine should load it."""


class WeightsRefused(Exception):  # noqa: N818 - says what happened by its name
    """The folder cannot be inspected; the message names the file and its fault.

    Messages hold names and numbers of the files, never their contents.
    """

    def __init__(self, reason: str, *, refusal: Remedy) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refusal = refusal


def damaged(reason: str) -> WeightsRefused:
    """The files are damaged."""
    return WeightsRefused(reason, refusal=Remedy.DAMAGED)


def missing(reason: str) -> WeightsRefused:
    """The files are out of reach."""
    return WeightsRefused(reason, refusal=Remedy.MISSING)


def unsupported(reason: str) -> WeightsRefused:
    """The files are of a kind that is not inspected."""
    return WeightsRefused(reason, refusal=Remedy.UNSUPPORTED)
