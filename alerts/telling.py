"""Decide which waiting messages are sent now, and which together: a pure function.

The incident machine (:mod:`alerts.incident`) says what happened; this module says which of it a
channel is told, and when. A message first waits for others of its group, and for as long as its
incident is silenced or inhibited. A message that meanwhile became pointless (fired and gone, gone
and back) is never sent, so an end is told only to those who heard the beginning.

The rules are Alertmanager's (its ``needsUpdate``), with one difference: a page that joins a group
waits only as long as a group's first message does, never for the next interval.
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
"""The facts to group messages by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """The rules for one channel's messages.

    wait
        How long the first message of a group waits for others; an incident over by then is not
        told. A page never waits longer.
    interval
        Least time between two messages of a group.
    together
        True if a group is one message; else each incident is its own group.
    by
        Facts that make a group (of :data:`FACTS`).
    repeat
        The interval for repeating an open incident, by severity; without an entry never.
    acknowledges
        True if the receiver keeps its own incidents and is told about acknowledgements.
    unacknowledged_for
        The channel first hears of an incident once nobody has acknowledged it for so long since
        the channels without this were told of it, and never of one that ends before.
    """

    wait: timedelta = timedelta()
    interval: timedelta = timedelta()
    together: bool = False
    by: tuple[str, ...] = ("owner", "blame")
    repeat: Mapping[Severity, timedelta] = field(default_factory=lambda: MappingProxyType({}))
    acknowledges: bool = False
    unacknowledged_for: timedelta = timedelta()

    @property
    def at_once(self) -> bool:
        """True if no message ever waits."""
        return not self.wait and not self.interval and not self.unacknowledged_for


AT_ONCE: Final = Manner()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A channel's state of an incident by its last message, and the time of that message.

    ``alert`` is that message; None if it cannot be decoded any more, and then it is not repeated.
    ``taken`` is true if the channel was told of an acknowledgement since.
    """

    firing: bool
    severity: Severity
    at: datetime
    alert: Alert | None = None
    taken: bool = False

    @classmethod
    def by(cls, alert: Alert, *, at: datetime, taken: bool = False) -> Self:
        """Build it from an alert."""
        return cls(firing=alert.firing, severity=alert.severity, at=at, alert=alert, taken=taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """One channel's last message about one incident, and its waiting messages.

    held
        Waiting messages, oldest first.
    since
        The time of the earliest waiting message. Meaningless if none waits.
    called
        The time from which those who were called can acknowledge what waits: when the first
        channel was told of it, and the present while none was.
    muted
        True if the incident is silenced or inhibited: only the end of what was told is sent.
    quiet
        True if the incident is over or acknowledged: it is not repeated, and it is not escalated.
    """

    incident: int
    group: str
    told: Told | None = None
    held: tuple[Alert, ...] = ()
    since: datetime
    called: datetime
    muted: bool = False
    quiet: bool = False

    @property
    def open_there(self) -> bool:
        """True if the channel's last message was firing."""
        return self.told is not None and self.told.firing

    @property
    def cancelled(self) -> bool:
        """True if the waiting messages have become pointless."""
        return bool(self.held) and news(self) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """One message: each incident's news, the most urgent first, and why it is sent."""

    reason: Reason
    news: tuple[tuple[Matter, Alert], ...]

    def reason_of(self, matter: Matter, said: Alert) -> Reason:
        """Return why one of the incidents is told now.

        An update or a repeat under a receiver's acknowledgement calls nobody, unless it tells the
        receiver that the acknowledgement has ended.
        """
        let_go = matter.told is not None and matter.told.taken and not matter.quiet
        goes_on = self.reason is Reason.REPEAT or said.status is Status.UPDATED
        return Reason.LET_GO if goes_on and let_go else self.reason


