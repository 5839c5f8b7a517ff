"""The data that an evaluation has read before it computes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from detectors import profile_of
from detectors.profile import DetectorSide
from detectors.types import Budget, State, Window
from monitor.domain import ArmKind, Interval, Recent, Route, Unread, VerdictSeverity, Version
from monitor.evaluate.calibrated import Calibrated
from monitor.evaluate.coverage import Requests
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy import Memory
from monitor.policy.budget import ShareStanding, shares

INCREMENTS_KEPT: Final = timedelta(days=7)
DAY: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reading:
    """A version's window with the data to compare it with."""

    version: Version
    interval: Interval
    """The window's time."""
    calibrated: Calibrated | None
    memory: Memory
    """The memory at the time of reading; the commit judges by the memory at its own time."""
    states: Mapping[str, State]
    window: Window
    """The values to compare: NaN where a record's settings are not the reference's."""
    beside: tuple[Window, ...] = ()
    """The values to compare with each reference that stands beside the one in force."""
    requests: Requests
    """All requests that arrived in the window, whether they can be compared or not."""
    recent: Recent
    """Records of the last 24 h, up to now: a probe's window may have ended hours ago."""
    standing: ShareStanding
    """The version's standing among those that share the budget."""
    unread: Unread = field(default_factory=Unread)
    """Feedback that has come since the last window; the commit marks it as read."""
    feedback: Window | None = None
    """New feedback as a window; None where it belongs to the window's own records."""
    route: Route | None = None
    probe_due: datetime | None = None
    """When a requested probe is tried next; None: it is due, or none was requested."""
    probe_stopped: str | None = None
    """Why that probe had no answer; None: it had one, or none was requested."""
    probe_running: bool = False

    def window_of(self, detector: str) -> Window:
        """Return the window that a detector reads."""
        of_feedback = profile_of(detector).side is DetectorSide.FEEDBACK
        return self.feedback if of_feedback and self.feedback is not None else self.window

    def budget_of(self, detector: str, settings: EvaluateSettings) -> Budget:
        """Return one detector's share for this version."""
        carried = self.calibrated.by_detector if self.calibrated else {}
        share = shares(
            settings.budget,
            self.standing,
            detectors=[name for name in settings.detectors if name in carried],
            only_tickets=self.calibrated.only_tickets if self.calibrated else frozenset(),
        )[detector]
        return Budget(notice=share.notice, page=share.page)

    @property
    def in_charge_since(self) -> datetime | None:
        """The time when the present route was set, if it gives the version traffic; else None."""
        arms = self.route.arms if self.route is not None else ()
        served = any(arm.version == self.version.name and arm.weight > 0 for arm in arms)
        return self.route.since if self.route is not None and served else None

    @property
    def returns_by_probes(self) -> bool:
        """Whether probes alone bring the version back: it is critical, or lost its traffic."""
        verdict = self.memory.verdict
        if verdict is not None and verdict.severity is VerdictSeverity.PAGE:
            return True
        arms = self.route.arms if self.route is not None else ()
        return any(
            arm.arm is ArmKind.STABLE and arm.version == self.version.name and arm.weight == 0
            for arm in arms
        )
