"""What a canary can come to at its adapter's traffic, as the API answers it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import Field

from monitor.api.shapes import Answer
from monitor.traffic.trial.foresight import Foreseen
from monitor.traffic.trial.prospect import Prospect, StepProspect, Way, WayKind
from monitor.traffic.trial.states import Step


class StepBody(Answer):
    """A step of a plan."""

    weight: float
    hours: float
    requests: int


class StepProspectBody(Answer):
    """What a step comes to, for a version that is no worse; null: not in sight."""

    number: int
    weight: float
    requests_at: datetime | None = Field(description="It has its requests then.")
    inside_at: datetime | None = Field(
        description="Every guardrail is inside its margin then, in 9 of 10 canaries."
    )
    ends_at: datetime | None = Field(description="Both, and its least time is over.")
    asked_at: datetime = Field(description="A person is asked then, if it has not ended.")
    decided: bool = Field(description="It ends by itself before, in 9 of 10 canaries.")
    chance: float = Field(description="That it does, at least.")
    slowest: str | None = Field(description="The guardrail that takes longest.")


class ProspectBody(Answer):
    """What the steps come to that are not over; a warning, never a refusal."""

    requests_per_day: float
    copies_per_day: float
    known: bool = Field(description="Whether enough was recorded to say more than of requests.")
    promotable: bool = Field(description="Every step is decided by itself, in 9 of 10 canaries.")
    chance: float
    verdict_at: datetime | None = Field(description="Null: a person is asked instead.")
    latest_at: datetime = Field(description="A person is asked by then, whatever is found.")
    steps: Sequence[StepProspectBody]


class ForeseenBody(ProspectBody):
    """The same of one canary, and what is to be said of it."""

    warning: str | None = Field(description="Why it is not decided by itself.")
    advice: str | None = Field(
        description="Other ways that would be, and when; commands between backticks."
    )


class WayBody(Answer):
    """A way to try a version from now on."""

    way: WayKind
    steps: Sequence[StepBody]
    copies: int = Field(description="That a shadow answers until its verdict.")
    prospect: ProspectBody


def step_bodies(steps: Sequence[Step]) -> list[StepBody]:
    """Write the steps of a plan."""
    return [
        StepBody(weight=step.weight, hours=step.lasts / timedelta(hours=1), requests=step.requests)
        for step in steps
    ]


def foreseen_body(found: Foreseen | None) -> ForeseenBody | None:
    """Write what one canary comes to; None where it is decided."""
    if found is None:
        return None
    told = _prospect(found.prospect).model_dump()
    return ForeseenBody(**told, warning=found.warning, advice=found.advice)


def way_body(way: Way) -> WayBody:
    """Write a way to try a version."""
    return WayBody(
        way=way.kind,
        steps=step_bodies(way.plan.steps),
        copies=way.copies,
        prospect=_prospect(way.prospect),
    )


def _prospect(found: Prospect) -> ProspectBody:
    return ProspectBody(
        requests_per_day=found.requests_per_day,
        copies_per_day=found.copies_per_day,
        known=found.known,
        promotable=found.promotable,
        chance=found.chance,
        verdict_at=found.verdict_at,
        latest_at=found.latest_at,
        steps=[_step(step) for step in found.steps],
    )


def _step(found: StepProspect) -> StepProspectBody:
    return StepProspectBody(
        number=found.number,
        weight=found.step.weight,
        requests_at=found.requests_at,
        inside_at=found.inside_at,
        ends_at=found.ends_at,
        asked_at=found.asked_at,
        decided=found.decided,
        chance=found.chance,
        slowest=found.slowest,
    )
