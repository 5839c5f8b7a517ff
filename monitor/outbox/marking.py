"""Record a person's judgement of an incident, and its effects, in one transaction.

The judgement ends the incident and resets what keeps its verdict raised: crossings and probe
findings are forgotten, the evidence that crossed restarts at zero, and an evaluation in progress is
not written. The next evaluation therefore judges only what it sees itself, and anything it finds is
a new incident.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

import alerts.types as words
from alerts import incident as machine
from alerts.closing import Closing
from alerts.incident import Closed
from alerts.types import VerdictKind
from monitor.domain import IncidentId, Mark, Transition, Verdict, Version, VersionId
from monitor.outbox.fleet import close_shared, leave_shared
from monitor.outbox.inputs import AlertInputs
from monitor.outbox.record import record_closing
from monitor.policy import Memory
from monitor.store import audit
from monitor.store.evaluation import processes, tasks, verdicts
from monitor.store.evaluation.verdicts import VerdictRow
from monitor.store.incidents import fleet_incidents, incidents, outbox
from monitor.store.incidents.incidents import IncidentRow, StoredKey
from monitor.store.registry import adapters, versions

_SAID: Final = {Mark.FALSE_PAGE: "marked as a false alarm", Mark.ACCEPTED: "accepted as normal"}
_ACTS: Final = {Mark.FALSE_PAGE: "incident.false", Mark.ACCEPTED: "incident.accept"}
_ENDS: Final = {
    words.Kind.NO_DATA.value: "it is about records that do not come, and ends when they do",
    words.Kind.BLIND.value: "it is about uncompared requests, and ends when most are compared",
    words.Kind.ERROR.value: "it is about evaluations that fail, and ends when one succeeds",
    words.Kind.ROUTING.value: "it is about a move of traffic, and ends when that is settled",
    words.Kind.CANARY.value: "it is about a canary, and ends when the canary goes on or ends",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A person's judgement of an incident, and the reason for it."""

    mark: Mark
    by: str
    because: str
    at: datetime

    @property
    def text(self) -> str:
        """The whole as a reason: ``marked as a false alarm by ann: the load test of Tuesday``."""
        return f"{_SAID[self.mark]} by {self.by}: {self.because}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearers:
    """The channels to tell of the end, among those that heard of the incident.

    ``channels`` None allows any channel; ``base_url`` is this service's public address.
    ``acknowledging`` names the channels that announce acknowledgements.
    """

    channels: Collection[str] | None = None
    acknowledging: Collection[str] = ()
    base_url: str | None = None


class NotMarkable(Exception):  # noqa: N818 - what is asked for cannot be said of it
    """The incident's state does not allow this judgement; the text says why."""


def mark(tx: Connection, incident_id: IncidentId, word: Word, *, hearers: Hearers) -> bool:
    """Mark an incident, ending it if it is open; return False if it already has this mark.

    An incident that is over can be marked too, since people often judge later and the receipt of
    pages counts it. It is then never reopened.

    Raises
    ------
    NotMarkable
        It has the opposite mark, or it is about missing records or failing evaluations that go on.
    LookupError
        There is no such incident.
    """
    held = hold(tx, incident_id)
    row = held.row
    if row.marked is word.mark:
        return False
    _check(row)
    if row.closed_at is None:
        _end(tx, held, word, hearers)
    else:
        _never_reopened(tx, held, word)
    incidents.mark(tx, row.id, word.mark, by=word.by, because=word.because, at=word.at)
    audit.append(
        tx,
        actor=word.by,
        act=_ACTS[word.mark],
        subject=f"incident {row.id}",
        details={
            "reason": word.because,
            "of": [version.label for version in held.versions],
            "was_open": row.closed_at is None,
        },
    )
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedIncident:
    """A locked incident and its versions: no evaluation of them is written meanwhile.

    ``judged`` holds the verdicts in force. The versions of a fleet incident are its members, and
    those whose own page is linked to it.
    """

    row: IncidentRow
    versions: Sequence[Version]
    judged: Mapping[VersionId, VerdictRow | None]


def hold(tx: Connection, incident_id: IncidentId) -> LockedIncident:
    """Lock in the order that evaluations use: verdicts, then the base, then incidents.

    Raises LookupError if there is no such incident.
    """
    row = _row(tx, incident_id)
    ids = sorted(_concerned(tx, row))
    known = verdicts.current_of(tx, ids, lock=True)
    judged = {one: known.get(one) for one in ids}
    if row.base_model is not None:
        fleet_incidents.lock(tx, row.base_model)
    return LockedIncident(
        row=_row(tx, incident_id),
        versions=[versions.fetch_by_id(tx, one) for one in ids],
        judged=judged,
    )


def _row(tx: Connection, incident_id: IncidentId) -> IncidentRow:
    row = incidents.incident(tx, incident_id)
    if row is None:
        raise LookupError(f"There is no incident {incident_id}.")
    return row


def _concerned(tx: Connection, row: IncidentRow) -> frozenset[VersionId]:
    if row.version_id is not None:
        return frozenset({row.version_id})
    members = fleet_incidents.members(tx, row.id)
    known = {m.version_id for m in members if m.left_at is None or row.closed_at is not None}
    return frozenset(known | set(fleet_incidents.paged_parts(tx, row.id)))


