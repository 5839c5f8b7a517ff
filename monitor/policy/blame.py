"""Where a change sits, from what the probes and the signals say together."""

from __future__ import annotations

from monitor.domain import Blame
from monitor.policy.memory import Memory, PerplexityMemory

INPUT_DETECTORS = frozenset({"input_similarity"})


def blame_for(memory: Memory) -> Blame:
    """Blame what moved while the rest stood still.

    The base model's own probe moved: ``base``. This adapter's probe moved and the base's
    did not: ``adapter``. Probes still and inputs moved: ``input``. Answers moved with
    probes and inputs still: ``serving``. Without a probe since the change only an input
    change can be told; the rest is ``unknown``, as is a moved probe whose base could not
    be asked.
    """
    inputs = any(c.detector in INPUT_DETECTORS for c in memory.crossings)
    answers = any(c.detector not in INPUT_DETECTORS for c in memory.crossings)
    probe = memory.perplexity
    if probe is not None and (probe.changed or probe.degraded):
        return _by_base(base_moved=probe.base_moved)
    if inputs and not answers:
        return Blame.INPUT
    if probe is None or not _since_the_change(memory, probe):
        return Blame.UNKNOWN
    if inputs:
        return Blame.INPUT
    return Blame.SERVING if answers else Blame.UNKNOWN


def _by_base(*, base_moved: bool | None) -> Blame:
    """A base model that could not be asked may have moved as well: it clears nobody."""
    if base_moved is None:
        return Blame.UNKNOWN
    return Blame.BASE if base_moved else Blame.ADAPTER


def _since_the_change(memory: Memory, probe: PerplexityMemory) -> bool:
    """Whether the probe ran after the first crossing, so that it could have seen it."""
    return any(c.at < probe.at for c in memory.crossings)
