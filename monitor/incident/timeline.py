"""List an incident's events in order: verdicts, messages, people's judgements, actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from alerts.closing import CLOSINGS, Closing
from alerts.types import Status
from monitor.outbox.deeds import action_words, route_words, shares
from monitor.store.audit import Entry
from monitor.store.evaluation.verdicts import TransitionRow
from monitor.store.incidents.deliveries import DeliveryRow
from monitor.store.incidents.incidents import IncidentRow
from monitor.store.incidents.outbox import DeliveryState
from monitor.store.traffic.actions import ActionRow, author_of
from monitor.store.traffic.routes import RouteRow


class MomentKind(StrEnum):
    """The kind of an event."""

    VERDICT = "verdict"
    TOLD = "told"
    PERSON = "person"
    ACTION = "action"
    ROUTE = "route"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One line of the timeline.

    label
        The text beside it in a chart: the verdict, or who answers from then on; else empty.
    bad
        True if something went wrong.
    """

    at: datetime
    kind: MomentKind
    text: str
    label: str = ""
    bad: bool = False


_SAID = {
    "incident.ack": "acknowledged it",
    "incident.false": "marked it as a false alarm",
    "incident.accept": "accepted it as normal",
}


def timeline(
    row: IncidentRow,
    *,
    transitions: Sequence[TransitionRow],
    deliveries: Sequence[DeliveryRow],
    actions: Sequence[ActionRow],
    routes: Sequence[RouteRow],
    said: Sequence[Entry],
) -> tuple[Moment, ...]:
    """Combine all events in order, oldest first."""
    found = [
        *(_verdict(one) for one in transitions),
        *(_told(one) for one in deliveries),
        *_moves(actions, routes),
        *(_person(one) for one in said if one.act in _SAID),
    ]
    if row.closed_at is not None:
        why = row.closing_beside_mark
        over = "the incident is over" + (f": {CLOSINGS[Closing(why)]}" if why else "")
        found.append(Moment(at=row.closed_at, kind=MomentKind.VERDICT, text=over))
    return tuple(sorted(found, key=lambda one: one.at))


def _verdict(moved: TransitionRow) -> Moment:
    news, _, _ = moved.reason.partition(":")  # its numbers stand in the details
    text = f"{moved.after}: {news}" if news else moved.after.value
    return Moment(at=moved.at, kind=MomentKind.VERDICT, text=text, label=moved.after.value)


_STATUSES: Final[Mapping[object, str]] = {
    Status.WORSENED: ", worse",
    Status.REOPENED: " again",
    Status.UPDATED: " update",
    Status.RECOVERED: " resolved",
}


def _told(sent: DeliveryRow) -> Moment:
    status = _STATUSES.get(sent.alert.get("status"), "")
    what = f"{sent.alert.get('severity') or 'message'}{status}"
    update = sent.alert.get("update")
    said = f": {update.get('text')}" if isinstance(update, dict) else ""
    tries = f" after {sent.attempts} attempts" if sent.attempts > 1 else ""
    match sent.state:
        case DeliveryState.DELIVERED:
            text = f"sent to {sent.channel}: {what}{said}{tries}"
            return Moment(at=sent.delivered_at or sent.created_at, kind=MomentKind.TOLD, text=text)
        case DeliveryState.DEAD:
            text = f"not delivered to {sent.channel}{tries}: {sent.last_error or 'given up'}"
            return Moment(at=sent.created_at, kind=MomentKind.TOLD, text=text, bad=True)
        case DeliveryState.QUEUED:
            why = f" ({sent.last_error})" if sent.last_error else ""
            text = f"not delivered to {sent.channel} yet{tries}{why}: {what}{said}"
            return Moment(
                at=sent.created_at, kind=MomentKind.TOLD, text=text, bad=sent.last_error is not None
            )


def _moves(actions: Sequence[ActionRow], routes: Sequence[RouteRow]) -> Iterator[Moment]:
    """Describe actions and routes; an action and the route that it wrote are one event."""
    wrote = {author_of(one.id): one for one in actions}
    authors = {one.actor for one in routes}
    for author, action in wrote.items():
        if author not in authors:
            yield Moment(at=action.created_at, kind=MomentKind.ACTION, text=action_words(action))
    for one in routes:
        by = wrote.get(one.actor)
        text = route_words(one) if by is None else action_words(by)
        at, label = one.route.since, arms_label(one)
        yield Moment(at=at, kind=MomentKind.ROUTE, text=text, label=label)


def arms_label(changed: RouteRow) -> str:
    """Write who answers from then on, short enough for a chart."""
    to = shares(changed)
    return to if "%" in to else f"to {to}"


def _person(entry: Entry) -> Moment:
    reason = entry.details.get("reason")
    because = f": {reason}" if reason else ""
    return Moment(
        at=entry.at, kind=MomentKind.PERSON, text=f"{entry.actor} {_SAID[entry.act]}{because}"
    )
