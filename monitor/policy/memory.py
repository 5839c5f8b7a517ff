"""The memory of the rules between evaluations of one version; stored as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from operator import methodcaller
from typing import Any, Final

import msgspec

from detectors import profile_of
from detectors.profile import Profile
from detectors.types import Process
from monitor.domain import Interval, ReferenceId, Verdict
from monitor.policy.classic import Streaks
from monitor.policy.coverage import Seen
from monitor.policy.probed import IdentityMemory, PerplexityMemory


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """An evidence process that crossed its alarm line and has not recovered since.

    ``paged`` is set once the crossing has made the verdict critical: it then stays so
    until it recovers, whatever a later probe says. ``n`` is the number of records since
    onset at the last look, which was at ``looked_at`` (None: when it crossed).
    """

    detector: str
    process: Process
    hard: bool
    model_side: bool
    at: datetime
    evidence: float
    winner: str
    onset: Interval
    margin: float
    n: int = 0
    effect: float | None = None
    effect_low: float | None = None
    paged: bool = False
    acts: bool = True
    """Whether the crossing may move traffic; false if the reference is too young."""
    looked_at: datetime | None = None
    records: int = 0
    """Records behind the ``n`` units; 0: they were not counted."""
    alone: bool = False
    """Whether the crossing is one subject's, while other subjects beside it are unchanged."""
    again_at: datetime | None = None
    """When it crossed last, if more than once."""

    @property
    def counted(self) -> int:
        """Records since the onset."""
        return max(self.n, self.records)

    @property
    def crossed_at(self) -> datetime:
        """The time of the last crossing; the evidence starts from nothing after each one."""
        return self.again_at or self.at

    @property
    def seen_at(self) -> datetime:
        """The time to which ``n`` and the effect belong."""
        return self.looked_at or self.at

    @property
    def profile(self) -> Profile:
        """The profile of its detector."""
        return profile_of(self.detector)

    @property
    def key(self) -> tuple[str, Process]:
        return (self.detector, self.process)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The policy's state of one version."""

    crossings: tuple[Crossing, ...] = ()
    perplexity: PerplexityMemory | None = None
    identity: IdentityMemory | None = None
    failures: Mapping[str, int] = field(default_factory=dict)
    verdict: Verdict | None = None
    reference_id: ReferenceId | None = None
    """The reference of the stored crossings and failures."""
    classic: Streaks = field(default_factory=Streaks)
    """Streaks of an adapter with the preset `classic`."""
    accompanied: bool = False
    """Whether requests have surely moved since answers did, though no line was crossed."""
    seen: Seen = field(default_factory=Seen)
    """The detectors' coverage of the newest requests."""

    @property
    def misidentified(self) -> bool:
        """Whether other weights than this version's answer under its name."""
        return self.identity is not None and self.identity.wrong

    @property
    def replaced(self) -> bool:
        """Whether two measurements say that other weights answer than those registered.

        First, its fixed texts changed, or no longer have numbers. Second, its distance to
        the base, or the numbers of the base, show that it is not this version.
        """
        if self.identity is None or not self.identity.wrong:
            return False
        changed = self.perplexity is not None and self.perplexity.changed
        return changed or self.identity.numberless

    @property
    def unapproved(self) -> bool:
        """Whether the newest probe found other weights than the registered ones, surely worse."""
        probe, identity = self.perplexity, self.identity
        return (
            self.replaced
            and identity is not None
            and identity.doubted_since is None
            and probe is not None
            and probe.degraded
            and probe.low > 0.0
            and probe.unchanged_streak == 0
            and not probe.replaced
            and probe.base_moved is not True
        )

    @property
    def probes_found(self) -> bool:
        """Whether a finding of the probes is open."""
        moved = self.perplexity is not None and self.perplexity.moved
        return moved or self.misidentified

    @property
    def doubted(self) -> bool:
        """Whether a probe pages, and could not tell whose weights answered."""
        pages = self.perplexity is not None and self.perplexity.degraded
        return pages and self.identity is not None and self.identity.doubted_since is not None

    @property
    def unmeasured_since(self) -> datetime | None:
        """The time of the oldest suspicion that no probe has followed; None: there is none.

        None also while a finding of the probes is open: the version is not quiet then.
        """
        if self.probes_found:
            return None
        probed = self.perplexity
        waiting = (c.at for c in self.crossings if c.profile.side.asks_probe)
        return min((at for at in waiting if probed is None or probed.at <= at), default=None)

    def against(self, reference_id: ReferenceId | None) -> Memory:
        """Forget crossings and failures once a newer reference is in force.

        They said that the version had left the earlier reference, or could not be compared
        with it. The person who replaced the reference has answered that; the processes
        begin anew as well.
        """
        if reference_id is None or reference_id == self.reference_id:
            return self
        if self.reference_id is None:
            return replace(self, reference_id=reference_id)
        if reference_id < self.reference_id:  # read before the newer one came into force
            return self
        return replace(
            self,
            reference_id=reference_id,
            crossings=(),
            failures={},
            classic=Streaks(),
            accompanied=False,
            seen=Seen(),
        )

    def within(self, enabled: frozenset[str] | None) -> Memory:
        """Forget the findings of detectors that are switched off: nothing else would end them."""
        if enabled is None:
            return self
        return replace(
            self,
            crossings=tuple(c for c in self.crossings if c.detector in enabled),
            failures={name: n for name, n in self.failures.items() if name in enabled},
        )

    def overruled(self, verdict: Verdict) -> Memory:
        """Forget every finding, because a person has judged them; ``verdict`` stands now.

        Failures stay: a person's judgement does not repair a detector that raises.
        """
        return replace(
            self,
            crossings=(),
            perplexity=None,
            identity=None,
            verdict=verdict,
            classic=Streaks(),
            accompanied=False,
        )

    def crossing(self, detector: str, process: Process) -> Crossing | None:
        """The open crossing of this process, or None."""
        return next((c for c in self.crossings if c.key == (detector, process)), None)

    def with_crossing(self, crossing: Crossing) -> Memory:
        """Add a crossing, or replace the one of the same detector and process."""
        rest = tuple(c for c in self.crossings if c.key != crossing.key)
        return replace(self, crossings=(*rest, crossing))

    def without_probes(self) -> Memory:
        """Forget what the probes found, because the numbers it was compared with are retired."""
        return replace(self, perplexity=None, identity=None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only; :meth:`from_json` gives an equal object back."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        short = {"classic": self.classic.by_detector, "seen": self.seen.to_json()}
        body: dict[str, Any] = msgspec.to_builtins(own | short, enc_hook=NUMPY_SCALAR)
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Memory:
        """Read what :meth:`to_json` wrote, in this release or an earlier one."""
        long = {
            "crossings": [_with_ends(crossing) for crossing in body.get("crossings", ())],
            "verdict": _with_ends(body.get("verdict")),
            "classic": {"by_detector": body.get("classic") or {}},
            "seen": {},
        }
        memory = msgspec.convert({**body, **long}, cls)
        return replace(memory, seen=Seen.from_json(body.get("seen")))


NUMPY_SCALAR: Final = methodcaller("item")

# met here once: alerts/message.py says why
msgspec.json.Decoder(Memory)
msgspec.json.Decoder(Verdict)
msgspec.json.Decoder(IdentityMemory)


def verdict_of(body: Mapping[str, Any]) -> Verdict | None:
    """Read only the verdict of a stored memory: lists of a fleet need no more."""
    verdict = _with_ends(body.get("verdict"))
    return None if verdict is None else msgspec.convert(verdict, Verdict)


def identity_of(body: Mapping[str, Any]) -> IdentityMemory | None:
    """Read only which weights answer, of a stored memory."""
    found = body.get("identity")
    return None if found is None else msgspec.convert(found, IdentityMemory)


def _with_ends(body: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Name the ends of an onset that an earlier release stored as a pair."""
    if body is None or not isinstance(onset := body.get("onset"), list):
        return body
    return {**body, "onset": {"start": onset[0], "end": onset[1]}}
