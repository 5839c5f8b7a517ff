"""On-call in memory: the real machine, the real rules of telling, and lists for tables.

What the store does with rows this does with lists, so that weeks of many adapters pass in
seconds and a stateful test can try every order of events.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from alerts import telling
from alerts.closing import Closing
from alerts.incident import (
    WINDOW,
    Acknowledged,
    Closed,
    Condition,
    IncidentKey,
    IncidentPhase,
    IncidentState,
    Observed,
    Tell,
    step,
)
from alerts.message import Alert
from alerts.silences import Silence, silencing
from alerts.telling import Manner, Matter, Told
from alerts.types import Blame, Kind, Reason, Severity, Status, VerdictKind
from alerts.updating import Fact
from tests.alert_samples import an_alert

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

_VERDICTS: dict[object, VerdictKind] = {
    Condition.TICKET: VerdictKind.DRIFTING,
    Condition.PAGE: VerdictKind.CRITICAL,
}

Key = tuple[str, Kind]
"""An adapter and what its incidents are about."""


@dataclass(kw_only=True)
class Known:
    """What one channel was told of one incident, and what waits."""

    group: str = ""
    told: Told | None = None
    held: list[tuple[datetime, Alert]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One message of a channel."""

    at: datetime
    channel: str
    reason: Reason
    alerts: tuple[Alert, ...]


@dataclass
class World:
    """Adapters, who is told of them in which manner, and everything that was sent."""

    manners: Mapping[str, Manner]
    owners: Mapping[str, str] = field(default_factory=dict)
    now: datetime = BEGIN
    states: dict[Key, IncidentState] = field(default_factory=lambda: defaultdict(IncidentState))
    silences: list[Silence] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    tells: list[tuple[Key, Tell]] = field(default_factory=list)
    opened: dict[str, Alert] = field(default_factory=dict)
    """The newest alert of each open incident, by its id."""
    blames: dict[str, Blame] = field(default_factory=lambda: defaultdict(lambda: Blame.ADAPTER))
    """Where each adapter's change sits as far as is known now."""
    window: timedelta = WINDOW
    known: dict[str, dict[str, Known]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Known))
    )

    # --- what happens -----------------------------------------------------------------

    def observe(self, adapter: str, condition: Condition, kind: Kind = Kind.DRIFT) -> None:
        gist = {Fact.SEVERITY: condition.value, Fact.BLAME: self.blames[adapter].value}
        drift = kind is Kind.DRIFT and condition in {Condition.TICKET, Condition.PAGE}
        self._step((adapter, kind), Observed(condition=condition, gist=gist if drift else None))

    def acknowledge(self, adapter: str, *, lasts: timedelta) -> None:
        self._step((adapter, Kind.DRIFT), Acknowledged(by="ann", lasts=lasts))

    def close(self, adapter: str, why: Closing) -> None:
        self._step((adapter, Kind.DRIFT), Closed(why=why))

    def _step(self, key: Key, event: Observed | Acknowledged | Closed) -> None:
        self.states[key], tells = step(self.states[key], event, self.now, window=self.window)
        for tell in tells:
            self.tells.append((key, tell))
            alert = self._alert(key, tell, event)
            self.opened.pop(alert.id, None)
            if alert.firing:
                self.opened[alert.id] = alert
            for channel in self.manners:
                self._hold(channel, alert)

    def _alert(self, key: Key, tell: Tell, event: Observed | Acknowledged | Closed) -> Alert:
        adapter, kind = key
        name = IncidentKey(adapter=adapter, version="v7", kind=kind).dedup_key(tell.number)
        return an_alert(
            id=name,
            number=tell.number,
            kind=kind,
            adapter=adapter,
            owner=self.owners.get(adapter, "search"),
            status=tell.status,
            severity=tell.severity,
            verdict=_VERDICTS.get(getattr(event, "condition", None), VerdictKind.STABLE),
            blame=self.blames[adapter],
            at=tell.at,
            started_at=tell.since,
            recovered_at=None if tell.status is not Status.RECOVERED else tell.at,
        )

    def _hold(self, channel: str, alert: Alert) -> None:
        known = self.known[channel][alert.id]
        if alert.firing or known.told is not None or known.held:
            known.held.append((self.now, alert))

    # --- who is told ------------------------------------------------------------------

    def tick(self) -> None:
        """Look at everything that waits, as a worker does every second."""
        for channel, manner in self.manners.items():
            matters = {
                name: self._matter(channel, name, known)
                for name, known in self.known[channel].items()
                if known.told is not None or known.held
            }
            for one in telling.decide(list(matters.values()), manner, self.now):
                self._send(channel, one.reason, [(str(m.incident), a) for m, a in one.news])
            for name, known in self.known[channel].items():
                if name in matters and telling.news(matters[name]) is None:
                    known.held.clear()

    def _matter(self, channel: str, name: str, known: Known) -> Matter:
        manner = self.manners[channel]
        told = known.told.alert if known.told else None
        alert = known.held[-1][1] if known.held else told
        assert alert is not None, "it was told or is held"
        known.group = known.group or telling.group_of(alert, manner)
        since = known.held[0][0] if known.held else self.now
        return Matter(
            incident=name,  # type: ignore[arg-type] # the tests name incidents, the store counts
            group=known.group,
            told=known.told,
            held=tuple(one for _, one in known.held),
            since=since,
            called=self._called(name, since),
            muted=self.muted(alert),
            quiet=name not in self.opened or self.state_of(name).ack is not None,
        )

    def _called(self, name: str, since: datetime) -> datetime:
        """When a channel that waits for nobody was told; now, while one is yet to be."""
        first = [who for who, manner in self.manners.items() if not manner.unacknowledged_for]
        made = [
            one.at
            for one in self.sent
            if one.channel in first and one.at >= since
            for alert in one.alerts
            if alert.id == name and alert.firing
        ]
        coming = any(
            held and held[-1][0] >= since and not self.muted(held[-1][1])
            for who in first
            for held in [self.known[who][name].held]
        )
        return min(made, default=self.now if coming else since)

    def muted(self, alert: Alert) -> bool:
        without_records = {
            (one.adapter, one.version): one.severity
            for one in self.opened.values()
            if one.kind is Kind.NO_DATA
        }
        silenced = silencing(self.silences, alert, now=self.now) is not None
        return silenced or telling.inhibited(alert, without_records)

    def state_of(self, name: str) -> IncidentState:
        alert = self.opened[name]
        state = self.states[alert.adapter, alert.kind]
        expired = state.ack is not None and self.now >= state.ack.until
        return replace(state, ack=None) if expired else state

    def _send(self, channel: str, reason: Reason, said: Iterable[tuple[str, Alert]]) -> None:
        said = list(said)
        for name, alert in said:
            known = self.known[channel][name]
            known.told, known.held = Told.by(alert, at=self.now), []
        self.sent.append(
            Sent(at=self.now, channel=channel, reason=reason, alerts=tuple(a for _, a in said))
        )

    # --- what came of it --------------------------------------------------------------

    def heard(self, channel: str, name: str) -> list[tuple[Reason, Alert]]:
        """Everything a channel was told of one incident."""
        return [
            (one.reason, alert)
            for one in self.sent
            if one.channel == channel
            for alert in one.alerts
            if alert.id == name
        ]

    def firing(self) -> dict[str, Severity]:
        """Open incidents by id, and how urgent they are."""
        return {
            IncidentKey(adapter=key[0], version="v7", kind=key[1]).dedup_key(state.number): told
            for key, state in self.states.items()
            if state.phase is not IncidentPhase.OK and (told := state.told) is not None
        }
