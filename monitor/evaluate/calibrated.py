"""A version's reference, ready for comparison. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from monitor.domain import Reference


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beside:
    """A reference for requests with other settings, where settings matter.

    A finding against a ``young`` reference, of less than a fortnight, moves no traffic.
    """

    id: int
    strata: tuple[str, ...]
    by_detector: Mapping[str, Any]
    young: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibrated:
    """A ready reference with one loaded calibration per detector that its baseline carries.

    ``absent`` says why a detector has none ("similarity: 120 measured, 300 needed").
    Feedback on records before ``feedback_from`` is not evidence against it; None: all
    feedback is. ``only_tickets`` are detectors that saw too few days to page. ``measured``
    is the share of the baseline's requests on which a detector was measured, where the
    reference says so. ``beside`` are references for other settings.
    """

    reference: Reference
    hourly_rate: float
    by_detector: Mapping[str, Any]
    absent: Mapping[str, str]
    feedback_from: datetime | None = None
    only_tickets: frozenset[str] = frozenset()
    measured: Mapping[str, float] = field(default_factory=dict)
    beside: tuple[Beside, ...] = ()

    def strata_of(self, detector: str) -> tuple[str, ...]:
        """Return the settings of the requests that a detector can compare."""
        others = [s for one in self.beside if detector in one.by_detector for s in one.strata]
        return (*self.reference.strata, *others)

    def usual(self, detector: str) -> float:
        """Return the share of the baseline's requests that a detector measured, in [0, 1]."""
        if detector not in self.by_detector:
            return 1.0
        if detector in self.measured:
            return self.measured[detector]
        units = int(self.by_detector[detector].null.units.max())
        return min(1.0, units / max(self.reference.n_baseline, 1))

    @property
    def strata(self) -> tuple[str, ...]:
        """Return all settings of the requests that can be compared."""
        return (*self.reference.strata, *(s for one in self.beside for s in one.strata))
