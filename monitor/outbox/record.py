"""Decide which channels to tell what, inside the transaction that stores the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

import alerts.types as words
from alerts import incident as machine
from alerts.closing import Closing
from alerts.differing import action_gist, gist
from alerts.incident import WINDOW, Closed, IncidentState, Observed
from alerts.message import ActionLine, Alert, ScoreLine
from alerts.updating import Fact
from monitor.domain import IncidentId, Verdict, VerdictSeverity, Version
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.deeds import done
from monitor.outbox.fleet import Shared, record_shared
from monitor.outbox.inputs import AlertInputs, links_to
from monitor.outbox.telling import hold, tell_at_once
from monitor.outbox.writing import Writing, alert_of, update_of
from monitor.store.incidents import fleet_incidents, incidents, outbox
from monitor.store.incidents.incidents import StoredKey


def record_observation(
    tx: Connection,
    version: Version,
    *,
    verdict: Verdict,
    inputs: AlertInputs,
    channels: Sequence[ConfiguredChannel],
    now: datetime,
    silence: words.Severity | None = None,
    window: timedelta = WINDOW,
) -> tuple[IncidentId, ...]:
    """Store what an evaluation means for incidents, and have their messages told.

    Call it in the transaction that writes the verdict: either all of it happens or nothing.
    Where the verdict stays it is needed when records stop or come again (``silence``: how
    urgent their absence is), when too few of them can be compared or enough again
    (``inputs.unseen``), and when something else is known of what goes on
    (:mod:`alerts.updating`); otherwise it changes nothing, so it may be called after every
    evaluation. Returns the incidents that people are told about.
    """
    conditions = dict(machine.conditions(verdict.kind, silence=silence))
    conditions[words.Kind.BLIND] = machine.blindness(
        verdict.kind, known=inputs.coverage_known, blind=inputs.unseen is not None
    )
    if inputs.broken is not None:
        conditions[words.Kind.ERROR] = machine.Condition.TICKET
    if inputs.departed:
        conditions |= {kind: _unless_bad(conditions[kind]) for kind in OF_ITS_ANSWERS}
    conditions[words.Kind.ROUTING] = (
        machine.Condition.CLEAR if inputs.misrouted is None else machine.Condition.PAGE
    )
    shared = record_shared(
        tx,
        version,
        verdict=verdict,
        condition=conditions[words.Kind.DRIFT],
        inputs=inputs,
        channels=channels,
        now=now,
        window=window,
    )
    told = [shared.incident_id] if shared.told and shared.incident_id is not None else []
    states = incidents.lock_states(tx, version)
    since = _done(tx, version, _state(states.get(words.Kind.DRIFT)))
    inputs = replace(inputs, action=since or inputs.action)
    if shared.member:
        _hand_over(tx, version, shared, verdict=verdict, inputs=inputs, channels=channels, now=now)
    if shared.member or inputs.standing.waits:
        conditions[words.Kind.DRIFT] = machine.Condition.UNKNOWN
    for kind, condition in conditions.items():
        before = _state(states.get(kind))
        after, tells = machine.step(
            before, _event(kind, condition, verdict, inputs), now, window=window
        )
        for tell in tells:
            writing = Writing(
                version=version, verdict=verdict, inputs=inputs, kind=kind, tell=tell, after=after
            )
            told.append(_tell(tx, writing, channels))
        if not tells and after != before:
            _remember(tx, version, kind=kind, state=after)
    return tuple(told)


def record_canary(
    tx: Connection,
    version: Version,
    *,
    severity: VerdictSeverity,
    over: bool,
    verdict: Verdict,
    inputs: AlertInputs,
    channels: Sequence[ConfiguredChannel],
    now: datetime,
) -> IncidentId | None:
    """Store the state of a version's canary as an incident, and queue its messages.

    ``severity`` NONE means that there is nothing (more) to tell. ``over``: the canary has ended, so
    a page about it ends, and what is left to tell is a ticket. ``verdict`` is the one in force,
    with its reason replaced by the canary's. What was done with its traffic (``inputs.action``)
    is told again when it changes. Repeating the same call changes nothing. Returns the incident
    that people are told about.
    """
    kind = words.Kind.CANARY
    state = _state(incidents.lock_states(tx, version).get(kind))
    told = None
    for condition in _canary_conditions(state, severity, over=over):
        seen = Observed(condition=condition, gist=action_gist(inputs.action))
        after, tells = machine.step(state, seen, now)
        for tell in tells:
            writing = Writing(
                version=version, verdict=verdict, inputs=inputs, kind=kind, tell=tell, after=after
            )
            told = _tell(tx, writing, channels)
        if not tells and after != state:
            _remember(tx, version, kind=kind, state=after)
        state = after
    return told


def _canary_conditions(
    state: IncidentState, severity: VerdictSeverity, *, over: bool
) -> tuple[machine.Condition, ...]:
    condition = _CONDITIONS[severity]
    if over and state.told is words.Severity.PAGE and condition is machine.Condition.TICKET:
        return machine.Condition.CLEAR, condition
    return (condition,)


_CONDITIONS: Final = {
    VerdictSeverity.NONE: machine.Condition.CLEAR,
    VerdictSeverity.TICKET: machine.Condition.TICKET,
    VerdictSeverity.PAGE: machine.Condition.PAGE,
}


OF_ITS_ANSWERS: Final = (words.Kind.DRIFT, words.Kind.BLIND, words.Kind.ERROR)
"""Kinds of incidents that do not matter while a version answers nobody.

