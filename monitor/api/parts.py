"""The parts from which the application is built; the daemon and the tests each build them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Request

from alerts.channels import CHANNELS
from monitor.api.access import AccessSettings
from monitor.api.health import Beat, Vitals
from monitor.api.limits import BodyLimits
from monitor.api.problems import ProblemPage
from monitor.capture.intake import IntakeOutcome
from monitor.capture.sender import Sender
from monitor.domain import ActionId, Arm, Mode, Route, Version
from monitor.evaluate.outlook import Outlook
from monitor.evaluate.plan import Plans
from monitor.evaluate.retraining import Retrainings
from monitor.incident.smoke import SmokeTest
from monitor.outbox import ChannelFacts, Hearers, PageLinks
from monitor.reference.milestone import MilestoneRules
from monitor.store.database import Database
from monitor.store.traffic.actions import ActionRow
from monitor.traffic.killswitch import KillSwitch
from monitor.traffic.settings import RoutingSettings
from monitor.traffic.trial.orders import Orders
from monitor.traffic.watch import RouteWatch


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """The dashboard: its pages, and the page that shows a problem."""

    router: APIRouter
    problem: ProblemPage


class IntakePort(Protocol):
    """Accepts records; :class:`monitor.capture.intake.Intake` is the only one."""

    def records(
        self, body: bytes, *, content_type: str, content_encoding: str | None, sender: Sender
    ) -> IntakeOutcome:
        """Return when the accepted records are durable; raise ``CaptureError`` otherwise."""
        ...

    def spans(
        self, body: bytes, *, content_type: str, content_encoding: str | None, sender: Sender
    ) -> IntakeOutcome:
        """The same for the adapters' calls among OpenTelemetry's spans."""
        ...

    def feedback(
        self, body: bytes, *, content_type: str, content_encoding: str | None, sender: Sender
    ) -> IntakeOutcome:
        """The same for feedback that comes after its record."""
        ...

    def shares(self, sampled_out: Mapping[str, int], *, sender: Sender) -> Mapping[str, float]:
        """Count the records that a sampler did not send; return its new share by adapter."""
        ...

    def held(self) -> int:
        """Return how many records wait for their version to be registered."""
        ...


class Approver(Protocol):
    """Carries out an action that waited for approval: the breaker."""

    def approve(self, action_id: ActionId, *, actor: str, now: datetime) -> ActionRow:
        """Raise ``NotFound`` for no such action, ``ActionNotOpen`` for one decided already."""
        ...

    @property
    def settings(self) -> RoutingSettings:
        """The rules of moves."""
        ...

    @property
    def mode(self) -> Mode:
        """The mode of adapters without one of their own."""
        ...


class ServedProof(Protocol):
    """Proves that versions are served, as :class:`monitor.traffic.proof.Proof` does."""

    def problems(
        self, before: Route | None, arms: Sequence[Arm], registered: Sequence[Version]
    ) -> list[str]:
        """Say why traffic cannot go where these arms send it; empty: it can."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts:
    """The parts of the API.

    ``beats`` names the loops of this process that ``/readyz`` watches (none where no
    scheduler runs). ``public_metrics`` opens ``/metrics`` to callers without a key;
    otherwise it needs ``read``.
    """

    database: Database
    intake: IntakePort
    watch: RouteWatch
    approver: Approver
    proof: ServedProof
    orders: Orders
    kill_switch: KillSwitch
    outlook: Outlook
    plans: Plans
    retrainings: Retrainings
    version: str
    beats: Mapping[str, Beat] = field(default_factory=dict)
    limits: BodyLimits = field(default_factory=BodyLimits)
    access: AccessSettings = field(default_factory=AccessSettings)
    public_metrics: bool = False
    channels: frozenset[str] | None = None
    """Names of the configured channels; only their messages can be late. None: any."""
    known_channels: tuple[ChannelFacts, ...] = ()
    """The public facts about the configured channels."""
    delivers: bool = True
    """Whether this process sends messages; another one's backlog makes it no less ready."""
    longest_wait: timedelta = timedelta(seconds=60)
    deadline: timedelta = timedelta(seconds=60)
    """Longest time from a request's last byte to its answer."""
    delivery_lag: timedelta = timedelta(minutes=5)
    """How long a due message may stay untouched before ``/readyz`` says so."""
    retention: timedelta = timedelta(days=90)
    """Age of the oldest records: no change can be declared to have begun before."""
    learning: MilestoneRules = field(default_factory=MilestoneRules)
    """The rules by which references are frozen automatically."""
    pages: PageLinks = field(default_factory=PageLinks)
    """The service's address for people, for links in messages."""
    smoke: SmokeTest = field(default_factory=SmokeTest)
    """The smoke test that a person can run from an incident."""
    clock: Callable[[], datetime] = _utc_now
    """The clock by which keys, silences, links and waiting actions end."""

    @property
    def vitals(self) -> Vitals:
        """What ``/readyz`` looks at."""
        return Vitals(
            database=self.database,
            version=self.version,
            beats=self.beats,
            channels=self.channels,
            delivers=self.delivers,
            delivery_lag=self.delivery_lag,
        )

    @property
    def hearers(self) -> Hearers:
        """The recipients of the message when a person ends or acknowledges an incident."""
        return Hearers(
            channels=self.channels,
            base_url=self.pages.base_url,
            acknowledging=[
                one.name for one in self.known_channels if CHANNELS[one.kind].acknowledges
            ],
        )


def parts_of(request: Request) -> ApiParts:
    """Return the parts of the application, for a handler."""
    parts: ApiParts = request.app.state.parts
    return parts


Parts = Annotated[ApiParts, Depends(parts_of)]
