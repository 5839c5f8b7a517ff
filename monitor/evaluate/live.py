"""Score the live detectors of one kind (hard every minute, the others every interval)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import structlog

from detectors import DETECTORS
from detectors.feedback import FEEDBACK
from detectors.types import Detector, State, Window
from monitor.domain import EvaluationKind, Interval
from monitor.evaluate.calibrated import Beside
from monitor.evaluate.coverage import coverage
from monitor.evaluate.findings import Finding, Part, Question, beside_answers, failed, find
from monitor.evaluate.lookback import Lookback
from monitor.evaluate.reading import Reading, budget_of
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy.coverage import CoveredWindow
from monitor.policy.crossings import QUARANTINE_AFTER

_LOG = structlog.get_logger(__name__)

Ask = Callable[[Question, EvaluateSettings], Finding]
"""How a detector is asked; a replay may know its answer already."""


def find_all(
    kind: EvaluationKind,
    reading: Reading,
    lookback: Lookback,
    settings: EvaluateSettings,
    *,
    ask: Ask = find,
) -> list[Finding]:
    """Ask every detector of this kind that the reference can carry.

    A detector that raises gives an error for itself alone; after five in a row it is asked
    no more until the version has a new reference.
    """
    if reading.calibrated is None:
        return []
    questions = [
        _question(detector, reading, lookback, settings)
        for detector in _detectors(kind, settings)
        if detector.name in reading.calibrated.by_detector
        and reading.memory.failures.get(detector.name, 0) < QUARANTINE_AFTER
    ]
    findings = [_ask(ask, question, reading, settings) for question in questions]
    return beside_answers(findings, questions)


def covered(
    kind: EvaluationKind,
    reading: Reading,
    findings: Iterable[Finding],
    settings: EvaluateSettings,
    *,
    window: Interval,
) -> CoveredWindow:
    """Say how much of the window's requests each detector of this kind compared."""
    asked = _detectors(kind, settings)
    worked = {finding.detector for finding in findings if finding.fact.error is None}
    found = coverage(
        asked,
        reading.requests,
        reading.calibrated,
        failed=frozenset(detector.name for detector in asked) - worked,
    )
    return CoveredWindow(end=window.end, by_detector={one.detector: one for one in found})


def effect_size(findings: Iterable[Finding]) -> float | None:
    """Say how large the largest effect surely is, in [0, 100]; it sorts adapters of one verdict.

    The largest lower end of a detector's 95 % interval in units of its margin, bent so
    that one margin is 50, two are 75. None when nothing was measured.
    """
    known = [
        float(np.clip(f.score.interval[0] / f.fact.margin, 0.0, 50.0))
        for f in findings
        if f.score is not None and np.isfinite(f.score.interval[0])
    ]
    return 100.0 * (1.0 - 2.0 ** -max(known)) if known else None


def _detectors(kind: EvaluationKind, settings: EvaluateSettings) -> list[Detector[Any]]:
    chosen = [DETECTORS[name] for name in settings.detectors]
    return [d for d in chosen if d.hard is (kind is EvaluationKind.HARD)]


def _beside(
    detector: Detector[Any], reading: Reading, windows: Sequence[Window]
) -> list[tuple[Beside, Window]]:
    """Pair the references beside that carry a detector with their windows."""
    if reading.calibrated is None:
        return []
    pairs = zip(reading.calibrated.beside, windows, strict=True)
    return [(one, window) for one, window in pairs if detector.name in one.by_detector]


def _question(
    detector: Detector[Any], reading: Reading, lookback: Lookback, settings: EvaluateSettings
) -> Question:
    assert reading.calibrated is not None  # noqa: S101 (find_all asks only then)
    return Question(
        detector=detector,
        reference=reading.calibrated.by_detector[detector.name],
        window=reading.window_of(detector.name),
        state=reading.states.get(detector.name, State()),
        budget=budget_of(reading, settings, detector.name),
        recent=lambda: lookback.feedback if detector.name == FEEDBACK.name else lookback.recent,
        past=partial(lookback.past, detector.name),
        memory=reading.memory,
        beside=[
            Part(reference=one.by_detector[detector.name], window=window, young=one.young)
            for one, window in _beside(detector, reading, reading.beside)
        ],
        recent_beside=lambda: [
            window for _, window in _beside(detector, reading, lookback.recent_beside)
        ],
    )


def _ask(ask: Ask, question: Question, reading: Reading, settings: EvaluateSettings) -> Finding:
    detector = question.detector
    try:
        return ask(question, settings)
    except Exception as error:  # noqa: BLE001 (one detector of many)
        _LOG.exception("detector_failed", detector=detector.name, version=reading.version.label)
        return failed(detector, error, settings)
