"""Tell people once about adapters that drift together: the incident of their base model.

A version joins when its verdict is blamed on the base, and leaves when it recovers or drifts alone;
the incident ends with its last member. Joining is silent, except to channels that match the new
adapter and have not heard of the fleet incident. Nobody is paged twice: if a member's own page went
out before the common cause was known, that page stays open and the fleet's message is a ticket,
sent also to the channels that received the page.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

import alerts.types as words
from alerts import incident as machine
from alerts.closing import Closing
from alerts.differing import gist
from alerts.incident import WINDOW, Closed, Condition, FleetKey, IncidentState, Lead, Observed, Tell
from alerts.message import Alert, ScoreLine, Together, leading
from alerts.titles import summarised
from alerts.types import Blame
from alerts.updating import Fact, Gist
from monitor.domain import Adapter, IncidentId, Verdict, VerdictSeverity, Version
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.inputs import AlertInputs, links_to, onset_of
from monitor.outbox.telling import hold, tell_at_once
from monitor.store.incidents import fleet_incidents, incidents, outbox
from monitor.store.incidents.fleet_incidents import Member
from monitor.store.incidents.incidents import IncidentRow, IncidentUpdate, StoredKey
from monitor.store.registry import adapters, versions

KIND = words.Kind.DRIFT


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """The effect of one evaluation on its base's incident.

    ``incident_id`` is None if people are told nothing. ``member`` is true if the version belongs to
    the fleet incident, so that its own drift is not told.
    """

    incident_id: IncidentId | None = None
    member: bool = False
    told: bool = False


def record_shared(
    tx: Connection,
    version: Version,
    *,
    verdict: Verdict,
    condition: Condition,
    inputs: AlertInputs,
    channels: Sequence[ConfiguredChannel],
    now: datetime,
    window: timedelta = WINDOW,
) -> Shared:
    """Advance the incident of the version's base, and queue its messages.

    ``condition`` is the verdict's meaning for drift. Call this before locking the version's own
    incidents: every caller locks the base first.
    """
    looked = _Looked(
        tx=tx,
        version=version,
        verdict=verdict,
        inputs=inputs,
        channels=channels,
        names=[channel.name for channel in channels],
        now=now,
        window=window,
    )
    breach = condition in {Condition.TICKET, Condition.PAGE}
    if breach and verdict.blame is Blame.BASE:
        return looked.joined(condition)
    return Shared() if condition is Condition.UNKNOWN else looked.left()


def leave_shared(
    tx: Connection,
    version: Version,
    *,
    verdict: Verdict,
    inputs: AlertInputs,
    channels: Collection[str],
    now: datetime,
    why: Closing | None = None,
) -> None:
    """End a version's membership, because a person overruled its finding or for the reason ``why``.

    ``channels`` are the names that the final messages may go to. When the last member leaves, the
    incident recovers, or ends for the reason ``why``.
    """
    looked = _Looked(
        tx=tx, version=version, verdict=verdict, inputs=inputs, names=channels, now=now
    )
    looked.left(why)


def close_shared(
    tx: Connection,
    incident: IncidentRow,
    member: Version,
    *,
    why: Closing,
    verdict: Verdict,
    inputs: AlertInputs,
    channels: Collection[str],
    now: datetime,
) -> None:
    """End an open fleet incident for all its members, because a person said so.

    ``verdict`` is the one that stood, with the reason that people shall read; ``member`` is any of
    the members. Call this with the base locked
    (:func:`monitor.store.incidents.fleet_incidents.lock`).
    """
    base = incident.base_model or ""
    last = incidents.newest(tx, StoredKey.on(base, KIND.value))
    if last is None or last.id != incident.id:
        return
    after, tells = machine.step(machine.from_json(last.state), Closed(why=why), now)
    looked = _Looked(tx=tx, version=member, verdict=verdict, inputs=inputs, names=channels, now=now)
    for tell in tells:
        looked.ended(base, after, tell, incident.id)
    for one in fleet_incidents.members(tx, incident.id):
        if one.left_at is None:
            fleet_incidents.leave(tx, one.version_id, at=now)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Looked:
    """One evaluation of a member or candidate; ``names`` are the names of all channels."""

    tx: Connection
    version: Version
    verdict: Verdict
    inputs: AlertInputs
    channels: Sequence[ConfiguredChannel] = ()
    names: Collection[str]
    now: datetime
    window: timedelta = WINDOW

    def joined(self, condition: Condition) -> Shared:
        base = fleet_incidents.base_of(self.version)
        fleet_incidents.lock(self.tx, base)
        left = fleet_incidents.membership(self.tx, self.version.id)
        last = incidents.newest(self.tx, StoredKey.on(base, KIND.value))
        before = machine.from_json(last.state) if last else IncidentState()
        scores, label = self.inputs.scores, self.version.label
        lead = lead_of(before, condition, label, scores)
        observed = Observed(condition=condition, gist=finding_of(lead, label, scores))
        after, tells = machine.step(before, observed, self.now, window=self.window)
        after = replace(after, lead=lead)
        if last is not None and left is not None and left != last.id:
            self.left()  # its base model became known after it joined the unnamed one
        if not tells and last is not None:
            if after != before:
                incidents.put_state_of(
                    self.tx, last.id, phase=after.phase.value, state=machine.to_json(after)
                )
            return self.joined_quietly(base, last.id, after)
        return self.told(base, after, tells[0])

    def joined_quietly(self, base: str, incident_id: IncidentId, state: IncidentState) -> Shared:
        """Tell only the channels that match this adapter and have heard nothing yet."""
        if not fleet_incidents.join(self.tx, incident_id, self.version.id, at=self.now):
            return Shared(incident_id=incident_id, member=True)
        severity = words.Severity(self.verdict.severity.value)
        since = state.since or self.now
        tell = Tell(
            status=words.Status.STARTED,
            number=state.number,
            severity=severity,
            since=since,
            at=self.now,
        )
        alert = self.alert(base, tell, incident_id)
        heard = outbox.channels_told(self.tx, incident_id)
        own = (self.inputs.adapter, self.version.name)
        wanting = [c.name for c in self.channels if self.wanted(c, alert, [own])]
        self.hold(alert, incident_id, [name for name in wanting if name not in heard])
        self.put(base, state, replace(tell, severity=state.told or severity), alert.summary)
        return Shared(incident_id=incident_id, member=True, told=not heard >= set(wanting))

    def told(self, base: str, after: IncidentState, tell: Tell) -> Shared:
        """Tell that the incident began, worsened, or changed in what is known about it."""
        incident_id = self.put(base, after, tell, "")
        fleet_incidents.join(self.tx, incident_id, self.version.id, at=self.now)
        paged = fleet_incidents.paged_already(
            self.tx, [self.version.id, *self.inputs.standing.company], kind=KIND.value
        )
        fleet_incidents.link(self.tx, paged, to=incident_id)
        goes_on = tell.status is words.Status.UPDATED
        said = replace(tell, severity=words.Severity.TICKET) if paged or goes_on else tell
        alert = self.alert(base, said, incident_id)
        self.put(base, after, tell, alert.summary)
        if goes_on:  # each channel hears it with the urgency it heard of the incident
            self.hold(alert, incident_id, sorted(outbox.channels_told(self.tx, incident_id)))
            return Shared(incident_id=incident_id, member=True, told=True)
        concerned = self.concerned(incident_id)
        wanting = [c.name for c in self.channels if self.wanted(c, alert, concerned)]
        paged_ones = [outbox.channels_told(self.tx, one) for one in paged]
        self.hold(alert, incident_id, dict.fromkeys([*wanting, *sorted(set().union(*paged_ones))]))
        return Shared(incident_id=incident_id, member=True, told=True)

    def left(self, why: Closing | None = None) -> Shared:
        """End the version's membership, and the incident if it was the last member."""
        incident_id = fleet_incidents.membership(self.tx, self.version.id)
        row = incidents.incident(self.tx, incident_id) if incident_id is not None else None
        if incident_id is None or row is None or row.base_model is None:
            return Shared()
        fleet_incidents.lock(self.tx, row.base_model)
        fleet_incidents.leave(self.tx, self.version.id, at=self.now)
        members = fleet_incidents.members(self.tx, incident_id)
        last = incidents.newest(self.tx, StoredKey.on(row.base_model, KIND.value))
        if last is None or not last.open:
            return Shared(incident_id=incident_id)
        state = machine.from_json(last.state)
        if any(m.left_at is None for m in members):
            self.speaks_no_more(last.id, state)
            return Shared(incident_id=incident_id)
        event = Observed(condition=Condition.CLEAR) if why is None else Closed(why=why)
        after, tells = machine.step(state, event, self.now)
        for tell in tells:
            self.ended(row.base_model, after, tell, incident_id)
        return Shared(incident_id=incident_id, told=bool(tells))

    def ended(self, base: str, after: IncidentState, tell: Tell, incident_id: IncidentId) -> None:
        """Tell every channel that heard of the incident that it ended."""
        alert = self.alert(base, tell, incident_id)
        self.put(base, after, tell, alert.summary)
        late = outbox.mark_late(self.tx, incident_id)
        heard = outbox.channels_told(self.tx, incident_id)
        for name in self.names:
            if name in heard:
                self.hold(replace(alert, late=name in late), incident_id, [name])

    def speaks_no_more(self, incident_id: IncidentId, state: IncidentState) -> None:
        if state.lead is not None and state.lead.member == self.version.label:
            body = machine.to_json(replace(state, lead=None))
            incidents.put_state_of(self.tx, incident_id, phase=state.phase.value, state=body)

    # --- message --------------------------------------------------------------------------

    def alert(self, base: str, tell: Tell, incident_id: IncidentId) -> Alert:
        together = self.together(base, incident_id)
        over = tell.status is words.Status.RECOVERED
        alert = Alert(
            id=FleetKey(base=base, kind=KIND).dedup_key(tell.number),
            number=tell.number,
            kind=KIND,
            adapter="",
            version="",
            status=tell.status,
            severity=tell.severity,
            verdict=self.verdict.kind,
            blame=words.Blame.BASE,
            summary="",
            reason=self.reason(tell),
            at=tell.at,
            started_at=tell.since,
            recovered_at=tell.at if over else None,
            closing=tell.closing,
            onset=onset_of(self.verdict),
            scores=self.inputs.scores,
            requests=self.inputs.requests,
            together=together,
            changes=self.inputs.changes,
            links=links_to(self.inputs, incident_id, fleet=True),
        )
        return summarised(alert)

    def reason(self, tell: Tell) -> str:
        """Return the version's reason, labelled with it; a person's word applies to all members."""
        said = self.verdict.reason
        return said if tell.closing is not None else f"{self.version.label}: {said}"

    def together(self, base: str, incident_id: IncidentId) -> Together:
        """List the members, and the versions about to join because they drift with this one."""
        standing = self.inputs.standing
        known: dict[str, None] = dict.fromkeys(
            member.label for member in fleet_incidents.members(self.tx, incident_id)
        )
        found = [versions.fetch_by_id(self.tx, one).label for one in standing.company]
        return Together(
            base=base,
            members=(*(known | dict.fromkeys(found)),),
            of=standing.adapters,
            base_moved=standing.base_moved,
        )

    def concerned(self, incident_id: IncidentId) -> list[tuple[Adapter, str]]:
        """Return the adapter and version name of each present member."""
        known: list[Member] = fleet_incidents.members(self.tx, incident_id)
        present = [member for member in known if member.left_at is None]
        return [(adapters.fetch_by_id(self.tx, one.adapter_id), one.version) for one in present]

    @staticmethod
    def wanted(
        channel: ConfiguredChannel, alert: Alert, concerned: Iterable[tuple[Adapter, str]]
    ) -> bool:
        """True if the channel would accept an alert about any one of these members."""
        return any(
            channel.matcher.accepts(
                replace(
                    alert,
                    adapter=adapter.name,
                    version=version,
                    owner=adapter.owner,
                    tier=adapter.tier,
                    labels=dict(adapter.labels),
                )
            )
            for adapter, version in concerned
        )

    # --- storage --------------------------------------------------------------------------

    def put(self, base: str, state: IncidentState, tell: Tell, summary: str) -> IncidentId:
        over = tell.status is words.Status.RECOVERED
        return incidents.put(
            self.tx,
            StoredKey.on(base, KIND.value),
            IncidentUpdate(
                number=tell.number,
                phase=state.phase.value,
                state=machine.to_json(state),
                severity=VerdictSeverity(tell.severity.value),
                blame=Blame.BASE,
                summary=summary,
                opened_at=tell.since,
                closed_at=tell.at if over else None,
            ),
        )

    def hold(self, alert: Alert, incident_id: IncidentId, channels: Iterable[str]) -> None:
        hold(
            self.tx,
            alert,
            channels=channels,
            incident_id=incident_id,
            transition_id=self.inputs.transition_id,
        )
        manners = {channel.name: channel.manner for channel in self.channels}
        tell_at_once(self.tx, incident_id, manners=manners, now=self.now)


MOST_EVIDENCE: Final = 1e6
"""Infinite evidence is stored as this value, because JSON has no infinity."""


def lead_of(
    before: IncidentState, condition: Condition, member: str, scores: Sequence[ScoreLine]
) -> Lead | None:
    """Choose the leading member after an evaluation of one member.

    A member that opens the incident or raises it to a page is named in that message, so it leads
    from then on.
    """
    mine, known = leading(scores), before.lead
    if mine is None:
        return known
    evidence = min(mine.evidence or 0.0, MOST_EVIDENCE)
    raises = condition is Condition.PAGE and before.told is not words.Severity.PAGE
    stronger = known is None or known.member == member or evidence > known.evidence
    return Lead(member=member, evidence=evidence) if raises or stronger else known


def finding_of(lead: Lead | None, member: str, scores: Sequence[ScoreLine]) -> Gist | None:
    """Return the member's finding if it leads; None if another member leads."""
    if lead is None or lead.member != member:
        return None
    known = gist(verdict=words.VerdictKind.DRIFTING, blame=words.Blame.BASE, scores=scores)
    return {Fact.FINDING: known[Fact.FINDING]}
