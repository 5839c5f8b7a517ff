"""The facts that a decision about traffic reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from monitor.domain import IncidentId, Mode, Verdict, Version
from monitor.policy import ActionEvidence
from monitor.store.traffic.actions import ActionRow
from monitor.store.traffic.common_cause import BaseFleet
from monitor.store.traffic.routes import RouteRow
from monitor.traffic.fallback.machine import Progress
from monitor.traffic.fallback.targets import Targets
from monitor.traffic.killswitch import SwitchReading
from monitor.traffic.settings import RoutingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The facts behind a decision, read in one transaction.

    ``verdict`` is the stored one, None before the first. ``taken_here`` and ``taken_fleet``
    are the moments of automatic fallbacks, newest first, within the settings' windows.
    ``fleet_incident`` is the open one of the version's base. ``last`` is the version's
    newest action of any kind, ``moved`` the adapter's newest that moved traffic. ``unwell``
    says why Driftline's findings are not trustworthy. ``unadmitted`` says why the version may
    get no traffic; one that answers keeps it. ``progress`` is the history of a version without
    traffic.
    """

    version: Version
    mode: Mode
    verdict: Verdict | None
    route: RouteRow | None
    kill_switch: SwitchReading
    fleet_incident: IncidentId | None = None
    last: ActionRow | None = None
    moved: ActionRow | None = None
    unwell: Sequence[str] = ()
    unadmitted: str | None = None
    company: BaseFleet | None = None
    targets: Targets = field(default_factory=Targets)
    taken_here: Sequence[datetime] = ()
    taken_fleet: Sequence[datetime] = ()
    progress: Progress = field(default_factory=Progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveQuestion:
    """The question whether traffic may leave this version now, on this evidence."""

    scene: Scene
    evidence: ActionEvidence
    settings: RoutingSettings
    now: datetime
