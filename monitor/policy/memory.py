"""The memory of the rules between evaluations of one version; stored as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from alerts.types import Blame, Sureness, VerdictKind
from detectors import profile_of
from detectors.profile import Profile
from detectors.types import Process
from monitor.domain import Interval, ReferenceId, Verdict, VerdictSeverity
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
        """What is known of its detector."""
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

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only; :meth:`from_json` gives an equal object back."""
        return {
            "crossings": [_crossing_to_json(c) for c in self.crossings],
            "perplexity": self.perplexity.to_json() if self.perplexity else None,
            "identity": self.identity.to_json() if self.identity else None,
            "failures": dict(self.failures),
            "verdict": _verdict_to_json(self.verdict),
            "reference_id": self.reference_id,
            "classic": self.classic.to_json(),
            "accompanied": self.accompanied,
            "seen": self.seen.to_json(),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Memory:
        """Read what :meth:`to_json` wrote."""
        probed, identity = body["perplexity"], body.get("identity")
        return cls(
            crossings=tuple(_crossing_from_json(c) for c in body["crossings"]),
            perplexity=PerplexityMemory.from_json(probed) if probed else None,
            identity=IdentityMemory.from_json(identity) if identity else None,
            failures=dict(body["failures"]),
            verdict=_verdict_from_json(body["verdict"]),
            reference_id=body.get("reference_id"),
            classic=Streaks.from_json(body.get("classic")),
            accompanied=body.get("accompanied", False),
            seen=Seen.from_json(body.get("seen")),
        )


def _interval_to_json(interval: Interval | None) -> list[str] | None:
    if interval is None:
        return None
    return [interval.start.isoformat(), interval.end.isoformat()]


def _interval_from_json(body: list[str] | None) -> Interval | None:
    if body is None:
        return None
    return Interval(start=datetime.fromisoformat(body[0]), end=datetime.fromisoformat(body[1]))


def _crossing_to_json(crossing: Crossing) -> dict[str, Any]:
    return {
        "detector": crossing.detector,
        "process": crossing.process.value,
        "hard": crossing.hard,
        "model_side": crossing.model_side,
        "at": crossing.at.isoformat(),
        "evidence": crossing.evidence,
        "winner": crossing.winner,
        "onset": _interval_to_json(crossing.onset),
        "margin": crossing.margin,
        "n": crossing.n,
        "effect": crossing.effect,
        "effect_low": crossing.effect_low,
        "paged": crossing.paged,
        "acts": crossing.acts,
        "looked_at": crossing.seen_at.isoformat(),
        "records": crossing.records,
        "alone": crossing.alone,
        "again_at": crossing.again_at and crossing.again_at.isoformat(),
    }


def _crossing_from_json(body: Mapping[str, Any]) -> Crossing:
    onset = _interval_from_json(body["onset"])
    assert onset is not None, "a crossing always has an onset"  # noqa: S101 (invariant)
    return Crossing(
        **{k: v for k, v in body.items() if k not in _TIMES},
        process=Process(body["process"]),
        at=datetime.fromisoformat(body["at"]),
        looked_at=datetime.fromisoformat(body.get("looked_at") or body["at"]),
        again_at=datetime.fromisoformat(body["again_at"]) if body.get("again_at") else None,
        onset=onset,
    )


def sureness_from_json(body: Mapping[str, Any]) -> dict[str, Any]:
    """Read how sure a stored verdict's blame is; an earlier release did not store this."""
    due = body.get("probe_due")
    return {
        "sure": Sureness(body.get("sure", Sureness.NOT_CONFIRMED)),
        "probe_due": datetime.fromisoformat(due) if due else None,
    }


_TIMES: Final = frozenset({"process", "at", "onset", "looked_at", "again_at"})


def _verdict_to_json(verdict: Verdict | None) -> dict[str, Any] | None:
    if verdict is None:
        return None
    return {
        "kind": verdict.kind.value,
        "severity": verdict.severity.value,
        "blame": verdict.blame.value,
        "sure": verdict.sure.value,
        "probe_due": verdict.probe_due.isoformat() if verdict.probe_due is not None else None,
        "reason": verdict.reason,
        "detectors": list(verdict.detectors),
        "since": verdict.since.isoformat(),
        "onset": _interval_to_json(verdict.onset),
    }


def _verdict_from_json(body: Mapping[str, Any] | None) -> Verdict | None:
    if body is None:
        return None
    return Verdict(
        kind=VerdictKind(body["kind"]),
        severity=VerdictSeverity(body["severity"]),
        blame=Blame(body["blame"]),
        **sureness_from_json(body),
        reason=body["reason"],
        detectors=tuple(body["detectors"]),
        since=datetime.fromisoformat(body["since"]),
        onset=_interval_from_json(body["onset"]),
    )
