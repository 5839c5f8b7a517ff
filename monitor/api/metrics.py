"""``/metrics`` for Prometheus, from what is stored; a scrape never touches history.

Values are read from the tables of latest scores and verdicts and kept for ``KEPT``
seconds. Totals of records are sums of hourly counts: closed hours are added up once per
process, the running one and the one before at each reading.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import Connection

from alerts.types import VerdictKind
from monitor.domain import AdapterId, Route, WeightsState
from monitor.store import teams
from monitor.store.database import Database
from monitor.store.evaluation import evaluations, probing, verdicts
from monitor.store.evaluation.evaluations import ScoreRow
from monitor.store.evaluation.probing import ProbeRow
from monitor.store.evaluation.verdicts import VerdictRow
from monitor.store.incidents import receivers, telling
from monitor.store.incidents.receivers import ChannelHealth
from monitor.store.records import capture_counts
from monitor.store.registry import adapters, inspections
from monitor.store.traffic import canaries, epochs, routes
from monitor.store.traffic.canaries import CanaryRow
from monitor.traffic.arms import effective, stable_arm
from monitor.traffic.fallback.machine import BreakerState, state_of
from monitor.traffic.trial.states import ENDED, Phase, state_from_json
from monitor.views.reading.coverage import seen_of

KEPT: Final = 5.0
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
TAKEN: Final = frozenset({"accepted", "duplicates"})
"""Outcomes of a record that lose nothing; every other one is a drop with a reason."""

Counts = Counter[tuple[str, str]]
"""Records by (adapter, outcome)."""


MOST_CANARIES: Final = 10_000
"""Most canaries read, one of each adapter: more than a fleet has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsReading:
    """The values read from the database for one scrape."""

    scores: list[ScoreRow]
    verdicts: list[VerdictRow]
    routes: list[Route]
    epoch: int
    records: Counts
    outbox_oldest: float
    held: int
    channels: Mapping[str, ChannelHealth]
    weights: list[tuple[str, str, WeightsState]]
    probes: Sequence[ProbeRow]
    canaries: Sequence[CanaryRow]
    behind: Sequence[tuple[str, bool]]
    """Adapters with a route, and whether their router does not follow it."""


