"""Small worlds in a real database: adapters, versions, verdicts, incidents, messages."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Connection

from alerts import incident as machine
from alerts.message import Alert
from alerts.message import to_json as alert_to_json
from alerts.types import Blame, Kind, Status, VerdictKind
from alerts.types import Severity as Urgency
from alerts.types import VerdictKind as Word
from monitor.domain import IncidentId, Transition, Verdict, VerdictSeverity, Version
from monitor.policy import Memory
from monitor.store.evaluation import verdicts
from monitor.store.incidents import incidents
from monitor.store.incidents.incidents import IncidentUpdate, StoredKey
from monitor.store.registry import adapters, versions

NOW = datetime(2026, 3, 4, 14, 10, tzinfo=UTC)

SEVERITIES = {
    VerdictKind.CRITICAL: VerdictSeverity.PAGE,
    VerdictKind.DRIFTING: VerdictSeverity.TICKET,
}


def register(
    tx: Connection, adapter: str = "support", *names: str, parent: str | None = None
) -> Version:
    """Register an adapter with versions; return the last. ``parent`` is the last one's."""
    known = adapters.put(tx, name=adapter, owner="ann", labels={"team": "care"})
    for name in names or ("v7",):
        last = name == (names or ("v7",))[-1]
        version = versions.put(
            tx,
            adapter=known,
            name=name,
            model=f"{adapter}@{name}",
            parent=parent if last else None,
        )
    return version


def verdict(kind: VerdictKind, *, since: datetime = NOW, blame: Blame = Blame.ADAPTER) -> Verdict:
    return Verdict(
        kind=kind,
        severity=SEVERITIES.get(kind, VerdictSeverity.NONE),
        blame=blame,
        reason=f"evidence says {kind.value}",
        since=since,
    )


def transition(
    version: Version, after: VerdictKind, *, before: VerdictKind = VerdictKind.STABLE
) -> Transition:
    return Transition(version=version, before=before, after=verdict(after), at=NOW)


def judge(tx: Connection, version: Version, judged: Verdict) -> None:
    """Store a verdict as an evaluation does."""
    verdicts.claim_row(tx, version_id=version.id, adapter_id=version.adapter_id)
    verdicts.put(tx, version_id=version.id, verdict=judged, memory=Memory(), size=None)


def message(number: int = 1, status: Status = Status.STARTED) -> dict[str, object]:
    at = NOW + timedelta(minutes=number)
    return alert_to_json(
        Alert(
            id=f"driftline:support@v7:drift:{number}",
            number=number,
            kind=Kind.DRIFT,
            adapter="support",
            version="v7",
            status=status,
            severity=Urgency.PAGE,
            verdict=Word.CRITICAL,
            summary=f"support@v7: message {number}",
            reason="evidence 1.6 >= 0",
            at=at,
            started_at=at,
        )
    )


def incident(tx: Connection, version: Version, number: int = 1) -> IncidentId:
    """Store an incident that is over, so that any number of them can stand side by side."""
    state = machine.IncidentState(number=number)
    update = IncidentUpdate(
        number=number,
        phase="ok",
        state=machine.to_json(state),
        severity=VerdictSeverity.PAGE,
        blame=Blame.ADAPTER,
        summary=f"incident {number}",
        opened_at=NOW,
        closed_at=NOW,
    )
    return incidents.put(tx, StoredKey.of(version, "drift"), update)


def count(tx: Connection, table: sa.Table) -> int:
    return int(tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