def news(matter: Matter) -> Alert | None:
    """Combine what the channel has not heard yet into one alert; None if there is nothing.

    An end repeats severity, blame and owner as the channel was told, since receivers identify an
    incident by them, and a recovered incident has no blame any more. An update is relative to what
    this channel was told last, whatever others heard.
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
    """Return the latest message, as a start, for a channel that has heard nothing yet."""
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
    """Return one channel's messages to send now, at most one per group.

    Muting applies incident by incident. An end is sent even if muted, since a receiver with its own
    alerts would keep calling people. Other messages keep waiting, unless they are
    :attr:`Matter.cancelled`.
    """
    tellings = (_tell(group, manner, now) for group in _groups(matters, manner))
    return [telling for telling in tellings if telling is not None]


def group_of(alert: Alert, manner: Manner) -> str:
    """Name an alert's group, by the facts that the manner groups by."""
    if not manner.together:
        return alert.id
    return " ".join(f"{fact}={getattr(alert, fact) or ''!s}" for fact in manner.by)


def inhibited(alert: Alert, without_records: Mapping[tuple[str, str], Severity]) -> bool:
    """True if another open incident explains this one, so that it need not be told now.

    A ``no_data`` incident holds back drift messages of the same version of at most its own
    severity: a ticket never hides a page. ``without_records`` maps (adapter, version) to the
    severity of open ``no_data`` incidents. (Members of a fleet incident are told with it.)
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
        if (said := news(one)) is not None
        and not (one.muted and said.firing)
        and not _in_time(one, manner, now)
    ]
    if not fresh:
        return _repeat(group, manner, now)
    put_back = any(one.since > now for one, _ in fresh)  # the clock went back: its wait is unknown
    if not manner.at_once and not put_back and now < _due(group, fresh, manner):
        return None
    return Telling(reason=_reason(group, fresh, manner), news=_urgent_first(fresh))


def _in_time(matter: Matter, manner: Manner, now: datetime) -> bool:
    """True if somebody has acknowledged what the channel has not heard of, or still may in time."""
    if not manner.unacknowledged_for or matter.open_there:
        return False
    return matter.quiet or now < matter.called + manner.unacknowledged_for


def _due(
    group: Sequence[Matter], fresh: Sequence[tuple[Matter, Alert]], manner: Manner
) -> datetime:
    """Return when the group is due: after the wait, and for tickets after the interval."""
    waited = min(one.since for one, _ in fresh) + manner.wait
    known = [one.told.at for one in group if one.told is not None]
    if not any(one.open_there for one in group):
        return waited
    pages = [one.since + manner.wait for one, said in fresh if _pages(said)]
    return min([*pages, max(waited, max(known) + manner.interval)])


def _reason(
    group: Sequence[Matter], fresh: Sequence[tuple[Matter, Alert]], manner: Manner
) -> Reason:
    known = {one.incident for one in group if one.open_there}
    if all(said.status is Status.UPDATED for _, said in fresh):
        return Reason.UPDATED
    if manner.unacknowledged_for and any(not one.open_there for one, _ in fresh):
        return Reason.NOT_ACKNOWLEDGED
    if any(said.firing for _, said in fresh):
        return Reason.NEW_ALERTS if known else Reason.FIRST
    over = {one.incident for one, _ in fresh}
    return Reason.NEW_RESOLVED if known - over else Reason.ALL_RESOLVED


def _repeat(group: Sequence[Matter], manner: Manner, now: datetime) -> Telling | None:
    """Repeat open, unacknowledged incidents after their repeat interval.

    Repeats that would be due within the group's interval are included.
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
    """True if the alert calls people; updates of an open page can wait."""
    goes_on = alert.status is Status.UPDATED
    return alert.firing and alert.severity is Severity.PAGE and not goes_on


def _known(matter: Matter) -> Severity:
    return Severity.TICKET if matter.told is None else matter.told.severity


def acknowledged(told: Alert, *, by: str, at: datetime) -> Alert:
    """Build the message that tells a receiver with its own incidents who acknowledged one."""
    return replace(
        told,
        status=Status.ACKNOWLEDGED,
        reason=f"acknowledged by {by}",
        at=at,
        notification_reason=Reason.ACKNOWLEDGED,
    )
