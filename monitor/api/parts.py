"""The parts from which the application is built; the daemon and the tests each build them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, Request
from starlette.routing import BaseRoute

from alerts.channels import CHANNELS
from monitor.api.access import AccessSettings
from monitor.api.health import Vitals
from monitor.api.limits import BodyLimits
from monitor.api.problems import ProblemPage
from monitor.capture.intake import Intake
from monitor.evaluate.outlook import Outlook
from monitor.evaluate.plan import Plans
from monitor.evaluate.retraining import Retrainings
from monitor.incident.smoke import SmokeTest
from monitor.outbox.channels import ChannelFacts
from monitor.outbox.linking import PageLinks
from monitor.outbox.marking import Hearers
from monitor.reference.milestone import MilestoneRules
from monitor.traffic.fallback.breaker import Breaker
from monitor.traffic.killswitch import KillSwitch
from monitor.traffic.proof import Proof
from monitor.traffic.trial.orders import Orders
from monitor.traffic.watch import RouteWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """The dashboard: its pages, and the page that shows a problem."""

    routes: Sequence[BaseRoute]
    problem: ProblemPage


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiParts(Vitals):
    """The parts of the API, and what ``/readyz`` looks at.

    ``public_metrics`` opens ``/metrics`` to callers without a key; otherwise it needs ``read``.
    """

    intake: Intake
    watch: RouteWatch
    approver: Breaker
    proof: Proof
    orders: Orders
    kill_switch: KillSwitch
    outlook: Outlook
    plans: Plans
    retrainings: Retrainings
    limits: BodyLimits = field(default_factory=BodyLimits)
    access: AccessSettings = field(default_factory=AccessSettings)
    public_metrics: bool = False
    known_channels: tuple[ChannelFacts, ...] = ()
    """The public facts about the configured channels."""
    longest_wait: timedelta = timedelta(seconds=60)
    deadline: timedelta = timedelta(seconds=60)
    """Longest time from a request's last byte to its answer."""
    retention: timedelta = timedelta(days=90)
    """Age of the oldest records: no change can be declared to have begun before."""
    learning: MilestoneRules = field(default_factory=MilestoneRules)
    """The rules by which references are frozen automatically."""
    pages: PageLinks = field(default_factory=PageLinks)
    """The service's address for people, for links in messages."""
    smoke: SmokeTest = field(default_factory=SmokeTest)
    """The smoke test that a person can run from an incident."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    """The clock by which keys, sessions, silences, links and waiting actions end."""

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
