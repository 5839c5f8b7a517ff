"""Move an incident's traffic on a person's request: away, back, or hold it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection

from monitor.domain import ArmKind, Edition, Route, Version
from monitor.incident.reading import IncidentStory
from monitor.store.registry import versions
from monitor.store.traffic.actions import OPEN, ActionRow
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest, InvalidRoute, resolve_arms, serving_arm, stable_arm
from monitor.traffic.fallback.survey import targets_of
from monitor.traffic.proof import Proof

HELD_FOR: Final = timedelta(hours=24)


class TrafficMove(StrEnum):
    """A change of the route that a person can ask for."""

    AWAY = "away"
    BACK = "back"
    HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The moves of traffic that are possible now.

    approvable
        An action that awaits approval.
    away
        The previous version, which may take over the traffic of the incident's version.
    back
        The stable version, while others answer in its place.
    edition
        The edition of the route that these choices follow from; None if there is no route, so that
        nothing can be moved.
    """

    approvable: ActionRow | None = None
    away: Version | None = None
    back: str | None = None
    held_until: datetime | None = None
    edition: Edition | None = None


def read_choices(tx: Connection, story: IncidentStory, *, now: datetime) -> Choices:
    """Read the possible moves of an incident's traffic; none for a fleet incident."""
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
    tx: Connection, story: IncidentStory, choices: Choices, wanted: TrafficMove, *, proof: Proof
) -> Callable[[], list[str]]:
    """Prepare the check that the new arms are served; call the result outside ``tx``."""
    if story.route is None or story.version is None:
        return list
    before = story.route.route
    registered = versions.of_adapter(tx, story.version.adapter_id)
    by_name = {version.name: version for version in registered}
    arms = resolve_arms(_arms(before, choices, wanted), by_name)
    return lambda: proof.problems(before, arms, registered)


def move(
    tx: Connection,
    story: IncidentStory,
    choices: Choices,
    wanted: TrafficMove,
    *,
    edition: Edition,
    by: str,
    because: str,
    now: datetime,
) -> Route:
    """Write the route that a person asked for.

    Parameters
    ----------
    edition
        The edition of the route that the person saw.

    Raises
    ------
    LookupError
        The move is not possible now; the message says why.
    GenerationConflict
        The route has changed since then.
    """
    if story.route is None or story.version is None:
        raise LookupError("There is no route to change.")
    arms = _arms(story.route.route, choices, wanted)
    hold = now + HELD_FOR if wanted is TrafficMove.HOLD else story.route.hold_until
    try:
        return table.put(
            tx,
            story.version.adapter,
            arms=arms,
            expected_generation=edition.generation,
            expected_epoch=edition.epoch,
            reason=f"{because} (incident {story.row.id})",
            actor=by,
            now=now,
            valid_until=story.route.route.valid_until if wanted is TrafficMove.HOLD else None,
            on_expiry=story.route.route.on_expiry,
            hold_until=hold,
        )
    except InvalidRoute as error:
        raise LookupError(f"{error}.") from error


def _arms(route: Route, choices: Choices, wanted: TrafficMove) -> Sequence[ArmRequest]:
    stable = stable_arm(route).version
    match wanted:
        case TrafficMove.HOLD:
            return [ArmRequest(arm=a.arm, version=a.version, weight=a.weight) for a in route.arms]
        case TrafficMove.BACK:
            if choices.back is None:
                raise LookupError("The stable version has its traffic.")
            return [ArmRequest(arm=ArmKind.STABLE, version=stable, weight=1.0)]
        case TrafficMove.AWAY:
            if choices.away is None:
                raise LookupError("No previous version may take the traffic.")
            return [
                ArmRequest(arm=ArmKind.STABLE, version=stable, weight=0.0),
                ArmRequest(arm=ArmKind.FALLBACK, version=choices.away.name, weight=1.0),
            ]
