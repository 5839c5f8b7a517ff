"""The sections of an adapter's page, first what people must know, last why to believe it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from detectors.signals import TOPICS
from detectors.smallest_seen import POWER
from monitor.api.ranges import TimeRange
from monitor.domain import Version
from monitor.incident.chart_reading import read_version_chart
from monitor.store.evaluation import evaluations, probing, reports, selftests, series, verdicts
from monitor.store.incidents import deliveries, incidents
from monitor.store.people import changes
from monitor.store.registry import inspections
from monitor.store.traffic import canaries, routes
from monitor.store.traffic.fleet import FleetRow
from monitor.views.reading import (
    admission,
    change,
    coverage,
    health,
    histogram,
    incident,
    message,
    scatter,
)
from monitor.views.reading import reference as reference_reading
from monitor.views.reading import report as report_reading
from monitor.views.reading import route as route_reading
from monitor.views.reading import score as score_reading
from monitor.views.reading import version as version_reading
from monitor.views.reading.histogram import NoHistogram
from monitor.web.answering import read_answering
from monitor.web.charts import drawing, families
from monitor.web.newness import NewSections
from monitor.web.parts import WebParts
from monitor.web.sections import Section
from monitor.web.traffic import waiting

WIDE: Final = (1280, 130)
"""Width and height of a row of the chart, on a wide screen and on a narrow one."""
NARROW: Final = (358, 110)
RECENT_INCIDENTS: Final = 10
RECENT_DELIVERIES: Final = 12
RECENT_CHANGES: Final = 50
EARLIER_ROUTES: Final = 8
MOST_COLUMNS: Final = 5
"""Signals in the table of versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSections:
    """Reads the sections of one version of an adapter, over one range of time."""

    parts: WebParts
    new: NewSections
    row: FleetRow
    version: Version
    range: TimeRange
    signal: str
    """The signal whose values are compared; empty: none was chosen."""
    now: datetime

    def all(self) -> list[Section]:
        """Return the sections."""
        return [
            self._section("health", "How it is", self._health),
            self._section("signals", "What moved", self._signals),
            self._section("histogram", "Now beside the reference", self._histogram),
            self._section("report", "Evidently's report", self._report),
            Section(name="new", title="What is new", read=self._new),
            self._section("scatter", "Where requests lie", self._scatter),
            self._section("versions", "Versions beside each other", self._versions),
            self._section("route", "Who answers now", self._route),
            self._section("reference", "Reference", self._reference),
            self._section("coverage", "What is compared", self._coverage),
            self._section("incidents", "Incidents and deliveries", self._incidents),
            self._section("transitions", "What changed", self._transitions),
            self._section("scores", "The numbers behind the verdict", self._scores),
            self._section("plan", "The smallest faults it would show", self._plan),
            self._section("selftest", "Self-test", self._selftest),
        ]

    def _section(
        self, name: str, title: str, read: Callable[[Connection], Mapping[str, Any]]
    ) -> Section:
        run = partial(self.parts.database.run, read, attempts=1)
        return Section(name=name, title=title, read=run)

    def _health(self, tx: Connection) -> Mapping[str, Any]:
        interval = self.parts.outlook.live_interval
        probed = next(iter(probing.probe_rows(tx, version_id=self.version.id)), None)
        return {
            "health": health.read(tx, self.version, margin=interval, now=self.now),
            "judged": verdicts.current(tx, version_id=self.version.id),
            "weights": inspections.fetch(tx, self.version.id),
            "probe": probed,
        }

    def _signals(self, tx: Connection) -> Mapping[str, Any]:
        chart = read_version_chart(
            tx,
            self.version,
            self.range.shown,
            settings=self.parts.outlook.settings,
            judged=verdicts.current(tx, version_id=self.version.id),
        )
        moved = [one for one in chart.signals if one.crossed]
        rest = [one for one in chart.signals if not one.crossed]
        return {
            "moved": drawing(chart, moved, wide=WIDE, narrow=NARROW),
            "families": families(chart, rest),
        }

    def _histogram(self, tx: Connection) -> Mapping[str, Any]:
        try:
            known = histogram.signals(tx, self.version)
            found = (
                histogram.read(tx, self.version, self.signal, self.range.shown)
                if self.signal
                else None
            )
        except NoHistogram as why:
            return {"known": {}, "found": None, "why_not": str(why)}
        return {"known": known, "found": found, "why_not": None}

    def _report(self, tx: Connection) -> Mapping[str, Any]:
        kept = reports.newest(tx, self.version.id)
        return {"reports": [report_reading.report(one, self.version) for one in kept]}

    def _new(self) -> Mapping[str, Any]:
        return {"new": self.new.of(self.version, now=self.now)}

    def _scatter(self, tx: Connection) -> Mapping[str, Any]:
        try:
            found = scatter.read(tx, self.version, self.range.shown)
        except NoHistogram as why:
            return {"found": None, "why_not": str(why)}
        return {"found": found, "why_not": None, "count": len(TOPICS)}

    def _versions(self, tx: Connection) -> Mapping[str, Any]:
        settings = self.parts.outlook.settings
        found = version_reading.beside(tx, self.row, settings=settings)
        named = dict.fromkeys(name for one in found for name in one.numbers)
        return {
            "beside": found,
            "columns": list(named)[:MOST_COLUMNS],
            "admission": admission.read(tx, self.version),
        }

    def _route(self, tx: Connection) -> Mapping[str, Any]:
        name, adapter_id = self.row.adapter.name, self.row.adapter.id
        row = routes.row(tx, name)
        past = routes.history(tx, name, limit=EARLIER_ROUTES)[1:]
        return {
            "route": route_reading.detail(row) if row else None,
            "answering": read_answering(tx, row, adapter_id=adapter_id, now=self.now),
            "earlier": [route_reading.change(one) for one in past],
            "waiting": len(waiting(tx, self.row.adapter)),
            "canary": canaries.active(tx, adapter_id),
        }

    def _reference(self, tx: Connection) -> Mapping[str, Any]:
        rules = self.parts.learning
        found = reference_reading.read(tx, self.version, rules=rules, now=self.now)
        newest = found.items[0] if found.items else None
        building = newest if newest is not None and newest.state.value != "ready" else None
        return {"references": found, "building": building}

    def _coverage(self, tx: Connection) -> Mapping[str, Any]:
        judged = verdicts.current(tx, version_id=self.version.id)
        policy = self.parts.outlook.settings.policy
        return {
            "coverage": coverage.newest(judged),
            "coverage_last_day": coverage.last_day(tx, self.version, now=self.now),
            "mend": coverage.mending(judged, self.version, policy),
            "sampling": coverage.sampling(tx, self.version.adapter_id, now=self.now),
        }

    def _incidents(self, tx: Connection) -> Mapping[str, Any]:
        told = incidents.incident_list(tx, adapter_id=self.row.adapter.id, limit=RECENT_INCIDENTS)
        sent = [
            one
            for row in told[:3]
            for one in deliveries.newest(tx, incident_id=row.id, limit=RECENT_DELIVERIES)
        ]
        newest = sorted(sent, key=lambda one: one.seq, reverse=True)[:RECENT_DELIVERIES]
        return {
            "incidents": [incident.summary(row) for row in told],
            "deliveries": [message.delivery(one) for one in newest],
        }

    def _transitions(self, tx: Connection) -> Mapping[str, Any]:
        shown, adapter = self.range.shown, self.row.adapter
        past = verdicts.history(tx, adapter_id=adapter.id, since=shown.start, limit=RECENT_CHANGES)
        declared = changes.change_list(
            tx, adapter=adapter.name, since=shown.start, until=shown.end, limit=RECENT_CHANGES
        )
        return {
            "transitions": [one for one in past if one.at <= shown.end],
            "changes": [change.change(one) for one in declared],
        }

    def _scores(self, tx: Connection) -> Mapping[str, Any]:
        shown = self.range.shown
        latest = evaluations.latest_scores_of(tx, adapter_id=self.row.adapter.id)
        judged = verdicts.current(tx, version_id=self.version.id)
        over_time = series.score_series(
            tx, version_id=self.version.id, since=shown.start, until=shown.end
        )
        own = sorted((one for one in latest if one.version_id == self.version.id), key=_evident)
        return {
            "judged": judged,
            "scores": [score_reading.score(one) for one in own],
            "evidence": {one.detector: course(one, self.range) for one in over_time},
            "route_reason": self.row.route.reason if self.row.route else "",
        }

    def _plan(self, tx: Connection) -> Mapping[str, Any]:
        adapter, name = self.version.adapter, self.version.name
        plan = self.parts.plans.read(tx, adapter, now=self.now, version=name)
        return {"plan": plan, "power": POWER}

    def _selftest(self, tx: Connection) -> Mapping[str, Any]:
        return {"tested": selftests.fetch(tx, self.version.id)}


def _evident(score: evaluations.ScoreRow) -> tuple[float, str]:
    return -max(score.evidence_page, score.evidence_notice), score.detector


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceCourse:
    """The evidence of a detector over time, as SVG points in 150 x 34; ``line`` is the alarm's."""

    page: str
    notice: str
    line: float


def course(found: series.Series, range_: TimeRange) -> EvidenceCourse:
    """Place evidence over time; what is below ``FLOOR`` lies on it, or the rest would be flat."""
    known = [one for one in (*found.evidence_page, *found.evidence_notice) if one is not None]
    top = max(1.0, *known) if known else 1.0
    start, end = range_.shown.start, range_.shown.end

    def y(value: float) -> float:
        return 32.0 - 30.0 * (max(value, FLOOR) - FLOOR) / (top - FLOOR)

    def line(values: Any) -> str:
        return " ".join(
            f"{149 * (at - start) / (end - start):.1f},{y(value):.1f}"
            for at, value in zip(found.at, values, strict=True)
            if value is not None
        )

    return EvidenceCourse(
        page=line(found.evidence_page), notice=line(found.evidence_notice), line=y(0.0)
    )


FLOOR: Final = -6.0
"""Evidence below it says no more than that there is none."""
