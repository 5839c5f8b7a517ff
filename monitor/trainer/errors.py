"""How a training ends before its end."""

from __future__ import annotations


class TrainingError(Exception):
    """The message is for people: it says what is missing, and where."""


class TrainingRefused(TrainingError):  # noqa: N818 (it says what happened)
    """Data, or the version that was made, did not pass; another try would not either."""


class TrainingFailed(TrainingError):  # noqa: N818 (it says what happened)
    """Something was not there, or broke; another try goes on from the step before."""


class TrainingLost(TrainingError):  # noqa: N818 (it says what happened)
    """Another worker has it, or a person cancelled it."""


class ServiceAway(TrainingError):  # noqa: N818 (it says what happened)
    """The service does not answer now."""
