"""The share of a window's requests that each detector can compare, and the gaps. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.detector import Detector
from detectors.profile import DetectorSide
from detectors.signals import SignalKind, main_signal, needed, settings_of
from detectors.types import Floats
from monitor.evaluate.calibrated import Calibrated
from monitor.policy.coverage import Cause, Coverage, Why, fewer_values
from monitor.strata import Strata, unlike

REFUSED: Final = 400
"""From this status on there is no answer, whether client or server is at fault."""

Rows = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Requests:
    """All requests of a window; arrays are ``(n,)``.

    ``skipped`` came while nothing was evaluated, ``late`` a day or more after they were
    made; these have no rows. ``waiting`` have a text that is not embedded yet.
    """

    signals: Mapping[str, Floats]
    strata: Strata
    skipped: int = 0
    late: int = 0
    waiting: int = 0

    def __len__(self) -> int:
        return int(self.strata.codes.size)


def coverage(
    detectors: Iterable[Detector[Any]],
    requests: Requests,
    calibrated: Calibrated | None,
    *,
    failed: frozenset[str] = frozenset(),
) -> tuple[Coverage, ...]:
    """Count for each detector the requests that it compares, and the reasons for the others.

    ``failed`` detectors raised an error. Those of feedback are left out: their numbers come
    when people give them.
    """
    return tuple(
        _covered(detector, requests, calibrated, failed=detector.name in failed)
        for detector in detectors
        if detector.profile.side is not DetectorSide.FEEDBACK
    )


def _covered(
    detector: Detector[Any],
    requests: Requests,
    calibrated: Calibrated | None,
    *,
    failed: bool,
) -> Coverage:
    n = len(requests)
    late = requests.late if not n else 0
    gaps = Counter(
        {
            Why(Cause.SKIPPED): requests.skipped,
            Why(Cause.LATE): late,
            Why(Cause.IMPORTED): requests.late - late,
        }
    )
    known = np.zeros(n, dtype=np.bool_)
    if calibrated is None:
        gaps[Why(Cause.NO_REFERENCE)] = n
    elif detector.name not in calibrated.by_detector:
        gaps[Why(Cause.NO_REFERENCE, "the reference does not measure it")] = n
    elif failed:
        gaps[Why(Cause.FAILED)] = n
    else:
        known = _comparable(
            detector.profile.told_by(calibrated.by_detector[detector.name].signals),
            requests,
            calibrated.strata_of(detector.name),
        )
        gaps += Counter(_gaps(detector, requests, calibrated, ~known))
    return Coverage(
        detector=detector.name,
        requests=n + requests.skipped + requests.late,
        compared=int(known.sum()),
        gaps=fewer_values({why: count for why, count in gaps.items() if count}),
        usual=1.0 if calibrated is None else calibrated.usual(detector.name),
    )


def _gaps(
    detector: Detector[Any], requests: Requests, calibrated: Calibrated, left: Rows
) -> Mapping[Why, int]:
    """Explain the records not compared; each by the first cause that holds."""
    found: Counter[Why] = Counter()
    signal = main_signal(detector)
    part = signal.part if signal is not None else None
    if part is None or not part.of_request:
        unanswered = left & _unanswered(requests.signals, left.size)
        found[Why(Cause.NO_ANSWER)] = int(unanswered.sum())
        left = left & ~unanswered
    needs = needed(detector.signals)
    known = calibrated.strata_of(detector.name)
    other = left & ~requests.strata.alike(known, needs) if needs else np.zeros_like(left)
    for code, count in _counted(requests.strata.codes[other]):
        differing = unlike(requests.strata.names[code], known, needs)
        found[Why(Cause.SETTINGS, ", ".join(map(str, differing)))] += count
    unmeasured = int((left & ~other).sum())
    if signal is not None and signal.kind is SignalKind.PROMPT:
        waiting = min(requests.waiting, unmeasured)
        found[Why(Cause.NOT_EMBEDDED)] = waiting
        unmeasured -= waiting
    if part is not None and part.of_some:
        found[Why(Cause.NO_ANSWER)] += unmeasured
    else:
        lacking = part.field if part is not None else detector.name
        found[Why(Cause.NOT_MEASURED, lacking)] += unmeasured
    return found


def _comparable(signals: Iterable[str], requests: Requests, known: Sequence[str]) -> Rows:
    """Return for each request whether one of the signals can be compared."""
    found = np.zeros(len(requests), dtype=np.bool_)
    for name in signals:
        if name in requests.signals:
            alike = requests.strata.alike(known, settings_of(name))
            found |= alike & ~np.isnan(requests.signals[name])
    return found


def _unanswered(signals: Mapping[str, Floats], n: int) -> Rows:
    unknown = np.full(n, np.nan)
    refused = signals.get("status", unknown) >= REFUSED
    empty = signals.get("n_tokens", unknown) == 0.0
    rows: Rows = (signals.get("error", unknown) == 1.0) | refused | empty
    return rows


def _counted(codes: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    values, counts = np.unique(codes, return_counts=True)
    return list(zip(values.tolist(), counts.tolist(), strict=True))
