"""The results of an evaluation before they are judged. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alerts.types import Severity
from detectors.types import Score
from monitor.domain import EvaluationKind
from monitor.evaluate.findings import Finding
from monitor.evaluate.reading import DAY, Reading
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy import Facts, ReferenceStage


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluated:
    """The findings of one window, ready to be judged and written.

    ``findings`` come from live detectors. ``scores`` holds scores of other origin
    (perplexity) by detector name. ``silence`` is the severity of the absence of records.
    """

    reading: Reading
    facts: Facts
    findings: tuple[Finding, ...] = ()
    scores: Mapping[str, Score] = field(default_factory=dict)
    silence: Severity | None = None


def facts_of(
    kind: EvaluationKind,
    reading: Reading,
    settings: EvaluateSettings,
    *,
    at: datetime,
    probe_available: bool,
) -> Facts:
    """Return the facts that the rules need from the data read; findings are added later."""
    calibrated, last_at = reading.calibrated, reading.recent.last_at
    stage = ReferenceStage.NONE
    if calibrated is not None and calibrated.reference.replaced:
        stage = ReferenceStage.REPLACED
    elif calibrated is not None:
        provisional = calibrated.reference.provisional
        stage = ReferenceStage.PROVISIONAL if provisional else ReferenceStage.APPROVED
    return Facts(
        at=at,
        kind=kind,
        reference=stage,
        reference_id=calibrated.reference.id if calibrated is not None else None,
        n_day=reading.recent.compared,
        traffic=last_at is not None and last_at >= at - settings.policy.recovery_window,
        probe_available=probe_available,
        classic=settings.is_classic(reading.version.adapter),
        enabled=frozenset(settings.detectors),
    )


def expected_silence(reading: Reading, *, now: datetime, records: int) -> Severity | None:
    """Return TICKET if the reference's rate promised ``records`` since the last one and none came.

    It looks back 24 h at most, and not beyond the present route: a version without a share
    is expected to have no traffic, nor is one before it got its share.
    """
    if reading.in_charge_since is None or reading.calibrated is None:
        return None
    since = max(reading.recent.last_at or now - DAY, reading.in_charge_since)
    expected = (now - since) / timedelta(hours=1) * reading.calibrated.hourly_rate
    return Severity.TICKET if expected >= records else None
