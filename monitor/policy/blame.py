"""Where a change sits, from what the probes and the signals say together."""

from __future__ import annotations

from typing import assert_never

from detectors.identity import IdentityState
from monitor.domain import Blame
from monitor.policy.common_cause import INPUT_DETECTORS, Standing
from monitor.policy.memory import Memory
from monitor.policy.probed import PerplexityMemory


def blame_for(memory: Memory, standing: Standing) -> Blame:
    """Blame what moved while the rest stood still.

    The base model's own probe moved, or several siblings moved with this version: ``base``,
    unless it stands apart from them. One replica alone
    moved, or other weights than this version's answer: ``serving``. This adapter's probe
    moved and the base's did not: ``adapter``. Latency alone: ``serving``. Probes still and
    inputs moved: ``input``.
    Answers moved with probes and inputs still: ``serving``. Without a probe since the
    change only an input change can be told; the rest is ``unknown``, as is a moved probe
    whose base could not be asked.
    """
    if standing.shared:
        return Blame.BASE
    probe = memory.perplexity
    if memory.identity is not None and memory.misidentified:
        return _by_identity(memory.identity.state)
    if probe is not None and probe.moved:
        return _by_company(probe)
    return _by_signals(memory)


def explained_by_inputs(memory: Memory) -> bool:
    """Whether new inputs explain all that moved, whatever else did at the same time."""
    return not memory.probes_found and _by_signals(memory) is Blame.INPUT


def _by_identity(state: IdentityState) -> Blame:
    """Weights that are not this version's are the engine's doing, damaged ones are not."""
    match state:
        case IdentityState.NOT_APPLIED | IdentityState.MIXED_UP:
            return Blame.SERVING
        case IdentityState.WRONG_WEIGHTS:
            return Blame.ADAPTER
        case IdentityState.APPLIED | IdentityState.UNKNOWN:
            return Blame.UNKNOWN
        case _:
            assert_never(state)


def _by_company(probe: PerplexityMemory) -> Blame:
    """A base model that could not be asked may have moved as well: it clears nobody."""
    if probe.one_replica:
        return Blame.SERVING
    return Blame.UNKNOWN if probe.base_moved is None else Blame.ADAPTER


def _by_signals(memory: Memory) -> Blame:
    moved = {c.detector for c in memory.crossings}
    if moved == {"latency"}:
        return Blame.SERVING
    inputs, answers = moved & INPUT_DETECTORS, moved - INPUT_DETECTORS - {"latency", "feedback"}
    if inputs:
        answers -= {"output_similarity"}  # new questions have new answers
    probe = memory.perplexity
    if inputs and not answers:
        return Blame.INPUT
    if probe is None or not _since_the_change(memory, probe):
        return Blame.UNKNOWN
    if inputs:
        return Blame.INPUT
    return Blame.SERVING if answers else Blame.UNKNOWN


def _since_the_change(memory: Memory, probe: PerplexityMemory) -> bool:
    """Whether the probe ran after the first crossing, so that it could have seen it."""
    return any(c.at < probe.at for c in memory.crossings)
