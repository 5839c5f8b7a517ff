"""The memory of the probes: the likelihood of the corpora, and the weights that answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from detectors.identity import IdentityState

WRONG = frozenset({IdentityState.NOT_APPLIED, IdentityState.MIXED_UP, IdentityState.WRONG_WEIGHTS})
"""States in which something else answers under the version's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexityMemory:
    """The last probe, its open finding, and the number of probes in a row without a finding.

    corpus
        Id of the corpus of the finding. ``replaced`` says that the service's files hold other
        texts now: a finding on the old texts cannot be checked again.
    """

    at: datetime
    changed: bool
    degraded: bool
    ratio: float
    low: float
    base_moved: bool | None
    unchanged_streak: int
    reason: str
    forgotten: bool = False
    company_ratio: float | None = None
    one_replica: bool = False
    other_files: bool = False
    corpus: str | None = None
    replaced: bool = False
    measured_from: datetime | None = None

    @property
    def evidence_from(self) -> datetime:
        """The time when the first document behind the finding was read."""
        return self.measured_from or self.at

    @property
    def moved(self) -> bool:
        """Whether a finding is open."""
        return self.changed or self.degraded or self.forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityMemory:
    """The last answer to "which weights answer under this name?".

    ``doubted_since``: since when checks could not tell; None: the answer is the newest.
    ``numberless``: the engine has log-probabilities for the base, but none for this
    version.
    """

    at: datetime
    state: IdentityState
    reason: str
    doubted_since: datetime | None = None
    numberless: bool = False

    @property
    def wrong(self) -> bool:
        """Whether other weights answer."""
        return self.state in WRONG
