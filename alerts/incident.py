"""Decide when people are told: the incident machine, a pure function.

``step(state, event, now)`` returns the next state and the messages to send. It reads no clock and
keeps nothing, so a replay of the stored verdicts gives the same messages, and a crash between
deciding and committing is invisible.

Phases and their changes, for one key::

    ok ──breach──▶ firing ─────clear──────▶ ok
                     ▲                       │
                     └─breach within 7 days──┘  (same number)

A verdict is sticky and already carries its persistence (the evidence process is the persistence
rule), so one breach fires and one clear recovers. Only a clear observation recovers an incident:
ignorance (``learning``, ``insufficient``, ``error``, no data) changes nothing.

A firing incident whose facts have changed is told again (``updated``), as :mod:`alerts.updating`
decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

import msgspec

from alerts import updating
from alerts.closing import Closing
from alerts.types import Count, Kind, Moment, Severity, Status, VerdictKind

LONGEST_DEDUP_KEY = 255
"""PagerDuty's limit, the smallest among the receivers."""
REOPEN_WITHIN = timedelta(days=7)
"""How soon after a recovery a breach reopens the incident."""
WINDOW = timedelta(minutes=15)
"""The evaluations' window where none is given: how long a changed fact must hold to be told."""


class IncidentPhase(StrEnum):
    """An incident's phase."""

    OK = "ok"
    FIRING = "firing"