class StoredMetrics:
    """A collector of stored values; one per registry."""

    def __init__(
        self,
        database: Database,
        *,
        now: Callable[[], datetime],
        channels: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._channels = tuple(channels)
        self._database = database
        self._clock = clock
        self._now = now
        self._totals = RecordTotals(now=now)
        self._lock = threading.Lock()
        self._kept: tuple[float, MetricsReading] | None = None

    def collect(self) -> Iterator[Metric]:
        """Return all families; the registry calls this at each scrape."""
        reading = self._reading()
        yield from _score_families(reading.scores)
        yield from _verdict_families(reading.verdicts)
        yield from _coverage_families(reading.verdicts)
        yield from _record_families(reading.records)
        generation = GaugeMetricFamily(
            "driftline_route_generation", "Generation of the route in force", labels=("adapter",)
        )
        for route in reading.routes:
            generation.add_metric((route.adapter,), route.generation)
        yield generation
        yield GaugeMetricFamily(
            "driftline_route_epoch",
            "Epoch of the route table, in seconds since 1970",
            value=reading.epoch,
        )
        behind = GaugeMetricFamily(
            "driftline_route_behind",
            "1 while the router could not be told the route in force",
            labels=("adapter",),
        )
        for adapter, is_behind in reading.behind:
            behind.add_metric((adapter,), is_behind)
        yield behind
        yield _breaker_family(reading, now=self._now())
        yield from _canary_families(reading.canaries)
        yield _weights_family(reading.weights)
        yield _probe_family(reading.probes, reading.routes)
        yield GaugeMetricFamily(
            "driftline_outbox_oldest_seconds",
            "Age of the oldest undelivered message",
            value=reading.outbox_oldest,
        )
        yield GaugeMetricFamily(
            "driftline_messages_held",
            "Messages that wait for others, or for a silence to end",
            value=reading.held,
        )
        yield from _channel_families(reading.channels)
        yield GaugeMetricFamily(
            "driftline_disk_full",
            "1 while the database's disk is full or runs short, and no records are taken in",
            value=float(self._database.room.full()),
        )

    def describe(self) -> Iterator[Metric]:
        """Return no families: registering must not need the database."""
        return iter(())

    def _reading(self) -> MetricsReading:
        with self._lock:
            now = self._clock()
            if self._kept is None or now - self._kept[0] >= KEPT:
                with teams.unbound():
                    self._kept = (now, self._database.run(self._read, attempts=1))
            return self._kept[1]

    def _read(self, tx: Connection) -> MetricsReading:
        rows = routes.rows(tx)
        return MetricsReading(
            scores=evaluations.latest_scores_of(tx),
            verdicts=verdicts.fleet(tx),
            routes=[row.route for row in rows],
            epoch=epochs.in_force(tx),
            behind=[(row.route.adapter, row.behind is not None) for row in rows],
            records=self._totals.read(tx),
            outbox_oldest=receivers.oldest_seconds(tx),
            held=telling.count(tx),
            channels={one: ChannelHealth() for one in self._channels} | receivers.health(tx),
            weights=inspections.states(tx),
            probes=probing.probe_rows(tx),
            canaries=canaries.canary_list(tx, active_only=True, limit=MOST_CANARIES),
        )


@dataclass(slots=True)
class RecordTotals:
    """Totals of all records ever counted, without reading every hour each time."""

    now: Callable[[], datetime]
    closed: Counts = field(default_factory=Counter)
    closed_until: datetime = BEGINNING

    def read(self, tx: Connection) -> Counts:
        """Return totals per (adapter name, outcome)."""
        names = {adapter.id: adapter.name for adapter in adapters.fetch_all(tx)}
        hour = self.now().replace(minute=0, second=0, microsecond=0)
        # A transaction that began before the hour may still add to it: close it an hour later.
        until = hour - timedelta(hours=1)
        open_hours = _named(capture_counts.fleet_totals(tx, since=until), names)
        since = _named(capture_counts.fleet_totals(tx, since=self.closed_until), names)
        self.closed, self.closed_until = self.closed + (since - open_hours), until
        return self.closed + open_hours


def _named(counts: dict[AdapterId, dict[str, int]], names: dict[AdapterId, str]) -> Counts:
    return Counter(
        {
            (names[adapter], outcome): count
            for adapter, outcomes in counts.items()
            for outcome, count in outcomes.items()
            if adapter in names
        }
    )


def _score_families(rows: list[ScoreRow]) -> Iterator[Metric]:
    labels = ("adapter", "version", "detector")
    score = GaugeMetricFamily(
        "driftline_score", "Effect size of the newest window; 0 is the same", labels=labels
    )
    evidence = GaugeMetricFamily(
        "driftline_evidence",
        "log10 of the evidence over its alarm line: 0 and above is an alarm",
        labels=(*labels, "process"),
    )
    for row in rows:
        name = (row.adapter, row.version, row.detector)
        if not math.isnan(row.value):
            score.add_metric(name, row.value)
        evidence.add_metric((*name, "notice"), row.evidence_notice)
        evidence.add_metric((*name, "page"), row.evidence_page)
    yield score
    yield evidence


def _verdict_families(rows: list[VerdictRow]) -> Iterator[Metric]:
    labels = ("adapter", "version")
    verdict = GaugeMetricFamily(
        "driftline_verdict", "1 for the verdict in force, else 0", labels=(*labels, "verdict")
    )
    drift = GaugeMetricFamily(
        "driftline_drift_score",
        "0 to 100, sorted as verdicts are (critical from 80, drifting from 60); never a threshold",
        labels=labels,
    )
    evaluated = GaugeMetricFamily(
        "driftline_last_evaluation_timestamp_seconds", "When the verdict was made", labels=labels
    )
    for row in rows:
        name = (row.adapter, row.version)
        for kind in VerdictKind:
            verdict.add_metric((*name, kind.value), float(row.verdict.kind is kind))
        drift.add_metric(name, row.drift_score)
        evaluated.add_metric(name, row.updated_at.timestamp())
    yield verdict
    yield drift
    yield evaluated


def _coverage_families(rows: list[VerdictRow]) -> Iterator[Metric]:
    labels = ("adapter", "version", "detector")
    ratio = GaugeMetricFamily(
        "driftline_coverage_ratio",
        "Share of the newest requests that a detector compared",
        labels=labels,
    )
    expected = GaugeMetricFamily(
        "driftline_coverage_expected_ratio",
        "Share of the newest requests that it would have compared had it missed nothing",
        labels=labels,
    )
    for row in rows:
        for one in seen_of(row).coverage():
            name = (row.adapter, row.version, one.detector)
            if one.ratio is not None:
                ratio.add_metric(name, one.ratio)
                expected.add_metric(name, one.expected / one.requests)
    yield ratio
    yield expected


def _weights_family(states: list[tuple[str, str, WeightsState]]) -> Metric:
    family = GaugeMetricFamily(
        "driftline_weights_state",
        "1 for what the version's files say of its weights, else 0",
        labels=("adapter", "version", "state"),
    )
    for adapter, version, found in states:
        for state in WeightsState:
            family.add_metric((adapter, version, state.value), float(state is found))
    return family


def _canary_families(rows: Sequence[CanaryRow]) -> Iterator[Metric]:
    """Return the families of canaries under way; an ended canary leaves no series."""
    weight = GaugeMetricFamily(
        "driftline_canary_weight",
        "Share of the traffic that a canary was given",
        labels=("adapter", "version"),
    )
    phase = GaugeMetricFamily(
        "driftline_canary_phase",
        "1 for where a canary stands, else 0",
        labels=("adapter", "version", "phase"),
    )
    for row in rows:
        state = state_from_json(row.state)
        weight.add_metric((row.adapter, row.version), state.weight)
        for one in Phase:
            if one not in ENDED:
                phase.add_metric((row.adapter, row.version, one.value), float(state.phase is one))
    yield weight
    yield phase


def _breaker_family(reading: MetricsReading, *, now: datetime) -> Metric:
    family = GaugeMetricFamily(
        "driftline_breaker_state",
        "1 for where the adapter's fallback breaker stands, else 0",
        labels=("adapter", "state"),
    )
    judged = {(row.adapter, row.version): row.verdict for row in reading.verdicts}
    for route in reading.routes:
        name = (route.adapter, stable_arm(route).version)
        found = state_of(effective(route, now), judged.get(name))
        for state in BreakerState:
            family.add_metric((route.adapter, state.value), float(state is found))
    return family


def _probe_family(rows: Sequence[ProbeRow], table: Sequence[Route]) -> Metric:
    """Return the family of versions with traffic: engines may have unloaded the others for good."""
    family = GaugeMetricFamily(
        "driftline_last_probe_timestamp_seconds",
        "When a perplexity probe last had an answer; the registration where none ever had",
        labels=("adapter", "version"),
    )
    with_traffic = {
        (route.adapter, arm.version) for route in table for arm in route.arms if arm.weight > 0
    }
    for row in rows:
        if (row.adapter, row.version) in with_traffic:
            at = row.answered_at or row.registered_at
            family.add_metric((row.adapter, row.version), at.timestamp())
    return family


def _channel_families(channels: Mapping[str, ChannelHealth]) -> Iterator[Metric]:
    dead = GaugeMetricFamily(
        "driftline_deliveries_dead", "Messages that nobody will send again", labels=("channel",)
    )
    degraded = GaugeMetricFamily(
        "driftline_channel_degraded",
        "1 while a channel has not taken a message for 10 minutes",
        labels=("channel",),
    )
    for name, health in sorted(channels.items()):
        dead.add_metric((name,), health.dead)
        degraded.add_metric((name,), float(health.degraded))
    yield dead
    yield degraded


def _record_families(counts: Counts) -> Iterator[Metric]:
    records = CounterMetricFamily(
        "driftline_records", "Records taken in", labels=("adapter", "outcome")
    )
    dropped = CounterMetricFamily(
        "driftline_records_dropped", "Records not used, by reason", labels=("adapter", "reason")
    )
    for (adapter, outcome), count in sorted(counts.items()):
        family = records if outcome in TAKEN else dropped
        family.add_metric((adapter, outcome), count)
    yield records
    yield dropped
