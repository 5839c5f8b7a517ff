"""A fleet as a page may meet it: one critical, one drifting, the others at peace."""

import math
import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from alerts import incident as machine
from alerts.message import to_json
from alerts.types import Blame, Kind, VerdictKind
from alerts.types import Severity as Urgency
from detectors.types import Process
from monitor.domain import (
    Adapter,
    ArmKind,
    EvaluationId,
    EvaluationKind,
    IncidentId,
    Interval,
    Transition,
    Verdict,
    VerdictSeverity,
    Version,
)
from monitor.outbox.present import NEAR, of_incident
from monitor.policy import Memory
from monitor.store import partitions
from monitor.store.evaluation import evaluations, tasks, verdicts
from monitor.store.evaluation.evaluations import ScoreRow
from monitor.store.incidents import incidents, outbox
from monitor.store.incidents.incidents import IncidentUpdate, StoredKey
from monitor.store.records import capture_counts
from monitor.store.registry import adapters, versions
from monitor.store.tables.evaluations import scores
from monitor.store.tables.incidents import outbox as outbox_table
from monitor.store.tables.references import references
from monitor.store.tables.registry import versions as versions_table
from monitor.store.tables.traffic import route_history
from monitor.store.tables.traffic import routes as routes_table
from monitor.store.traffic import routes
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from monitor.web.wording import path_part
from tests.found import found

__all__ = ["DETECTORS", "incidents", "path_part", "seed", "table"]

DETECTORS = ("logit_ks", "perplexity", "entropy", "input_similarity", "repetition", "missing")
WINNERS = {
    "perplexity": "perplexity:ratio",
    "entropy": "entropy:up",
    "input_similarity": "similarity:bottom5%",
    "repetition": "loop:rate",
    "missing": "missing:rate",
}
QUIET = ("billing", "catalogue", "legal-summaries", "onboarding", "sales/eu", "search-rewrite")


def seed(tx: Connection, *, now: datetime, days: float = 7.0) -> None:
    """Fill a database with eleven adapters; two have a week of history."""
    start = now - timedelta(days=days)
    span = (now.date() - start.date()).days
    partitions.ensure(
        tx, [start.date() + timedelta(days=i) for i in range(span + 1)], tables=["scores"]
    )
    _critical(tx, now=now, start=start)
    _drifting(tx, now=now, start=start)
    for name in QUIET:
        version = registered(tx, name, "v1", owner="growth", now=now - timedelta(days=20))
        add_reference(tx, version, now=now - timedelta(days=6))
        put_verdict(tx, version, a_verdict(VerdictKind.STABLE, now - timedelta(days=5)), drift=4.0)
        put_count(tx, version, now=now, count=167)
        put_scores(tx, version, now=now, start=now - timedelta(hours=1), onset=None)
    _others(tx, now=now)


def _critical(tx: Connection, *, now: datetime, start: datetime) -> None:
    onset = now - timedelta(hours=3, minutes=10)
    paged, moved = onset + timedelta(minutes=40), onset + timedelta(minutes=44)
    before = registered(tx, "support", "v6", owner="care-team", now=start - timedelta(days=20))
    put_verdict(tx, before, a_verdict(VerdictKind.STABLE, start), drift=3.0)
    version = registered(tx, "support", "v7", owner="care-team", now=start)
    promoted(tx, version, at=start)
    add_reference(tx, version, now=start)
    put_scores(tx, version, now=now, start=start, onset=onset, strength=1.0, served_until=moved)
    reason = found("logit_ks", "mean_nll:up", evidence=1.84, n=612, effect=(0.41, 0.33))
    judged = a_verdict(
        VerdictKind.CRITICAL,
        paged,
        reason=reason,
        blame=Blame.ADAPTER,
        detectors=("logit_ks", "perplexity", "repetition"),
        onset=Interval(start=onset - timedelta(minutes=9), end=onset + timedelta(minutes=6)),
    )
    drifting = a_verdict(
        VerdictKind.DRIFTING,
        onset + timedelta(minutes=25),
        reason=found(
            "logit_ks",
            "mean_nll:top5%",
            evidence=0.31,
            n=204,
            effect=(0.24, 0.11),
            process=Process.NOTICE,
        ),
    )
    put_verdict(tx, version, judged, drift=91.0)
    put_change(tx, version, before=VerdictKind.STABLE, after=drifting, at=drifting.since)
    put_change(tx, version, before=VerdictKind.DRIFTING, after=judged, at=paged)
    table.put(
        tx,
        "support",
        arms=[
            ArmRequest(arm=ArmKind.STABLE, version="v7", weight=0.0),
            ArmRequest(arm=ArmKind.FALLBACK, version="v6", weight=1.0),
        ],
        expected_generation=1,
        reason=f"fallback: {reason}; to support@v6",
        actor="driftline",
        now=moved,
    )
    incident = put_incident(tx, version, judged)
    put_message(tx, incident, "oncall-pagerduty", at=paged)
    put_message(tx, incident, "team-webhook", at=paged, error="HTTP 503", attempts=3)
    put_count(tx, version, now=now, count=198)