class Condition(StrEnum):
    """One observation, as the machine reads it."""

    TICKET = "ticket"
    PAGE = "page"
    CLEAR = "clear"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentKey:
    """The identity of at most one open incident: (adapter, version, kind).

    The version is part of it, because each version has its own weights, reference and evidence.
    When traffic moves from a bad v7 to a healthy v6, v6's ``stable`` says nothing about v7: v7's
    incident stays open until v7 recovers or a person ends it.
    """

    adapter: str
    version: str
    kind: Kind

    def dedup_key(self, number: int) -> str:
        """Name one incident for receivers, the same in all its messages.

        At most 255 characters; longer names are replaced by their SHA-256.
        """
        return _dedup_key(f"driftline:{self.adapter}@{self.version}:{self.kind}:{number}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetKey:
    """The identity of at most one open fleet incident: (base model, kind).

    Adapters on one base model that drift together do so for one reason, so people are told once.
    """

    base: str
    kind: Kind

    def dedup_key(self, number: int) -> str:
        """Name one fleet incident for receivers; same limit as :meth:`IncidentKey.dedup_key`."""
        return _dedup_key(f"driftline:fleet:{self.base}:{self.kind}:{number}")


def _dedup_key(key: str) -> str:
    if len(key) <= LONGEST_DEDUP_KEY:
        return key
    return f"driftline:{hashlib.sha256(key.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """An acknowledgement of the incident that holds until ``until``."""

    by: str
    until: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """The leading member of a fleet incident, and its evidence when last evaluated."""

    member: str
    evidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentState:
    """The machine's memory of one key.

    number
        Of the latest incident, counted from 1 for each key; 0 before the first.
    told
        Most urgent severity people were told since it started or was reopened;
        None unless it is open.
    since
        When the open incident started (or was reopened).
    recovered_at
        When the latest incident recovered, or its version went out of service; a breach within 7
        days reopens it. None after any other closing, even of an incident that had recovered: a
        later breach is then a new incident.
    found
        Names of the detectors that fired since the open incident started, sorted.
    closing
        Why the latest incident ended; None while it is open, and if it recovered.
    known
        The facts of the open incident that trigger an update when they change.
    lead
        The member of an open fleet incident with the strongest evidence.
    """

    phase: IncidentPhase = IncidentPhase.OK
    number: Count = 0
    told: Severity | None = None
    since: Moment | None = None
    recovered_at: Moment | None = None
    ack: Ack | None = None
    found: tuple[str, ...] = ()
    closing: Closing | None = None
    known: tuple[updating.Known, ...] = ()
    lead: Lead | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The result of one evaluation; ``detectors`` are those that fired.

    ``gist`` holds the facts that people are told; None if they never change or were not read.
    ``confirmed`` is true if the cause among them is confirmed.
    """

    condition: Condition
    detectors: tuple[str, ...] = ()
    gist: updating.Gist | None = None
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """A person acknowledges the open incident; ignored if none is open."""

    by: str
    lasts: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """An end without a recovery; an incident that is over stays over.

    A later breach is a new incident with a new number, except for a version that went out of
    service (:attr:`Closing.OUT_OF_SERVICE`).
    """

    why: Closing


Event = Observed | Acknowledged | Closed


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """One message to people; ``severity`` is the one they are told now.

    On recovery, it is the most urgent that they were told. ``closing`` is set if the incident was
    ended instead of recovering.
    """

    status: Status
    number: int
    severity: Severity
    since: datetime
    at: datetime
    closing: Closing | None = None


Effects = tuple[Tell, ...]


def step(
    state: IncidentState, event: Event, now: datetime, *, window: timedelta = WINDOW
) -> tuple[IncidentState, Effects]:
    """Advance one key's incident by one event.

    Returns the next state and at most one message. The messages of one number always read
    ``started … recovered (reopened … recovered)*``, where ``…`` is ``worsened`` once at most,
    and ``updated`` as often as :mod:`alerts.updating` permits.
    """
    state = _without_expired_ack(state, now)
    match event:
        case Observed():
            return _observe(state, event, now=now, window=window)
        case Acknowledged(by=by, lasts=lasts):
            if state.phase is IncidentPhase.OK:
                return state, ()
            return replace(state, ack=Ack(by=by, until=now + lasts)), ()
        case Closed(why=why):
            if state.phase is IncidentPhase.OK:
                return replace(state, recovered_at=None), ()
            return _end(state, now=now, closing=why)
        case _:
            assert_never(event)


def conditions(
    verdict: VerdictKind, *, silence: Severity | None = None
) -> Mapping[Kind, Condition]:
    """Read one evaluation as an observation for each kind of incident.

    Parameters
    ----------
    silence
        None while records come as expected; else the severity of their absence.

    Returns
    -------
    Mapping
        One condition per kind. Silence and errors never clear a drift incident; a real
        verdict clears an ``error`` incident, records clear a ``no_data`` incident.
    """
    return {
        Kind.DRIFT: _drift_condition(verdict, silent=silence is not None),
        Kind.NO_DATA: _silence_condition(verdict, silence),
        Kind.ERROR: Condition.TICKET if verdict is VerdictKind.ERROR else Condition.CLEAR,
    }


def blindness(verdict: VerdictKind, *, known: bool, blind: bool) -> Condition:
    """Read the coverage of requests as a condition, at most a ticket.

    ``known`` is true if this evaluation counted coverage at all. A failed evaluation may not have
    read the records.
    """
    if blind:
        return Condition.TICKET
    return Condition.CLEAR if known and verdict is not VerdictKind.ERROR else Condition.UNKNOWN


def _drift_condition(verdict: VerdictKind, *, silent: bool) -> Condition:
    match verdict:
        case VerdictKind.CRITICAL:
            return Condition.PAGE
        case VerdictKind.DRIFTING:
            return Condition.TICKET
        case VerdictKind.STABLE:
            return Condition.UNKNOWN if silent else Condition.CLEAR
        case (
            VerdictKind.LEARNING | VerdictKind.BLIND | VerdictKind.INSUFFICIENT | VerdictKind.ERROR
        ):
            return Condition.UNKNOWN
        case _:
            assert_never(verdict)


def _silence_condition(verdict: VerdictKind, silence: Severity | None) -> Condition:
    if silence is not None:
        return Condition(silence.value)
    # A failed evaluation may not have been able to read the records at all.
    return Condition.UNKNOWN if verdict is VerdictKind.ERROR else Condition.CLEAR


def _observe(
    state: IncidentState, seen: Observed, *, now: datetime, window: timedelta
) -> tuple[IncidentState, Effects]:
    match seen.condition:
        case Condition.TICKET:
            return _breach(state, Severity.TICKET, seen, now=now, window=window)
        case Condition.PAGE:
            return _breach(state, Severity.PAGE, seen, now=now, window=window)
        case Condition.CLEAR:
            return (state, ()) if state.phase is IncidentPhase.OK else _end(state, now=now)
        case Condition.UNKNOWN:
            return state, ()
        case _:
            assert_never(seen.condition)


def _breach(
    state: IncidentState, severity: Severity, seen: Observed, *, now: datetime, window: timedelta
) -> tuple[IncidentState, Effects]:
    if state.told is None or state.since is None:
        return _open(state, severity, seen, now=now)
    found = tuple(sorted({*state.found, *seen.detectors}))
    # Acknowledging one detector's finding does not cover another's: the incident repeats again. (An
    # incident opened without detectors learns them first.)
    unseen = bool(state.found) and found != state.found
    firing = replace(
        state,
        found=found,
        ack=None if unseen else state.ack,
        known=state.known if seen.gist is None else updating.seen(state.known, seen.gist, now),
    )
    if severity.rank > state.told.rank:
        # Acknowledging a ticket does not acknowledge a page.
        worse = replace(firing, told=severity, ack=None, known=updating.said(firing.known))
        return worse, (_go_on(worse, Status.WORSENED, severity, state.since, now),)
    why = updating.decide(firing.known, now=now, window=window, confirmed=seen.confirmed)
    if seen.gist is None or why not in updating.TELLING:
        return firing, ()
    taken = None if why is updating.UpdateReason.RISEN else firing.ack
    updated = replace(firing, ack=taken, known=updating.said(firing.known))
    return updated, (_go_on(updated, Status.UPDATED, state.told, state.since, now),)


def _go_on(
    state: IncidentState, status: Status, severity: Severity, since: datetime, now: datetime
) -> Tell:
    return Tell(status=status, number=state.number, severity=severity, since=since, at=now)


def _open(
    state: IncidentState, severity: Severity, seen: Observed, *, now: datetime
) -> tuple[IncidentState, Effects]:
    again = state.recovered_at is not None and now - state.recovered_at <= REOPEN_WITHIN
    number = state.number if again else state.number + 1
    opened = IncidentState(
        phase=IncidentPhase.FIRING,
        number=number,
        told=severity,
        since=now,
        found=tuple(sorted(seen.detectors)),
        known=updating.begun(seen.gist or {}, now),
    )
    status = Status.REOPENED if again else Status.STARTED
    return opened, (_go_on(opened, status, severity, now, now),)


def _end(
    state: IncidentState, *, now: datetime, closing: Closing | None = None
) -> tuple[IncidentState, Effects]:
    again = closing is None or closing is Closing.OUT_OF_SERVICE
    ended = IncidentState(number=state.number, recovered_at=now if again else None, closing=closing)
    if state.told is None or state.since is None:
        return ended, ()
    tell = Tell(
        status=Status.RECOVERED,
        number=state.number,
        severity=state.told,
        since=state.since,
        at=now,
        closing=closing,
    )
    return ended, (tell,)


def _without_expired_ack(state: IncidentState, now: datetime) -> IncidentState:
    if state.ack is None or now < state.ack.until:
        return state
    return replace(state, ack=None)


def to_json(state: IncidentState) -> dict[str, object]:
    """Write a state as JSON-ready values; times are RFC 3339 with their offset."""
    return dict(msgspec.to_builtins(state))


# met here once: alerts/message.py says why
msgspec.json.Decoder(IncidentState)


def from_json(body: Mapping[str, object]) -> IncidentState:
    """Read what :func:`to_json` wrote.

    Raises
    ------
    ValueError
        A word, a time or a count is unknown to the machine: no state is better than a wrong one.
    """
    try:
        return msgspec.convert(dict(body), IncidentState)
    except msgspec.ValidationError as error:
        raise ValueError(f"not the state of an incident: {error}") from error
