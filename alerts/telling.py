"""Which of the messages that wait are sent now, and which together: a pure function.

The incident machine (:mod:`alerts.incident`) says what happened; this says what of it a
channel is told, and when. A message first waits, for what belongs together to come
together, and for as long as its incident is silenced or inhibited. What has come to nothing
meanwhile (fired and gone, gone and back) is never told, so that an end is told only where
the beginning was.

The rules are Alertmanager's (its ``needsUpdate``), with one difference: a page that joins a
group waits as long as the first message of a group does, never for the next interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Self

from alerts.differing import updated
from alerts.message import Alert
from alerts.types import Kind, Reason, Severity, Status

FACTS: Final = ("owner", "blame", "adapter", "kind", "severity", "tier")
"""What messages can be grouped by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a channel is told.

    wait
        How long the first message of a group waits for others; what is over by then is not
        told. A page never waits longer.
    interval
        Least time between two messages of a group.
    together
        Whether a group is one message; else each incident is a group of its own.
    by
        Facts that make a group (of :data:`FACTS`).
    repeat
        After how long an open incident is told again; without an entry never.
    acknowledges
        Whether the receiver keeps incidents of its own, and is told who has one in hand.
    """

    wait: timedelta = timedelta()
    interval: timedelta = timedelta()
    together: bool = False
    by: tuple[str, ...] = ("owner", "blame")
    repeat: Mapping[Severity, timedelta] = field(default_factory=lambda: MappingProxyType({}))
    acknowledges: bool = False

    @property
    def at_once(self) -> bool:
        """Whether nothing ever waits for others."""
        return not self.wait and not self.interval


AT_ONCE: Final = Manner()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a channel believes of an incident by its last message, and since when.

    ``alert`` is that message; None where it cannot be read any more, and is not repeated.
    ``taken``: since then it was told that somebody has the incident in hand.
    """

    firing: bool
    severity: Severity
    at: datetime
    alert: Alert | None = None
    taken: bool = False

    @classmethod
    def by(cls, alert: Alert, *, at: datetime, taken: bool = False) -> Self:
        """Give what an alert makes of it."""
        return cls(firing=alert.firing, severity=alert.severity, at=at, alert=alert, taken=taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """What one channel has heard of one incident, and what waits to be told.

    held
        Messages that wait, in their order.
    since
        Since when; the earliest of them. Meaningless where none waits.
    muted
        The incident is silenced or inhibited: it is not told, but for the end of what was.
    quiet
        The incident is over, or somebody has it in hand: it is not repeated.
    """

    incident: int
    group: str
    told: Told | None = None
    held: tuple[Alert, ...] = ()
    since: datetime
    muted: bool = False
    quiet: bool = False

    @property
    def open_there(self) -> bool:
        """Whether the channel's people believe that it is open."""
        return self.told is not None and self.told.firing

    @property
    def cancelled(self) -> bool:
        """Whether what waits has come to nothing."""
        return bool(self.held) and news(self) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """One message: of each incident its news, the most urgent first, and why it is sent."""

    reason: Reason
    news: tuple[tuple[Matter, Alert], ...]

    def reason_of(self, matter: Matter, said: Alert) -> Reason:
        """Say why one of them is told now.

        Of what goes on under a receiver's acknowledgement nobody is called, unless the receiver
        learns that nobody has it in hand any more.
        """
        let_go = matter.told is not None and matter.told.taken and not matter.quiet
        goes_on = self.reason is Reason.REPEAT or said.status is Status.UPDATED
        return Reason.LET_GO if goes_on and let_go else self.reason


def news(matter: Matter) -> Alert | None:
    """Say what the channel has not heard yet, in one alert; None: nothing.

    It is told of the end of what it was told: receivers know an incident by its severity, its
    blame and its owner, too, and whatever has recovered is blamed on nothing any more. What has
    changed is said beside what this channel was told last, whatever others have heard.
    """
    if not matter.held:
        return None
    last = matter.held[-1]
    if not matter.open_there:
        return _begun(matter.held) if last.firing else None
    if not last.firing:
        return _ended(matter, last)
    if last.severity.rank > _known(matter).rank:
        return _worse(matter, last)
    gone_and_back = any(not one.firing for one in matter.held)
    if last.status is not Status.UPDATED:
        return None if gone_and_back else last
    told = None if matter.told is None else matter.told.alert
    return last if told is None else updated(told, last)


def _begun(held: Sequence[Alert]) -> Alert:
    """Give what is known by now to whoever has heard nothing yet."""
    last = held[-1]
    if last.status is not Status.UPDATED:
        return last
    again = any(one.status is Status.REOPENED for one in held)
    return replace(last, status=Status.REOPENED if again else Status.STARTED)


def _worse(matter: Matter, last: Alert) -> Alert:
    worse = replace(last, status=Status.WORSENED)
    told = None if matter.told is None else matter.told.alert
    said = None if told is None else updated(told, worse, status=Status.WORSENED)
    return worse if said is None else replace(said, known_as=None)  # another alert there


def _ended(matter: Matter, end: Alert) -> Alert:
    told = None if matter.told is None else matter.told.alert
    if told is None:
        return replace(end, severity=_known(matter))
    return replace(
        end,
        severity=told.severity,
        blame=told.blame,
        known_as=told.known_as,
        owner=told.owner,
        tier=told.tier,
        labels=told.labels,
    )


def decide(matters: Sequence[Matter], manner: Manner, now: datetime) -> list[Telling]:
    """Say what one channel is told now; of each group at most one message.

    A group is muted incident by incident. The end of what was told is told all the same: a
    receiver that keeps alerts of its own would go on calling people. What waits and is not in
    a result goes on waiting, unless it is :attr:`Matter.cancelled`.
    """
    tellings = (_tell(group, manner, now) for group in _groups(matters, manner))
    return [telling for telling in tellings if telling is not None]


def group_of(alert: Alert, manner: Manner) -> str:
    """Name the group that an alert belongs to, by the facts that the manner groups by."""
    if not manner.together:
        return alert.id
    return " ".join(f"{fact}={getattr(alert, fact) or ''!s}" for fact in manner.by)


def inhibited(alert: Alert, without_records: Mapping[tuple[str, str], Severity]) -> bool:
    """Whether another open incident says why, so that this one need not be told now.

    Records that do not come hold back news of the same version's drift that is no more urgent
    than they are: a ticket never hides a page. ``without_records`` has the open ``no_data``
    incidents by (adapter, version). (What belongs to a fleet incident is told with it.)
    """
    silent = without_records.get((alert.adapter, alert.version))
    return alert.kind is Kind.DRIFT and silent is not None and silent.rank >= alert.severity.rank


def _groups(matters: Sequence[Matter], manner: Manner) -> list[list[Matter]]:
    groups: dict[str, list[Matter]] = {}
    for matter in matters:
        name = matter.group if manner.together else str(matter.incident)
        groups.setdefault(name, []).append(matter)
    return list(groups.values())


def _tell(group: Sequence[Matter], manner: Manner, now: datetime) -> Telling | None:
    fresh = [
        (one, said)
        for one in group
        if (said := news(one)) is not None and not (one.muted and said.firing)
    ]
    if not fresh:
        return _repeat(group, manner, now)
    put_back = any(one.since > now for one, _ in fresh)  # the clock: how long it waited is lost
    if not manner.at_once and not put_back and now < _due(group, fresh, manner):
        return None
    return Telling(reason=_reason(group, fresh), news=_urgent_first(fresh))


def _due(
    group: Sequence[Matter], fresh: Sequence[tuple[Matter, Alert]], manner: Manner
) -> datetime:
    """When the group is told: after the wait, and of tickets not before the interval is over."""
    waited = min(one.since for one, _ in fresh) + manner.wait
    known = [one.told.at for one in group if one.told is not None]
    if not any(one.open_there for one in group):
        return waited
    pages = [one.since + manner.wait for one, said in fresh if _pages(said)]
    return min([*pages, max(waited, max(known) + manner.interval)])


def _reason(group: Sequence[Matter], fresh: Sequence[tuple[Matter, Alert]]) -> Reason:
    known = {one.incident for one in group if one.open_there}
    if all(said.status is Status.UPDATED for _, said in fresh):
        return Reason.UPDATED
    if any(said.firing for _, said in fresh):
        return Reason.NEW_ALERTS if known else Reason.FIRST
    over = {one.incident for one, _ in fresh}
    return Reason.NEW_RESOLVED if known - over else Reason.ALL_RESOLVED


def _repeat(group: Sequence[Matter], manner: Manner, now: datetime) -> Telling | None:
    """Tell again what is open, unacknowledged, and was told long ago.

    What would be due within the interval is told along.
    """
    again: list[tuple[Matter, Alert]] = []
    due = False
    for one in group:
        after = manner.repeat.get(_known(one)) if one.open_there else None
        if after is None or one.told is None or one.told.alert is None:
            continue
        if one.muted or one.quiet or one.held:
            continue
        due |= one.told.at + after <= now
        if one.told.at + after <= now + manner.interval:
            again.append((one, replace(one.told.alert, at=now, update=None)))
    return Telling(reason=Reason.REPEAT, news=_urgent_first(again)) if due else None


def _urgent_first(news: Sequence[tuple[Matter, Alert]]) -> tuple[tuple[Matter, Alert], ...]:
    def urgency(one: tuple[Matter, Alert]) -> tuple[bool, int, int]:
        matter, alert = one
        return not alert.firing, -alert.severity.rank, matter.incident

    return tuple(sorted(news, key=urgency))


def _pages(alert: Alert) -> bool:
    """Whether it calls people; what is known otherwise of a page that is out can wait."""
    goes_on = alert.status is Status.UPDATED
    return alert.firing and alert.severity is Severity.PAGE and not goes_on


def _known(matter: Matter) -> Severity:
    return Severity.TICKET if matter.told is None else matter.told.severity


def acknowledged(told: Alert, *, by: str, at: datetime) -> Alert:
    """Say of an incident, to a receiver that keeps its own, that somebody has it in hand."""
    return replace(
        told,
        status=Status.ACKNOWLEDGED,
        reason=f"{by} has it in hand",
        at=at,
        notification_reason=Reason.ACKNOWLEDGED,
    )
