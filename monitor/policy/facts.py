"""The findings of an evaluation, as the rules need them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from detectors.identity import IdentityState
from detectors.types import Effect, Floats, Process
from monitor.domain import EvaluationKind, Interval, ReferenceId
from monitor.policy.common_cause import FleetFact
from monitor.policy.coverage import CoveredWindow
from monitor.policy.probed import PerplexityFinding


class ReferenceStage(StrEnum):
    """The most a change of distribution may do: nothing, tickets, pages, or actions too."""

    NONE = "none"
    REPLACED = "replaced"
    """A person has said that the reference no longer fits, and a newer one is being built."""
    PROVISIONAL = "provisional"
    APPROVED = "approved"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Increment:
    """The values that one window added to ``log M``, per process ``(L, K)``."""

    window_start: datetime
    at: datetime
    n_units: int
    by_process: Mapping[Process, Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorFact:
    """One live detector's findings in this evaluation.

    ``model_side`` is false for detectors of requests, of serving and of feedback, which
    never move traffic. ``fell_notice``/``fell_page`` say that the winner's summed log
    increments over the recovery window are below -1 nat for every betting fraction.
    ``onset`` is given when evidence crossed now. ``effect`` is taken since the onset
    (it decides actions), ``recent`` over the recovery window (it decides recovery).
    ``acts`` is false where the effect is against a reference too young to move traffic by.
    ``textbook`` is what the preset `classic` looks at; None where this window has none.
    """

    detector: str
    hard: bool
    model_side: bool
    margin: float
    evidence_notice: float
    evidence_page: float
    winner: str | None = None
    onset: Interval | None = None
    effect: Effect | None = None
    recent: Effect | None = None
    textbook: float | None = None
    acts: bool = True
    fell_notice: bool = False
    fell_page: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexityFact(PerplexityFinding):
    """A finished perplexity probe of this version (confirmed by its second run).

    week
        Mean ratio minus one of the last 7 days; None while they are not whole.
    """

    week: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityFact:
    """The weights that answered under the version's name at the last check.

    ``at`` is when the check began; on a busy engine it may end minutes later.
    """

    at: datetime
    state: IdentityState
    reason: str
    numberless: bool = False
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts of one evaluation.

    ``n_day`` counts records of the last 24 h that can be compared, as far as rules ask for them.
    ``covered`` is the part of the window's requests that each detector compared. ``corpora`` are
    the ids of the corpora in use; empty where no probe was made.
    """

    at: datetime
    reference: ReferenceStage
    detectors: tuple[DetectorFact, ...] = ()
    perplexity: PerplexityFact | None = None
    identity: IdentityFact | None = None
    corpora: tuple[str, ...] = ()
    n_day: int = 0
    covered: CoveredWindow | None = None
    kind: EvaluationKind = EvaluationKind.LIVE
    traffic: bool = True
    """Whether records came within the recovery window."""
    probe_available: bool = False
    probe_stopped: str | None = None
    """Why a probe that will be tried again had no answer; None: none waits."""
    probe_due: datetime | None = None
    """When the next probe is due; None: unknown."""
    probe_running: bool = False
    """Whether a worker probes the version just now."""
    reference_id: ReferenceId | None = None
    """The reference with which the detectors compared."""
    classic: bool = False
    """Whether the adapter has the preset `classic`."""
    enabled: frozenset[str] | None = None
    """Detectors that are switched on; None: unknown."""
    fleet: FleetFact | None = None
    """The others on its base; None where they were not read."""
