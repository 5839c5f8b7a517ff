"""Versions on trial as people see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from detectors.trial_plan import Choice, Wanted, detectable_drop
from monitor.domain import SHADOWED
from monitor.store.traffic import canaries, canary_looks
from monitor.store.traffic.canaries import CanaryRow
from monitor.store.traffic.canary_looks import CanaryEvent
from monitor.store.traffic.shadow_answers import AnsweredTwice
from monitor.traffic.trial.foresight import foresee, verdict_at
from monitor.traffic.trial.guards import guard_words
from monitor.traffic.trial.prospect import Prospect, Way
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import CanaryStep, Pause, Phase, plan_from_json, state_from_json
from monitor.views.canary import (
    CanaryBegun,
    CanaryBody,
    CanaryDetail,
    ChoiceBody,
    ForeseenBody,
    GuardBody,
    LookBody,
    PairBody,
    ProspectBody,
    SideBody,
    StepBody,
    StepProspectBody,
    WayBody,
)

HOUR: Final = timedelta(hours=1)


def summary(row: CanaryRow) -> CanaryBody:
    """Write a canary as lists show it."""
    return CanaryBody.of(
        state_from_json(row.state),
        canary=row.id,
        **{name: getattr(row, name) for name in _STORED},
        steps=steps(plan_from_json(row.plan).steps),
        guards=[guard["name"] for guard in row.guards],
    )


_STORED: Final = (
    *("adapter", "version", "control", "latched", "mode", "unchecked"),
    *("created_by", "created_at", "ended_at"),
)


def begun(
    tx: Connection, row: CanaryRow, *, settings: CanarySettings, now: datetime
) -> CanaryBegun:
    """Write a canary that has just begun, with what it can come to."""
    prospect = _foreseen(tx, row, None, settings=settings, now=now)
    return CanaryBegun.of(summary(row), prospect=prospect)


def detail(
    tx: Connection, row: CanaryRow, *, settings: CanarySettings, now: datetime
) -> CanaryDetail:
    """Read a canary with what it can come to and what happened to it."""
    looks = canary_looks.looks(tx, row.id)
    last = canary_looks.last_measured(looks)
    return CanaryDetail.of(
        summary(row),
        prospect=_foreseen(tx, row, last, settings=settings, now=now),
        registered_since=canaries.registered_since(tx, row),
        looks=[_look(look) for look in looks],
    )


def steps(found: Sequence[CanaryStep]) -> list[StepBody]:
    """Write the steps of a plan."""
    return [StepBody.of(step, hours=step.lasts / HOUR) for step in found]


def way(found: Way) -> WayBody:
    """Write a way to try a version."""
    return WayBody(
        way=found.kind,
        steps=steps(found.plan.steps),
        copies=found.copies,
        prospect=_prospect(found.prospect),
    )


def choice(found: Choice, wanted: Wanted, *, now: datetime) -> ChoiceBody:
    """Write what a verdict takes at one share of the traffic."""
    smallest = detectable_drop(wanted, weight=found.weight, days=1.0)
    at = verdict_at(found, now=now)
    return ChoiceBody.of(found, verdict_at=at, detectable_in_a_day=smallest)


def pair(one: AnsweredTwice, row: CanaryRow) -> PairBody:
    """Write a prompt that both versions answered."""
    copied = f"{one.id}{SHADOWED}"
    return PairBody.of(
        one,
        answered=SideBody(record=one.id, version=row.control, answer=one.answer),
        copied=SideBody(record=copied, version=row.version, answer=one.copy_answer),
    )


def _foreseen(
    tx: Connection,
    row: CanaryRow,
    last: CanaryEvent | None,
    *,
    settings: CanarySettings,
    now: datetime,
) -> ForeseenBody | None:
    found = foresee(tx, row, last, settings=settings, now=now)
    if found is None:
        return None
    told = _prospect(found.prospect)
    return ForeseenBody.of(told, warning=found.warning, advice=found.advice)


def _prospect(found: Prospect) -> ProspectBody:
    told = [StepProspectBody.of(step, weight=step.step.weight) for step in found.steps]
    return ProspectBody.of(found, steps=told)


def _look(look: CanaryEvent) -> LookBody:
    guards = None if look.guards is None else [_guard(guard) for guard in look.guards]
    pause = look.pause and Pause(look.pause)
    return LookBody.of(look, phase=Phase(look.phase), pause=pause, guards=guards)


def _guard(found: Mapping[str, Any]) -> GuardBody:
    told = {**found, "title": guard_words(found["name"])}
    return GuardBody(**{field.name: told[field.name] for field in fields(GuardBody)})