def promoted(tx: Connection, version: Version, *, at: datetime) -> None:
    """Let the route in force have begun when the version took over from the one before."""
    own = route_history.c.adapter_id == version.adapter_id
    [first] = tx.execute(sa.select(route_history).where(own)).mappings()
    earlier = dict(first) | {"generation": 0, "since": at - timedelta(days=20)}
    tx.execute(route_history.insert().values(earlier))
    arms = [{"arm": "stable", "version": version.name, "model": version.model, "weight": 1.0}]
    for written in (routes_table, route_history):
        mine = written.c.adapter_id == version.adapter_id
        now = {"since": at, "arms": arms, "reason": f"{version.name} promoted"}
        tx.execute(written.update().where(mine, written.c.generation == 1).values(**now))


def _drifting(tx: Connection, *, now: datetime, start: datetime) -> None:
    onset = now - timedelta(hours=9)
    version = registered(tx, "travel-assistant", "v3", owner="travel", now=start)
    add_reference(tx, version, now=start)
    put_scores(
        tx, version, now=now, start=start, onset=onset, strength=0.25, only="input_similarity"
    )
    judged = a_verdict(
        VerdictKind.DRIFTING,
        onset + timedelta(hours=2),
        reason=found(
            "input_similarity",
            "similarity:bottom5%",
            evidence=0.92,
            n=340,
            effect=(0.31, 0.2),
            process=Process.NOTICE,
        ),
        blame=Blame.INPUT,
        detectors=("input_similarity",),
        onset=Interval(start=onset - timedelta(minutes=50), end=onset + timedelta(minutes=35)),
    )
    put_verdict(tx, version, judged, drift=43.0)
    put_change(tx, version, before=VerdictKind.STABLE, after=judged, at=judged.since)
    put_incident(tx, version, judged)
    put_count(tx, version, now=now, count=171)


def _others(tx: Connection, *, now: datetime) -> None:
    begun = now - timedelta(days=1)
    learning = registered(tx, "returns", "v1", owner="care-team", now=begun)
    reason = "212 of 1,000 records; ready in about 2 days"
    put_verdict(tx, learning, a_verdict(VerdictKind.LEARNING, now, reason=reason), drift=0.0)
    tx.execute(
        references.insert().values(
            version_id=learning.id, generation=1, state="building", source="auto",
            cause="first records", created_by="driftline", progress=0.21,
        )
    )  # fmt: skip
    rare = registered(tx, "tax-forms", "v2", owner="finance", now=begun)
    reason = "31 records since onset, fewer than 50"
    put_verdict(tx, rare, a_verdict(VerdictKind.INSUFFICIENT, now, reason=reason), drift=12.0)
    broken = registered(tx, "voice-notes", "v4", owner="speech", now=begun)
    reason = "every detector failed: no log-probabilities since 06:20 UTC"
    put_verdict(tx, broken, a_verdict(VerdictKind.ERROR, now, reason=reason), drift=0.0)
    adapters.put(tx, name="not-yet-served")


