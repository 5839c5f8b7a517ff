"""``/canaries``: versions on trial, their looks, orders and pairs, and planning one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from detectors.trial_plan import Wanted, choices, choose
from monitor.api import lookup, owning, paging
from monitor.api.access import CheckedOperator, Operator, Reader
from monitor.api.bodies import Line, Name
from monitor.api.lookup import Number
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import ApiParts, Parts
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.domain import Mode, Version
from monitor.store.errors import NotFound
from monitor.store.records import capture_counts
from monitor.store.traffic import canaries
from monitor.store.traffic.canaries import CanaryId, CanaryRow
from monitor.store.traffic.shadow_answers import CopyPosition, answered_twice
from monitor.traffic.trial.foresight import foresee_ways, step_of
from monitor.traffic.trial.guards import as_equals
from monitor.traffic.trial.orders import Wish
from monitor.traffic.trial.prechecks import Precheck
from monitor.traffic.trial.states import CanaryStep, OrderKind
from monitor.views.canary import CanaryBegun, CanaryBody, CanaryDetail, CanaryPlanBody, PairBody
from monitor.views.reading.canary import begun, choice, detail, pair, summary, way
from monitor.views.shape import Page

router: Final = APIRouter(prefix="/v1", tags=["canaries"])
MOST_STEPS: Final = 20


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StepRequest(_Request):
    """A share of the traffic and what it takes to go on from it."""

    weight: float = Field(ge=0.0, lt=1.0, description="0: it only answers copies.")
    hours: float = Field(gt=0.0, le=24.0 * 90, description="At least so long.")
    requests: int | None = Field(
        None, ge=1, le=10**9, description="Of either arm, at least; null: as the config says."
    )


class CanaryRequest(_Request):
    """A canary as a person asks for it; what is left out is as the config says."""

    adapter: Name
    version: Name
    steps: list[StepRequest] = Field(default_factory=list, max_length=MOST_STEPS)
    shadow: bool = Field(False, description="It only answers copies until it is promoted.")
    mode: Mode | None = Field(None, description="What may be done by itself; null: the adapter's.")
    unchecked: list[Precheck] = Field(
        default_factory=list, max_length=len(Precheck), description="Pre-checks that are left out."
    )


class OrderRequest(_Request):
    """Why a person asks; it goes into the history."""

    reason: Line | None = None


class PromoteRequest(OrderRequest):
    """The same; ``force`` promotes what is not proven to be inside its margins."""

    force: bool = False


@router.get("/canaries")
def get_canaries(
    _key: Reader,
    parts: Parts,
    *,
    adapter: Annotated[Name | None, Query()] = None,
    active: Annotated[bool, Query(description="Only what has not ended.")] = False,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[CanaryBody]:
    """List canaries, newest first."""
    before = paging.before_id(cursor)

    def read(tx: Connection) -> list[CanaryRow]:
        return canaries.canary_list(
            tx,
            adapter_id=lookup.adapter(tx, adapter).id if adapter else None,
            active_only=active,
            before_id=before,
            limit=limit + 1,
        )

    rows = parts.database.run(read)
    return paging.page(rows, limit, summary, place=lambda row: (row.id,))


@router.post("/canaries", status_code=201, responses={409: {"description": "It cannot begin now."}})
def post_canary(key: CheckedOperator, parts: Parts, body: CanaryRequest) -> CanaryBegun:
    """Begin a canary; another one of the adapter that is under way is superseded.

    It answers people once its pre-checks have passed. `prospect.warning` says where its steps
    cannot be decided by themselves at the adapter's traffic.
    """

    def read(tx: Connection) -> Version:
        owning.check(tx, key, adapter=body.adapter)
        return lookup.version(tx, body.adapter, body.version)

    version = parts.database.run(read)
    least = parts.orders.settings.requests
    wish = Wish(
        version=version,
        steps=tuple(
            CanaryStep(
                weight=step.weight,
                lasts=timedelta(hours=step.hours),
                requests=least if step.requests is None else step.requests,
            )
            for step in body.steps
        ),
        shadow=body.shadow,
        mode=body.mode,
        unchecked=tuple(body.unchecked),
    )
    try:
        made = parts.orders.start(wish, by=key.name, now=parts.clock())
    except ValueError as error:
        raise Problem(422, f"{error}.", kind="invalid-request") from error
    settings = parts.orders.settings
    return parts.database.run(lambda tx: begun(tx, made, settings=settings, now=parts.clock()))


@router.get("/canaries/{canary}")
def get_canary(_key: Reader, parts: Parts, canary: Number) -> CanaryDetail:
    """Show one canary with the newest 2,000 events of it."""

    def read(tx: Connection) -> CanaryDetail:
        row = lookup.canary(tx, canary)
        return detail(tx, row, settings=parts.orders.settings, now=parts.clock())

    return parts.database.run(read)


@router.post("/canaries/{canary}/pause")
def pause(key: Operator, parts: Parts, canary: Number, body: OrderRequest) -> CanaryBody:
    """Keep it where it is until somebody resumes it; what is proven worse still goes back."""
    return _order(parts, canary, OrderKind.PAUSE, by=key.name, why=body.reason)


@router.post("/canaries/{canary}/resume")
def resume(key: Operator, parts: Parts, canary: Number, body: OrderRequest) -> CanaryBody:
    """Go on from a pause, or let a version that was rolled back try again from the first step.

    What it would have done and might not is done.
    """
    return _order(parts, canary, OrderKind.RESUME, by=key.name, why=body.reason)


@router.post("/canaries/{canary}/promote")
def promote(key: Operator, parts: Parts, canary: Number, body: PromoteRequest) -> CanaryBody:
    """Put the version in charge now."""
    return _order(parts, canary, OrderKind.PROMOTE, by=key.name, why=body.reason, force=body.force)


@router.post("/canaries/{canary}/abort")
def abort(key: Operator, parts: Parts, canary: Number, body: OrderRequest) -> CanaryBody:
    """Give all traffic back to the stable version; the kill switch does not stop this."""
    return _order(parts, canary, OrderKind.ABORT, by=key.name, why=body.reason)


def _order(
    parts: ApiParts, canary: int, kind: OrderKind, *, by: str, why: str | None, force: bool = False
) -> CanaryBody:
    try:
        row = parts.orders.order(
            CanaryId(canary), kind, by=by, now=parts.clock(), why=why or "", force=force
        )
    except NotFound as error:
        raise lookup.no_canary(canary) from error
    parts.watch.wake(row.adapter)
    return summary(row)


@router.get("/canaries/{canary}/pairs")
def get_pairs(
    _key: Reader,
    parts: Parts,
    canary: Number,
    *,
    without: Annotated[
        Name | None,
        Query(description="Only pairs that lack feedback of this name, on either side."),
    ] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[PairBody]:
    """List prompts that a shadow answered too, the oldest first, for a judge of the answers.

    `limit` counts those that `without` leaves out: a page may be short, or empty, and still
    have a next one.
    """
    after = None if cursor is None else _place(cursor)

    def read(tx: Connection) -> Page[PairBody]:
        row = lookup.canary(tx, canary)
        found, last = answered_twice(tx, row, without=without, after=after, limit=limit)
        return Page(
            items=[pair(one, row) for one in found],
            next=None if last is None else paging.encode(last.at.isoformat(), last.id),
        )

    return parts.database.run(read)


def _place(cursor: str) -> CopyPosition:
    at, name = paging.decode(cursor, kinds=(str, str))
    return CopyPosition(at=paging.moment(at), id=str(name))


_DAY: Final = timedelta(days=1)


class PlanQuery(_Request):
    """What the canary is to find out."""

    drop: float = Field(0.1, description="Fall of the success rate that must be seen.")
    rate: float = Field(0.85, description="Share of requests that succeed now.")
    margin: float = Field(0.05, description="Fall up to which a canary may be promoted.")
    critical: bool = Field(False, description="Any proven fall rolls back.")
    guardrails: int | None = Field(
        None,
        description="Metrics that are watched, each with the same share of the false alarms;"
        " absent: as a canary of the adapter divides them.",
    )
    within_days: float = Field(3.0, gt=0.0, le=3650.0)
    requests_per_day: float | None = Field(
        None, description="Of the adapter; absent: those of the last 24 hours."
    )

    def wanted(self, *, counted: int, watched: int) -> Wanted:
        """Combine the query with the counted traffic; ValueError where it makes no sense."""
        given = self.requests_per_day
        return Wanted(
            rate=self.rate,
            drop=self.drop,
            margin=self.margin,
            critical=self.critical,
            guardrails=watched if self.guardrails is None else self.guardrails,
            requests_per_day=float(counted) if given is None else given,
        )


@router.get("/adapters/{adapter}/canary-plan")
def get_canary_plan(
    _key: Reader, parts: Parts, adapter: AdapterName, query: Annotated[PlanQuery, Query()]
) -> CanaryPlanBody:
    """Choose the smallest weight that brings a verdict in time at this adapter's traffic.

    `ways` sets the steps of the config, the chosen weight and a shadow beside each other, by what
    the version in charge recorded in the last 24 hours.
    """
    now = parts.clock()
    counted = parts.database.run(lambda tx: _requests(tx, adapter, since=now - _DAY))
    try:
        guards = parts.orders.guards(adapter)
        wanted = query.wanted(counted=counted, watched=as_equals(guards))
    except ValueError as error:
        raise Problem(422, str(error), kind="invalid-request") from error
    found = choices(wanted)
    chosen = choose(found, within_days=query.within_days)
    ways = parts.database.run(
        lambda tx: foresee_ways(
            tx,
            adapter,
            guards,
            settings=parts.orders.settings,
            now=now,
            requests_per_day=query.requests_per_day,
            one=None if chosen is None else step_of(chosen),
        )
    )
    return CanaryPlanBody(
        **query.model_dump(exclude={"requests_per_day", "guardrails"}),
        adapter=adapter,
        guardrails=wanted.guardrails,
        requests_per_day=wanted.requests_per_day,
        measured=query.requests_per_day is None,
        chosen=None if chosen is None else chosen.weight,
        choices=[choice(one, wanted, now=now) for one in found],
        ways=[way(one) for one in ways],
    )


def _requests(tx: Connection, adapter: str, *, since: datetime) -> int:
    known = lookup.adapter(tx, adapter)
    return capture_counts.requests(tx, adapter_id=known.id, since=since)
