"""What a person may do about traffic from an incident: send it away, back, or hold it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from sqlalchemy import Connection

from monitor.domain import Arm, ArmKind, Edition, Route, Version
from monitor.incident.reading import Story
from monitor.store import versions
from monitor.store.actions import OPEN, ActionRow
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest, resolve_arms, serving_arm, stable_arm
from monitor.traffic.fallback.survey import targets_of

HELD_FOR: Final = timedelta(hours=24)


class Move(StrEnum):
    """What is done with the route."""

    AWAY = "away"
    BACK = "back"
    HOLD = "hold"


class Asking(Protocol):
    """The part of :class:`monitor.traffic.proof.Proof` that is needed here."""

    def problems(
        self, before: Route | None, arms: Sequence[Arm], registered: Sequence[Version]
    ) -> list[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What can be done about traffic now.

    approvable
        An action that waits for a person.
    away
        The previous version that may take the traffic of the one the incident is about.
    back
        The stable version, while others answer in its place.
    edition
        Of the route these follow from; None: there is none, so nothing can be moved.
    """

    approvable: ActionRow | None = None
    away: Version | None = None
    back: str | None = None
    held_until: datetime | None = None
    edition: Edition | None = None


def read_choices(tx: Connection, story: Story, *, now: datetime) -> Choices:
    """Say what can be done about an incident's traffic; nothing of a fleet incident."""
    if story.version is None or story.route is None:
        return Choices()
    route = story.route.route
    stable = stable_arm(route)
    answers = serving_arm(route, story.version.name) is not None
    hold = story.route.hold_until
    return Choices(
        approvable=next((one for one in story.actions if one.state in OPEN), None),
        away=next(iter(targets_of(tx, story.version).usable), None) if answers else None,
        back=stable.version if stable.weight == 0 else None,
        held_until=hold if hold is not None and hold > now else None,
        edition=route.edition,
    )


def unproven(
    tx: Connection, story: Story, choices: Choices, wanted: Move, *, proof: Asking
) -> Callable[[], list[str]]:
    """Prepare the question whether who gets the traffic is served; ask it outside ``tx``."""
    if story.route is None or story.version is None:
        return list
    before = story.route.route
    registered = versions.of_adapter(tx, story.version.adapter_id)
    by_name = {version.name: version for version in registered}
    arms = resolve_arms(_arms(before, choices, wanted), by_name)
    return lambda: proof.problems(before, arms, registered)


def move(
    tx: Connection,
    story: Story,
    choices: Choices,
    wanted: Move,
    *,
    edition: Edition,
    by: str,
    because: str,
    now: datetime,
) -> Route:
    """Write the route that a person wants.

    Parameters
    ----------
    edition
        Of the route that the person saw.

    Raises
    ------
    LookupError
        That cannot be done now; the message says why.
    GenerationConflict
        The route has changed since.
    """
    if story.route is None or story.version is None:
        raise LookupError("There is no route to change.")
    arms = _arms(story.route.route, choices, wanted)
    hold = now + HELD_FOR if wanted is Move.HOLD else story.route.hold_until
    return table.put(
        tx,
        story.version.adapter,
        arms=arms,
        expected_generation=edition.generation,
        expected_epoch=edition.epoch,
        reason=f"{because} (incident {story.row.id})",
        actor=by,
        now=now,
        valid_until=story.route.route.valid_until if wanted is Move.HOLD else None,
        on_expiry=story.route.route.on_expiry,
        hold_until=hold,
    )


def _arms(route: Route, choices: Choices, wanted: Move) -> Sequence[ArmRequest]:
    stable = stable_arm(route).version
    match wanted:
        case Move.HOLD:
            return [ArmRequest(arm=a.arm, version=a.version, weight=a.weight) for a in route.arms]
        case Move.BACK:
            if choices.back is None:
                raise LookupError("The stable version has its traffic.")
            return [ArmRequest(arm=ArmKind.STABLE, version=stable, weight=1.0)]
        case Move.AWAY:
            if choices.away is None:
                raise LookupError("No previous version may take the traffic.")
            return [
                ArmRequest(arm=ArmKind.STABLE, version=stable, weight=0.0),
                ArmRequest(arm=ArmKind.FALLBACK, version=choices.away.name, weight=1.0),
            ]
