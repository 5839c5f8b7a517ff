"""The memory of the probes: the likelihood of the corpora, and the weights that answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from detectors.identity import IdentityState

WRONG = frozenset({IdentityState.NOT_APPLIED, IdentityState.MIXED_UP, IdentityState.WRONG_WEIGHTS})
"""States in which something else answers under the version's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexityFinding:
    """The finding of a perplexity probe.

    forgotten
        The general corpus is harder by the margin and the adapter's own domain is not.
    base_moved
        Whether the base model's own probe, or several siblings', moved too; None when
        none could be asked.
    company_ratio
        The move of its company: the base's ratio, or the median of the siblings that moved.
    one_replica
        Whether another replica that holds the model did not move.
    other_files
        Whether the engine read other files than those of the registration.
    corpus
        Id of the corpus behind the finding, or without a finding behind the ratio.
    """

    at: datetime
    changed: bool
    degraded: bool
    ratio: float
    low: float
    forgotten: bool = False
    base_moved: bool | None = None
    company_ratio: float | None = None
    one_replica: bool = False
    other_files: bool = False
    corpus: str | None = None
    measured_from: datetime | None = None
    """When the first document was read; None: at ``at``."""
    reason: str = ""

    @property
    def moved(self) -> bool:
        """Whether the probe found a change."""
        return self.changed or self.degraded or self.forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexityMemory(PerplexityFinding):
    """The last probe, its open finding, and the number of probes in a row without a finding.

    replaced
        Whether the service's files hold other texts than the finding's ``corpus`` now: it cannot
        be checked again.
    """

    unchanged_streak: int
    replaced: bool = False

    @property
    def evidence_from(self) -> datetime:
        """The time when the first document behind the finding was read."""
        return self.measured_from or self.at


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
