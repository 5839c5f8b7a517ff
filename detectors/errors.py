"""The errors of building or reading a reference.

    DetectorError
    ├── ReferenceTooSmall      wait for more records, or give the detector up for this adapter
    ├── SignalAbsent           this adapter never sends what the detector reads
    ├── ReferenceUnreadable    a stored reference of another kind or a newer version
    └── StateMismatch          a process state that belongs to another reference

An *odd* window is never an error: empty, constant, tied, all NaN or infinite values are
answered with a score.
"""

from __future__ import annotations

_SHORT = 3


class DetectorError(Exception):
    """Root of everything this package raises on purpose."""


class ReferenceTooSmall(DetectorError):  # noqa: N818 - it is a state to wait out, not a fault
    """A signal has too few measured baseline values for a comparison."""

    def __init__(self, *, signal: str, needed: int, got: int) -> None:
        super().__init__(f"{signal}: {got} measured baseline values, {needed} needed")
        self.signal = signal
        self.needed = needed
        self.got = got


class SignalAbsent(DetectorError):  # noqa: N818 - it is a fact about the adapter, not a fault
    """None of the detector's signals was ever measured in the baseline."""

    def __init__(self, *, signals: tuple[str, ...]) -> None:
        super().__init__(
            f"the baseline never measured any of: {', '.join(_runs(signals))}"
            if signals
            else "nothing is named that it could compare"
        )
        self.signals = signals


def _runs(signals: tuple[str, ...]) -> list[str]:
    """Shorten a numbered family to its ends: ``topic_1 … topic_12``."""
    families: dict[str, list[str]] = {}
    for signal in signals:
        families.setdefault(signal.rstrip("0123456789"), []).append(signal)
    return [
        " … ".join((names[0], names[-1])) if len(names) > _SHORT else ", ".join(names)
        for names in families.values()
    ]


class ReferenceUnreadable(DetectorError):  # noqa: N818 - reads better where it is caught
    """Stored bytes are not a reference of this detector and version."""


class StateMismatch(DetectorError):  # noqa: N818 - reads better where it is caught
    """A process state has another shape than the reference's scores; start a fresh one."""

    def __init__(self, *, needed: tuple[int, ...], got: tuple[int, ...]) -> None:
        super().__init__(f"state of shape {got}, the reference needs {needed}: start afresh")
        self.needed = needed
        self.got = got