The other kinds end by themselves when the version's traffic does.
"""


def _unless_bad(condition: machine.Condition) -> machine.Condition:
    clear = condition is machine.Condition.CLEAR
    return condition if clear else machine.Condition.UNKNOWN


def _event(
    kind: words.Kind, condition: machine.Condition, verdict: Verdict, inputs: AlertInputs
) -> Observed | Closed:
    """Make the machine's event; a drift that new rules clear is closed, not recovered."""
    if kind is not words.Kind.DRIFT:
        return Observed(condition=condition)
    if condition is machine.Condition.CLEAR and inputs.rules_changed:
        return Closed(why=Closing.RULE_CHANGED)
    return _drift(condition, verdict, inputs.scores, inputs.action)


def _drift(
    condition: machine.Condition,
    verdict: Verdict,
    scores: Sequence[ScoreLine],
    action: ActionLine | None,
) -> Observed:
    return Observed(
        condition=condition,
        detectors=tuple(verdict.detectors),
        gist=gist(verdict=verdict.kind, blame=verdict.blame, scores=scores, action=action),
        confirmed=verdict.sure is words.Sureness.CONFIRMED,
    )


def _done(tx: Connection, version: Version, state: IncidentState) -> ActionLine | None:
    """Return what was done since the version's incident opened; None if none is open."""
    return (
        None if state.told is None or state.since is None else done(tx, version, since=state.since)
    )


def update_due(
    tx: Connection,
    version: Version,
    *,
    verdict: Verdict,
    scores: Sequence[ScoreLine],
    now: datetime,
    window: timedelta = WINDOW,
) -> bool:
    """True if recording this would send an update of an open drift incident.

    For callers that gather more to say in that case. Decides as :func:`record_observation` will.
    """
    if verdict.severity is VerdictSeverity.NONE:
        return False
    state = _state(incidents.states(tx, version).get(words.Kind.DRIFT))
    found = _drift(_CONDITIONS[verdict.severity], verdict, scores, _done(tx, version, state))
    return state.told is not None and bool(machine.step(state, found, now, window=window)[1])


def _hand_over(
    tx: Connection,
    version: Version,
    shared: Shared,
    *,
    verdict: Verdict,
    inputs: AlertInputs,
    channels: Sequence[ConfiguredChannel],
    now: datetime,
) -> None:
    """End the version's own ticket, which the fleet incident replaces; a page stays open.

    Those who were paged must not hear that it is over, and must not be paged again.
    """
    state = _state(incidents.lock_states(tx, version).get(words.Kind.DRIFT))
    if shared.incident_id is None or state.told is not words.Severity.TICKET:
        return
    reason = f"part of fleet incident {shared.incident_id}: {verdict.reason}"
    own = record_closing(
        tx,
        version,
        kind=words.Kind.DRIFT,
        why=Closing.PART_OF_FLEET,
        verdict=replace(verdict, reason=reason),
        inputs=replace(inputs, part_of=shared.incident_id),
        channels=[channel.name for channel in channels],
        now=now,
    )
    if own is not None:
        fleet_incidents.link(tx, [own], to=shared.incident_id)


