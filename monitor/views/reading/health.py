"""How a version is, from the message that would be written of it now."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from alerts.brief import brief
from alerts.titles import began, headline, quiet
from alerts.types import VerdictKind
from monitor.domain import VerdictSeverity, Version
from monitor.outbox.present import NEAR, newest
from monitor.store.evaluation import verdicts
from monitor.views.health import HealthBody


def read(tx: Connection, of: Version, *, now: datetime, margin: timedelta = NEAR) -> HealthBody:
    """Read how a version is."""
    found = newest(tx, of, margin=margin, now=now)
    if found is None:
        return _quiet(tx, of)
    alert, row = found
    said = brief(alert)
    return HealthBody(
        sentence=headline(alert),
        severity=VerdictSeverity(alert.severity.value),
        since=began(alert),
        impact=said.impact,
        cause=said.cause,
        done=said.done,
        steps=said.steps,
        incident=row.id if row else None,
    )


def _quiet(tx: Connection, of: Version) -> HealthBody:
    judged = verdicts.current(tx, version_id=of.id)
    verdict = judged.verdict if judged else None
    return HealthBody(
        sentence=quiet(verdict.kind if verdict else VerdictKind.LEARNING),
        severity=VerdictSeverity.NONE,
        since=verdict.since if verdict else None,
        impact="",
        cause="",
        done="",
        steps=(),
        incident=None,
    )
