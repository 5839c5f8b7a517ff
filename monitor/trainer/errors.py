"""How a training ends before its end.

::

    TrainingError
    ├── TrainingRefused   data, or the version that was made, did not pass
    ├── TrainingFailed    something was not there, or broke
    │   └── ProgramFailed
    ├── TrainingLost      another worker has it, or a person cancelled it
    └── ServiceAway       the service does not answer now
"""

from __future__ import annotations


class TrainingError(Exception):
    """The message is for people: it says what is missing, and where."""


class TrainingRefused(TrainingError):  # noqa: N818 (it says what happened)
    """Data, or the version that was made, did not pass; another try would not either."""


class TrainingFailed(TrainingError):  # noqa: N818 (it says what happened)
    """Something was not there, or broke; another try goes on from the step before."""


class ProgramFailed(TrainingFailed):
    """A program ended with a ``code`` other than 0; ``last`` is the last line that it said."""

    def __init__(self, message: str, *, code: int, last: str) -> None:
        super().__init__(message)
        self.code = code
        self.last = last


class TrainingLost(TrainingError):  # noqa: N818 (it says what happened)
    """Another worker has it, or a person cancelled it."""


class ServiceAway(TrainingError):  # noqa: N818 (it says what happened)
    """The service does not answer now."""
