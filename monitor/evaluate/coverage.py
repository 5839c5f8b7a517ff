"""The share of a window's requests that each detector can compare, and the gaps. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.feedback import FEEDBACK
from detectors.input_similarity import INPUT_SIMILARITY
from detectors.types import Detector, Floats
from monitor.evaluate.calibrated import Calibrated
from monitor.policy.coverage import Cause, Coverage, Why, fewer_values
from monitor.strata import NEEDS, Strata, needed, telling, unlike

OF_REQUESTS: Final = frozenset({"errors", "input_similarity", "prompt_prefix"})
"""Detectors that compare the request even without an answer; all others need one."""
OF_SOME: Final = frozenset({"invalid"})
"""Detectors that have no value for most requests, however the client is made."""

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

    ``failed`` detectors raised an error. ``feedback`` is left out: its numbers come when
    people give them.
    """
    return tuple(
        _covered(detector, requests, calibrated, failed=detector.name in failed)
        for detector in detectors
        if detector.name != FEEDBACK.name
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
            telling(detector.name, calibrated.by_detector[detector.name].signals),
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
    if detector.name not in OF_REQUESTS:
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
    if detector.name == INPUT_SIMILARITY.name:
        waiting = min(requests.waiting, unmeasured)
        found[Why(Cause.NOT_EMBEDDED)] = waiting
        unmeasured -= waiting
    nothing = Cause.NO_ANSWER if detector.name in OF_SOME else Cause.NOT_MEASURED
    found[Why(nothing, "" if detector.name in OF_SOME else _lacking(detector))] += unmeasured
    return found


def _comparable(signals: Iterable[str], requests: Requests, known: Sequence[str]) -> Rows:
    """Return for each request whether one of the signals can be compared."""
    found = np.zeros(len(requests), dtype=np.bool_)
    for name in signals:
        if name in requests.signals:
            alike = requests.strata.alike(known, NEEDS.get(name, frozenset()))
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


_LACKING: Final[Mapping[str, str]] = {
    "logit_ks": "log-probabilities",
    "entropy": "top log-probabilities",
    "missing": "log-probabilities",
    "non_finite": "log-probabilities",
    "input_similarity": "the prompt's text",
    "prompt_length": "prompt_tokens",
    "prompt_prefix": "the prompt's text",
    "output_similarity": "the answer's text",
    "answer_format": "the answer's text",
    "repetition": "the answer's text",
    "refusal": "the answer's text",
    "empty": "the answer's text or its length",
    "truncated": "finish_reason",
    "errors": "status",
    "latency": "latency_ms",
}


def _lacking(detector: Detector[Any]) -> str:
    """Name the field that a record needs for the detector."""
    return _LACKING.get(detector.name, detector.name)