def registered(tx: Connection, name: str, version: str, *, owner: str, now: datetime) -> Version:
    known: Adapter = adapters.put(tx, name=name, owner=owner, runbook="https://wiki.test/runbook")
    made = versions.put(tx, adapter=known, name=version, model=f"{name}@{version}")
    tx.execute(
        versions_table.update().where(versions_table.c.id == made.id).values(registered_at=now)
    )
    if table.start(tx, made, actor="ci", now=now) is None:
        current = routes.get(tx, name)
        assert current is not None
        tx.execute(
            routes_table.update()
            .where(routes_table.c.adapter_id == known.id)
            .values(
                arms=[{"arm": "stable", "version": version, "model": made.model, "weight": 1.0}]
            )
        )
    return made


def add_reference(tx: Connection, version: Version, *, now: datetime) -> None:
    tx.execute(
        references.insert().values(
            version_id=version.id, generation=1, state="ready", source="freeze",
            cause="first two weeks of live traffic", created_by="ann", approved_by="coverage",
            n_training=10_003, n_baseline=12_480, span_days=14.2, progress=1.0,
            encoder="all-MiniLM-L6-v2@53aa51172d142c89/bfloat16", ready_at=now,
            request={"seen": {"hours": [True] * 24, "weekdays": [True] * 5 + [False] * 2}},
        )
    )  # fmt: skip


def a_verdict(
    kind: VerdictKind,
    since: datetime,
    *,
    reason: str = "nothing near its alert threshold",
    blame: Blame = Blame.UNKNOWN,
    detectors: tuple[str, ...] = (),
    onset: Interval | None = None,
) -> Verdict:
    severities = {
        VerdictKind.CRITICAL: VerdictSeverity.PAGE,
        VerdictKind.DRIFTING: VerdictSeverity.TICKET,
    }
    return Verdict(
        kind=kind,
        severity=severities.get(kind, VerdictSeverity.NONE),
        blame=blame,
        reason=reason,
        detectors=detectors,
        since=since,
        onset=onset,
    )


def put_verdict(tx: Connection, version: Version, verdict: Verdict, *, drift: float) -> None:
    memory = Memory(verdict=verdict)
    verdicts.claim_row(tx, version_id=version.id, adapter_id=version.adapter_id)
    verdicts.put(tx, version_id=version.id, verdict=verdict, memory=memory, size=drift)


def put_change(
    tx: Connection, version: Version, *, before: VerdictKind, after: Verdict, at: datetime
) -> None:
    transition = Transition(version=version, before=before, after=after, at=at)
    verdicts.add_transition(tx, transition, evaluation_id=EvaluationId(1))


def put_incident(tx: Connection, version: Version, verdict: Verdict) -> int:
    """Store the incident that the verdict opens, with the summary that its message would have."""
    update = IncidentUpdate(
        number=1,
        phase="firing",
        state=machine.to_json(
            machine.IncidentState(
                phase=machine.IncidentPhase.FIRING,
                number=1,
                told=Urgency(verdict.severity.value),
                since=verdict.since,
            )
        ),
        severity=verdict.severity,
        blame=verdict.blame,
        summary="",
        opened_at=verdict.since,
        closed_at=None,
    )
    stored = incidents.put(tx, StoredKey.of(version, Kind.DRIFT.value), update)
    row = incidents.incident(tx, stored)
    assert row is not None
    summary = of_incident(tx, row, (), margin=NEAR, now=verdict.since).summary
    incidents.put_told(tx, stored, blame=verdict.blame, summary=summary)
    return stored


def put_message(
    tx: Connection,
    incident: int,
    channel: str,
    *,
    at: datetime,
    error: str | None = None,
    attempts: int = 1,
) -> None:
    row = incidents.incident(tx, IncidentId(incident))
    assert row is not None
    alert = of_incident(tx, row, (), margin=NEAR, now=at)
    message = outbox.enqueue(tx, channel=channel, alert=to_json(alert), incident_id=row.id)
    changed = (
        {"last_error": error, "created_at": at, "next_at": sa.func.now() + timedelta(minutes=5)}
        if error
        else {"state": "delivered", "created_at": at, "delivered_at": at + timedelta(seconds=1)}
    )
    tx.execute(
        outbox_table.update()
        .where(outbox_table.c.id == message)
        .values(attempts=attempts, **changed)
    )