def _check(row: IncidentRow) -> None:
    if row.marked is not None:
        raise NotMarkable(
            f"Incident {row.id} was {_SAID[row.marked]} by {row.marked_by}; that stands."
        )
    if row.closed_at is None and row.kind in _ENDS:
        raise NotMarkable(f"Incident {row.id} cannot be judged yet: {_ENDS[row.kind]}.")


def _never_reopened(tx: Connection, held: LockedIncident, word: Word) -> None:
    state = _newest_state(tx, held)
    if state is None:
        return
    after, _ = machine.step(state, Closed(why=Closing(word.mark.value)), word.at)
    incidents.put_state_of(tx, held.row.id, phase=after.phase.value, state=machine.to_json(after))


def _newest_state(tx: Connection, held: LockedIncident) -> machine.IncidentState | None:
    """Return the machine's state if the incident is its key's newest one."""
    row = held.row
    if row.base_model is not None:
        newest = incidents.newest(tx, StoredKey.on(row.base_model, row.kind))
        body = newest.state if newest else None
    else:
        [version] = held.versions
        body = incidents.lock_states(tx, version).get(row.kind)
    state = machine.from_json(body) if body else None
    return state if state is not None and state.number == row.number else None


# --- ending an open incident ---------------------------------------------------------------


def _end(tx: Connection, held: LockedIncident, word: Word, hearers: Hearers) -> None:
    tasks.take_back(tx, version_ids=[version.id for version in held.versions])
    for version in held.versions:
        _overrule(tx, version, held.judged[version.id], word)
    if held.row.base_model is not None:
        _end_of_fleet(tx, held, word, hearers)
        return
    [version] = held.versions
    _end_of_version(tx, version, held, word, hearers, leaves=True)


def _overrule(tx: Connection, version: Version, judged: VerdictRow | None, word: Word) -> None:
    """Reset a version's verdict to stable, until something new is found."""
    memory = judged.memory if judged else Memory()
    verdict = Verdict(kind=VerdictKind.STABLE, reason=word.text, since=word.at)
    processes.begin_anew(
        tx, version_id=version.id, detectors={c.detector for c in memory.crossings}
    )
    if judged is None:
        return
    verdicts.put(
        tx, version_id=version.id, verdict=verdict, memory=memory.overruled(verdict), size=None
    )
    before = judged.verdict.kind
    if before is not VerdictKind.STABLE:
        made = Transition(version=version, before=before, after=verdict, at=word.at)
        verdicts.add_transition(tx, made, evaluation_id=None)


def _end_of_version(
    tx: Connection,
    version: Version,
    held: LockedIncident,
    word: Word,
    hearers: Hearers,
    *,
    leaves: bool,
) -> IncidentId | None:
    inputs = _inputs(tx, version, hearers)
    if leaves:
        membership = fleet_incidents.membership(tx, version.id)
        leave_shared(
            tx,
            version,
            verdict=Verdict(kind=VerdictKind.STABLE, reason=word.text, since=word.at),
            inputs=inputs,
            channels=_names(tx, membership, hearers),
            now=word.at,
        )
    open_one = incidents.open_one(tx, version, kind=words.Kind.DRIFT.value)
    return record_closing(
        tx,
        version,
        kind=words.Kind.DRIFT,
        why=Closing(word.mark.value),
        verdict=_stood(version, held, word),
        inputs=inputs,
        channels=_names(tx, open_one, hearers),
        now=word.at,
    )


def _end_of_fleet(tx: Connection, held: LockedIncident, word: Word, hearers: Hearers) -> None:
    """End the fleet incident, and its members' own pages sent before it was known."""
    for version in held.versions:
        own = _end_of_version(tx, version, held, word, hearers, leaves=False)
        if own is not None:
            fleet_incidents.link(tx, [own], to=held.row.id)
    first = held.versions[0]
    close_shared(
        tx,
        held.row,
        first,
        why=Closing(word.mark.value),
        verdict=_stood(first, held, word),
        inputs=_inputs(tx, first, hearers),
        channels=_names(tx, held.row.id, hearers),
        now=word.at,
    )


def _stood(version: Version, held: LockedIncident, word: Word) -> Verdict:
    """Return the verdict that is reset, with the person's reason in place of its own."""
    judged = held.judged[version.id]
    if judged is None:
        return Verdict(kind=VerdictKind.LEARNING, reason=word.text, since=word.at)
    return replace(judged.verdict, reason=word.text)


def _inputs(tx: Connection, version: Version, hearers: Hearers) -> AlertInputs:
    return AlertInputs(
        adapter=adapters.fetch_by_id(tx, version.adapter_id), base_url=hearers.base_url
    )


def _names(tx: Connection, incident_id: IncidentId | None, hearers: Hearers) -> frozenset[str]:
    heard = frozenset() if incident_id is None else outbox.channels_told(tx, incident_id)
    return heard if hearers.channels is None else heard & frozenset(hearers.channels)