def record_closing(
    tx: Connection,
    version: Version,
    *,
    kind: words.Kind,
    why: Closing,
    verdict: Verdict,
    inputs: AlertInputs,
    channels: Iterable[str],
    now: datetime,
) -> IncidentId | None:
    """End a kind's open incident that has not recovered, and tell of its end at once.

    Returns None and changes nothing if none is open. ``verdict`` is the one that stood, with the
    reason that people shall read; ``channels`` are the names that messages may go to.
    :class:`alerts.incident.Closed` says whether a later finding is a new incident.
    """
    state = _state(incidents.lock_states(tx, version).get(kind))
    after, tells = machine.step(state, Closed(why=why), now)
    for tell in tells:
        writing = Writing(
            version=version, verdict=verdict, inputs=inputs, kind=kind, tell=tell, after=after
        )
        incident_id, alert = _written(tx, writing)
        _hold_its_end(tx, writing, incident_id, alert, among=channels)
        tell_at_once(tx, incident_id, manners={}, now=now)
        return incident_id
    return None


def _state(body: Mapping[str, object] | None) -> IncidentState:
    return machine.from_json(body) if body else IncidentState()


def _remember(tx: Connection, version: Version, *, kind: words.Kind, state: IncidentState) -> None:
    incidents.put_state(
        tx,
        StoredKey.of(version, kind.value),
        number=state.number,
        phase=state.phase.value,
        state=machine.to_json(state),
    )


def _tell(tx: Connection, writing: Writing, channels: Sequence[ConfiguredChannel]) -> IncidentId:
    incident_id, alert = _written(tx, writing)
    manners = {channel.name: channel.manner for channel in channels}
    if writing.over:
        _hold_its_end(tx, writing, incident_id, alert, among=manners)
    else:
        wanting = _wanting(tx, writing, incident_id, alert, channels)
        _hold(tx, writing, incident_id, alert, channels=wanting)
    tell_at_once(tx, incident_id, manners=manners, now=writing.tell.at)
    return incident_id


def _wanting(
    tx: Connection,
    writing: Writing,
    incident_id: IncidentId,
    alert: Alert,
    channels: Sequence[ConfiguredChannel],
) -> list[str]:
    """Name the channels to tell; those that matched an earlier blame hear of the new one."""
    wanting = [channel.name for channel in channels if channel.matcher.accepts(alert)]
    if alert.status is not words.Status.UPDATED:
        return wanting
    heard = outbox.channels_told(tx, incident_id)
    before = [
        replace(alert, blame=words.Blame(blame or words.Blame.UNKNOWN))
        for one in writing.after.known
        if one.fact is Fact.BLAME
        for blame in one.told
    ]
    return [
        channel.name
        for channel in channels
        if channel.name in wanting
        or (channel.name in heard and any(channel.matcher.accepts(one) for one in before))
    ]


def _hold_its_end(
    tx: Connection, writing: Writing, incident_id: IncidentId, alert: Alert, *, among: Iterable[str]
) -> None:
    """Send the resolve to every channel that received the alert, fallbacks included."""
    late = outbox.mark_late(tx, incident_id)
    heard = outbox.channels_told(tx, incident_id)
    for name in among:
        if name in heard:
            told = replace(alert, late=name in late)
            _hold(tx, writing, incident_id, told, channels=[name])


def _written(tx: Connection, writing: Writing) -> tuple[IncidentId, Alert]:
    alert = alert_of(writing)
    update = update_of(writing, alert.summary)
    incident_id = incidents.put(tx, StoredKey.of(writing.version, writing.kind.value), update)
    return incident_id, replace(alert, links=links_to(writing.inputs, incident_id))


def _hold(
    tx: Connection,
    writing: Writing,
    incident_id: IncidentId,
    alert: Alert,
    *,
    channels: Iterable[str],
) -> None:
    hold(
        tx,
        alert,
        channels=channels,
        incident_id=incident_id,
        transition_id=writing.inputs.transition_id,
    )