def put_count(tx: Connection, version: Version, *, now: datetime, count: int) -> None:
    for hour in (now, now - timedelta(hours=1)):
        capture_counts.add(tx, {(version.adapter_id, hour, "accepted"): count})


def put_scores(
    tx: Connection,
    version: Version,
    *,
    now: datetime,
    start: datetime,
    onset: datetime | None = None,
    strength: float = 0.0,
    only: str | None = None,
    served_until: datetime | None = None,
) -> None:
    """Write scores; after ``served_until`` only the probe has any, as there is no traffic."""
    rng = random.Random(version.id)  # noqa: S311 (scores, not secrets)
    rows = []
    for number, detector in enumerate(DETECTORS):
        touched = onset if only in {None, detector} and detector != "missing" else None
        quiet_since = -3.5
        for at in _times(start, now, detector):
            if served_until and at > served_until and detector != "perplexity":
                continue
            hours = (at - touched) / timedelta(hours=1) if touched and at > touched else 0.0
            effect = strength * (1 - math.exp(-hours * 2)) if hours else 0.0
            wander = 0.35 * math.sin(at.timestamp() / 7000 + number) + rng.gauss(0, 0.12)
            notice = min(8.0, quiet_since + wander + hours * (26 * strength + 0.4) * bool(hours))
            page = -math.inf if detector == "input_similarity" else notice - 1.6
            value = abs(rng.gauss(0.03, 0.008)) + effect * 0.5
            rows.append(
                a_score(version, detector, at, value=value, notice=notice, page=page, effect=effect)
            )
    for some in _chunks(rows, 500):
        evaluations.put_scores(tx, some) if len(some) == 1 else _put(tx, some)


def _put(tx: Connection, rows: list[ScoreRow]) -> None:
    """Append history; only the newest of each detector may go into ``latest_scores``."""
    newest: dict[str, ScoreRow] = {}
    for row in rows:
        newest[row.detector] = row
    older = [row for row in rows if newest[row.detector] is not row]
    if older:
        tx.execute(scores.insert(), [evaluations._values(row) for row in older])  # noqa: SLF001 - a past that no evaluation writes at once
    evaluations.put_scores(tx, list(newest.values()))


def _times(start: datetime, now: datetime, detector: str) -> Iterable[datetime]:
    step = timedelta(hours=6) if detector == "perplexity" else timedelta(minutes=15)
    at = now - timedelta(minutes=2)
    while at > start:
        yield at
        at -= step


def _chunks(rows: list[ScoreRow], size: int) -> Iterable[list[ScoreRow]]:
    rows = sorted(rows, key=lambda row: row.window.end)
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def a_score(
    version: Version,
    detector: str,
    at: datetime,
    *,
    value: float,
    notice: float,
    page: float,
    effect: float,
) -> ScoreRow:
    verdict = "critical" if page >= 0 else "drifting" if notice >= 0 else "stable"
    return ScoreRow(
        version_id=version.id,
        adapter=version.adapter,
        version=version.name,
        detector=detector,
        window=Interval(start=at - timedelta(minutes=15), end=at),
        value=value,
        evidence_notice=notice,
        evidence_page=page,
        effect=effect,
        effect_low=effect - 0.06,
        effect_high=effect + 0.06,
        n_reference=12_480,
        n_window=42,
        minimum_detectable=0.11,
        winner=WINNERS.get(detector, "mean_nll:up"),
        verdict=verdict,
        blame="unknown",
        reason=f"effect {effect:+.2f} on 42 records",
        evaluation_id=EvaluationId(1),
        details=_rates(detector, effect),
    )


def _rates(detector: str, effect: float) -> dict[str, Any]:
    signal, _, way = WINNERS.get(detector, "").partition(":")
    if way != "rate":
        return {"ks_p": 0.2}
    count = max(0, round(42 * (0.01 + effect)))
    return {"signals": {signal: {"n": 42, "count": count, "reference_rate": 0.01}}}


def stop_probes(tx: Connection, *, reason: str) -> None:
    """Let the newest probe of every version have had no answer."""
    tasks.ensure(tx, first_due={EvaluationKind.PERPLEXITY: timedelta(hours=6)})
    tx.execute(sa.text("UPDATE tasks SET stopped = :reason"), {"reason": reason})
