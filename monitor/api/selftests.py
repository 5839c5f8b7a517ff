"""``/adapters/{a}/selftest``: ask for a self-test, and what the last one found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection

from monitor.api import coverage, lookup
from monitor.api.access import Operator, Reader
from monitor.api.bodies import Name
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.api.shapes import Answer, CoverageBody
from monitor.domain import Version
from monitor.store import fleet, selftests, verdicts
from monitor.store.selftests import SelfTestState

router: Final = APIRouter(prefix="/adapters/{adapter}", tags=["self-tests"])

Bounds = tuple[float, float]


class FalseAlarmsBody(Answer):
    """Alarms of one process over resampled months in which nothing was injected."""

    alarms: int
    months: float
    per_30_days: float
    interval: Bounds = Field(description="Exact 95 % interval of `per_30_days` (Poisson).")
    promised: float = Field(description="The version's share of the budget.")
    kept: bool = Field(description="False where the interval lies above the promise.")


class PowerBody(Answer):
    """A share of resampled streams that alarmed in time."""

    share: float
    interval: Bounds = Field(description="Exact 95 % interval (Clopper and Pearson).")


class ToldBody(Answer):
    """How soon one process tells of an injected drift; null: not within a week."""

    within_day: PowerBody | None = Field(description="null: the baseline is too short to say.")
    within_week: PowerBody | None
    median_hours: float | None
    median_requests: float | None


class InjectionBody(Answer):
    """One injected drift, by the detectors whose signals it moves."""

    name: str
    text: str
    detectors: Sequence[str]
    notice: ToldBody | None
    page: ToldBody | None = Field(description="null: none of these detectors has a page process.")


class ProcessesBody(Answer):
    """Both processes; null: it has no share of the budget, or the baseline is too short to say."""

    notice: FalseAlarmsBody | None
    page: FalseAlarmsBody | None


class ReplayedBody(Answer):
    """The baseline that was replayed, cut in stretches of which every other one was fitted on."""

    records: int
    days: float
    stretches: int
    by_day: bool = Field(description="False: too short for days; cut in 16 parts.")


class ReportBody(Answer):
    """What a self-test found."""

    seed: int = Field(description="Derived from the reference: the same gives the same.")
    baseline: ReplayedBody
    requests_per_day: float = Field(description="The traffic that it was replayed at.")
    check_minutes: float = Field(description="Delays are told in steps of this.")
    streams: int = Field(description="Resampled streams of each injection.")
    detectors: Sequence[str]
    not_tested: dict[str, str] = Field(
        description="Detectors that half a baseline is too short for."
    )
    caveat: str | None = Field(
        default=None, description="What it cannot tell since the baseline is short; null: nothing."
    )
    false_alarms: ProcessesBody
    injections: Sequence[InjectionBody]


class SelfTestBody(Answer):
    """Where the self-test of a version stands."""

    adapter: str
    version: str
    state: SelfTestState
    progress: float = Field(description="Of the one that is running, in [0, 1].")
    requested_at: datetime | None
    finished_at: datetime | None
    generation: int | None = Field(description="Of the reference that the report is of.")
    error: str | None = Field(description="Why the last one gave no report.")
    report: ReportBody | None = Field(description="The last report; null: none yet.")
    coverage: Sequence[CoverageBody] = Field(
        description="Of the newest requests: the report holds for those that are compared."
    )


VersionQuery = Annotated[
    Name | None, Query(description="The version in charge where it is left out.")
]


@router.get("/selftest")
def get_selftest(
    _key: Reader, parts: Parts, adapter: AdapterName, *, version: VersionQuery = None
) -> SelfTestBody:
    """Show the last self-test of a version, and how far one is that runs."""
    return parts.database.run(lambda tx: _body(tx, _version(tx, adapter, version)))


@router.post("/selftest", status_code=202)
def post_selftest(
    _key: Operator, parts: Parts, adapter: AdapterName, *, version: VersionQuery = None
) -> SelfTestBody:
    """Ask for a self-test; a worker does one at a time, at low priority."""

    def ask(tx: Connection) -> SelfTestBody:
        of = _version(tx, adapter, version)
        selftests.ask(tx, of.id)
        return _body(tx, of)

    return parts.database.run(ask)


def _version(tx: Connection, adapter: str, version: str | None) -> Version:
    if version is not None:
        return lookup.version(tx, adapter, version)
    found = fleet.in_charge(tx, lookup.adapter(tx, adapter).name)
    if found is None:
        raise Problem(409, f"{adapter!r} has no version yet.", kind="no-version")
    return found


def _body(tx: Connection, of: Version) -> SelfTestBody:
    row = selftests.fetch(tx, of.id)
    return SelfTestBody(
        adapter=of.adapter,
        version=of.name,
        state=row.state,
        progress=row.progress,
        requested_at=row.requested_at,
        finished_at=row.finished_at,
        generation=row.generation,
        error=row.error,
        coverage=coverage.newest(verdicts.current(tx, version_id=of.id)),
        report=None if row.report is None else ReportBody.model_validate(row.report),
    )
