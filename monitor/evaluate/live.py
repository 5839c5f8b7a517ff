"""Score the live detectors of one kind (hard every minute, the others every interval). Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog

from detectors.detector import Detector
from detectors.types import State
from monitor.domain import EvaluationKind
from monitor.evaluate.coverage import coverage
from monitor.evaluate.evaluated import Evaluated, expected_silence, facts_of
from monitor.evaluate.findings import (
    BesideReference,
    DetectorQuestion,
    Finding,
    Lookback,
    beside_answers,
    failed,
    find,
)
from monitor.evaluate.reading import Reading
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy.coverage import CoveredWindow
from monitor.policy.crossings import QUARANTINE_AFTER

_LOG = structlog.get_logger(__name__)

Ask = Callable[[DetectorQuestion, EvaluateSettings], Finding]
"""Asks a detector; a replay may return an answer that it knows already."""


def score(
    kind: EvaluationKind,
    reading: Reading,
    lookback: Lookback,
    settings: EvaluateSettings,
    *,
    at: datetime,
    probe_available: bool,
    ask: Ask = find,
) -> Evaluated:
    """Ask every detector of this kind that the reference carries.

    A detector that raises gives an error for itself alone; after five in a row it is not
    asked again until the version has a new reference.
    """
    chosen = settings.detectors_of(kind)
    carried = reading.calibrated.by_detector if reading.calibrated is not None else {}
    questions = [
        _question(detector, reading, lookback, settings)
        for detector in chosen
        if detector.name in carried
        and reading.memory.failures.get(detector.name, 0) < QUARANTINE_AFTER
    ]
    findings = []
    for question in questions:
        try:
            findings.append(ask(question, settings))
        except Exception as error:  # noqa: BLE001 (one detector of many)
            detector, version = question.detector, reading.version.label
            _LOG.exception("detector_failed", detector=detector.name, version=version)
            findings.append(failed(detector, error, settings))
    findings = beside_answers(findings, questions)
    worked = {finding.detector for finding in findings if finding.fact.error is None}
    covered = coverage(
        chosen,
        reading.requests,
        reading.calibrated,
        failed=frozenset(detector.name for detector in chosen) - worked,
    )
    return Evaluated(
        reading=reading,
        facts=replace(
            facts_of(kind, reading, settings, at=at, probe_available=probe_available),
            detectors=tuple(finding.fact for finding in findings),
            covered=CoveredWindow(
                end=reading.interval.end, by_detector={one.detector: one for one in covered}
            ),
            probe_due=reading.probe_due,
            probe_stopped=reading.probe_stopped,
            probe_running=reading.probe_running,
        ),
        findings=tuple(findings),
        silence=expected_silence(reading, now=at, records=settings.silence_records),
    )


def _question(
    detector: Detector[Any], reading: Reading, lookback: Lookback, settings: EvaluateSettings
) -> DetectorQuestion:
    calibrated, name = reading.calibrated, detector.name
    assert calibrated is not None  # noqa: S101 (only detectors that a reference carries are asked)
    return DetectorQuestion(
        detector=detector,
        reference=calibrated.by_detector[name],
        window=reading.window_of(name),
        state=reading.states.get(name, State()),
        budget=reading.budget_of(name, settings),
        memory=reading.memory,
        lookback=lookback,
        beside=[
            BesideReference(
                number=number, reference=one.by_detector[name], window=window, young=one.young
            )
            for number, (one, window) in enumerate(
                zip(calibrated.beside, reading.beside, strict=True)
            )
            if name in one.by_detector
        ],
    )
