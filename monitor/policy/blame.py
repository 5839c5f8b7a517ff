"""The source of a change, and its certainty, from probes and signals together. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from alerts.types import Blame, Sureness
from detectors.identity import IdentityState
from detectors.profile import DetectorSide
from monitor.policy.common_cause import BaseStanding
from monitor.policy.coverage import Blindness, Cause
from monitor.policy.memory import Crossing, Memory
from monitor.policy.probed import IdentityMemory, PerplexityMemory

EXPLAINS_FOR: Final = timedelta(days=1)
"""If answers move later than this after the requests, the cause is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blamed:
    """The source of a change, and its certainty."""

    blame: Blame = Blame.UNKNOWN
    sure: Sureness = Sureness.NOT_CONFIRMED


UNKNOWN = Blamed()


def blame_for(memory: Memory, standing: BaseStanding, *, at: datetime, wait: timedelta) -> Blamed:
    """Return the blame for the signals and probes that moved, by all facts ``at`` this time.

    - ``base``: the base model's own probe moved, or several siblings moved with this version, and
      the version does not stand apart from them.
    - ``serving``: only one replica moved, or the adapter is not applied or mixed up, or only
      latency moved, or answers moved while probes and inputs did not.
    - ``adapter``: this adapter's probe moved and the base's did not, or its weights are wrong, or
      its files are other ones and the base does not tell.
    - ``input``: inputs moved, answers moved with them or later, and no probe says otherwise.
    - ``unknown``: no probe has run since the change and inputs do not explain it, or a probe moved
      whose base could not be asked, or may hide so small a move. While ``wait`` lasts also a
      probe that could not tell whose weights answered.
    """
    if standing.shared:
        probed = memory.perplexity is not None and memory.perplexity.base_moved is True
        return Blamed(blame=Blame.BASE, sure=Sureness.CONFIRMED if probed else Sureness.LIKELY)
    probe = memory.perplexity
    if memory.identity is not None and memory.misidentified:
        return _by_identity(memory.identity.state)
    if probe is not None and probe.moved:
        if in_doubt(memory, at=at, wait=wait):
            return UNKNOWN
        return _by_company(probe, memory.identity)
    return _by_signals(memory)


def blame_for_blindness(blindness: Blindness) -> Blamed:
    """Blame the clients if they send settings that the reference lacks; no probe is needed."""
    if blindness.why.cause is Cause.SETTINGS:
        return Blamed(blame=Blame.INPUT, sure=Sureness.CONFIRMED)
    return UNKNOWN


def explained_by_inputs(memory: Memory) -> bool:
    """Whether the signals blame new inputs, and no finding of the probes is open."""
    return not memory.probes_found and _by_signals(memory).blame is Blame.INPUT


def in_doubt(memory: Memory, *, at: datetime, wait: timedelta) -> bool:
    """Whether a probe pages, and whose weights answered is unknown, but not for long yet."""
    since = memory.identity.doubted_since if memory.identity is not None else None
    if since is None or memory.misidentified or not memory.doubted:
        return False
    return at - since < wait


def _by_identity(state: IdentityState) -> Blamed:
    """Blame serving for an adapter not applied or mixed up, the adapter for wrong weights."""
    match state:
        case IdentityState.NOT_APPLIED | IdentityState.MIXED_UP:
            return Blamed(blame=Blame.SERVING, sure=Sureness.CONFIRMED)
        case IdentityState.WRONG_WEIGHTS:
            return Blamed(blame=Blame.ADAPTER, sure=Sureness.CONFIRMED)
        case IdentityState.APPLIED | IdentityState.UNKNOWN:
            return UNKNOWN
        case _:
            assert_never(state)


def _by_company(probe: PerplexityMemory, identity: IdentityMemory | None) -> Blamed:
    """Blame neither side if the base does not tell: it may have moved as well.

    Other files than those of the registration are reason enough to suspect the adapter.
    """
    if probe.one_replica:
        return Blamed(blame=Blame.SERVING, sure=Sureness.CONFIRMED)
    if probe.base_moved is None:
        likely = Blamed(blame=Blame.ADAPTER, sure=Sureness.LIKELY)
        return likely if probe.other_files else UNKNOWN
    told = (
        identity is not None
        and identity.state is IdentityState.APPLIED
        and identity.doubted_since is None
    )
    return Blamed(blame=Blame.ADAPTER, sure=Sureness.CONFIRMED if told else Sureness.LIKELY)


def _by_signals(memory: Memory) -> Blamed:
    if {c.profile.side for c in memory.crossings} == {DetectorSide.SERVING}:
        return Blamed(blame=Blame.SERVING, sure=Sureness.LIKELY)
    inputs = [c for c in memory.crossings if c.profile.side is DetectorSide.REQUESTS]
    answers = [c for c in memory.crossings if c.profile.side is DetectorSide.ANSWERS]
    if inputs or (answers and memory.accompanied):
        # new questions have new answers
        answers = [c for c in answers if not c.profile.follows_requests]
        return _beside_inputs(memory, inputs, answers)
    if answers and _probed_since(memory):
        return Blamed(blame=Blame.SERVING, sure=Sureness.LIKELY)
    return UNKNOWN


def _beside_inputs(memory: Memory, inputs: list[Crossing], answers: list[Crossing]) -> Blamed:
    """Blame changed requests for changed answers, but not for failures or for earlier changes."""
    if not answers:
        sure = Sureness.CONFIRMED if inputs else Sureness.LIKELY
        return Blamed(blame=Blame.INPUT, sure=sure)
    probed = _probed_since(memory)
    if any(c.hard for c in answers):
        return Blamed(blame=Blame.SERVING, sure=Sureness.LIKELY) if probed else UNKNOWN
    if probed:
        return Blamed(blame=Blame.INPUT, sure=Sureness.CONFIRMED)
    if memory.accompanied or all(_explained(answer, inputs) for answer in answers):
        return Blamed(blame=Blame.INPUT, sure=Sureness.LIKELY)
    return UNKNOWN


def _explained(answer: Crossing, inputs: Sequence[Crossing]) -> bool:
    """Whether other requests came shortly before: those of last week explain no new change."""
    return any(
        one.onset.start <= answer.onset.end <= one.onset.end + EXPLAINS_FOR for one in inputs
    )


def _probed_since(memory: Memory) -> bool:
    """Whether the probe ran after the first crossing, so that it could have seen its cause."""
    probe = memory.perplexity
    return probe is not None and any(c.at < probe.at for c in memory.crossings)
