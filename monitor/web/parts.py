"""The parts from which the dashboard is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from monitor.domain import Mode
from monitor.evaluate.outlook import Outlook
from monitor.evaluate.plan import Plans
from monitor.evaluate.retraining import Retrainings
from monitor.incident.smoke import SmokeTest
from monitor.outbox import ChannelFacts, Hearers
from monitor.reference.milestone import MilestoneRules
from monitor.store.database import Database
from monitor.store.people.keys import Key
from monitor.traffic.fallback.breaker import Breaker
from monitor.traffic.killswitch import KillSwitch
from monitor.traffic.proof import Proof
from monitor.traffic.trial.orders import Orders
from monitor.views.setting import SettingBody

if TYPE_CHECKING:
    from monitor.oidc.login import Oidc


class Admit(Protocol):
    """Finds the key behind a pasted text; ``monitor.api.access.KeyGate.admit`` does."""

    def __call__(self, text: str, *, address: str) -> Key:
        """Return the key; raise an ``HTTPException`` of 401 or 429 where there is none."""
        ...


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebParts:
    """The parts of the dashboard.

    ``secret`` signs session cookies. All daemons must share it, or people must log in again
    on each. At least 32 random bytes.
    """

    database: Database
    admit: Admit
    secret: bytes
    outlook: Outlook
    plans: Plans
    approver: Breaker
    proof: Proof
    retrainings: Retrainings
    """The requests for retraining that people make."""
    orders: Orders
    """The orders that people give canaries."""
    kill_switch: KillSwitch
    version: str
    mode: Mode = Mode.OBSERVE
    """The mode of adapters without one of their own."""
    channels: Sequence[ChannelFacts] = ()
    """The public facts about the configured channels."""
    settings: Sequence[SettingBody] = ()
    """The settings that the service runs with, those of a section together."""
    hearers: Hearers = field(default_factory=Hearers)
    """The recipients of the message when a person ends an incident."""
    session: timedelta = timedelta(hours=12)
    learning: MilestoneRules = field(default_factory=MilestoneRules)
    smoke: SmokeTest = field(default_factory=SmokeTest)
    """The smoke test that a person can run from an incident's page."""
    oidc: Oidc | None = None
    """The provider by which people may log in."""
    clock: Callable[[], datetime] = _utc_now
    """The clock by which sessions and their keys end."""
