"""The check whether each adapter of an engine is applied, from its answers alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from detectors.identity import BASE, FEWEST_DOCUMENTS, Identity, IdentityState, identify
from detectors.parity import Parity, TopLogprobs, compare
from detectors.perplexity import CHANGED_FLOORS, DocumentScores, noise_floor
from detectors.perplexity import compare as compare_runs
from monitor.probes.asking import Target
from monitor.probes.cards import ModelCard, one_version
from monitor.probes.comparing import Reads, document_scores, read_all
from monitor.probes.errors import ModelNotServed, ProbeError

Tick = Callable[[str, int], None]
"""Called with the model being asked, and the number of texts it has just read."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelReading:
    """One model's results on the texts."""

    read: TopLogprobs
    scores: DocumentScores


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterCheck:
    """One adapter's result; ``identity`` None where the engine was not asked to the end."""

    card: ModelCard
    identity: Identity | None
    top1: float | None = None

    @property
    def applied(self) -> bool:
        return self.identity is not None and self.identity.state is IdentityState.APPLIED


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCheck:
    """The results of all adapters; ``stopped`` says why the engine was asked no further.

    ``floor`` is the largest move of a text between two readings of one base, nats per
    token.
    """

    adapters: tuple[AdapterCheck, ...]
    floor: float
    stopped: str | None = None


@dataclass(slots=True, kw_only=True)
class _Readings:
    """The readings so far, and the reason for which they stopped."""

    models: dict[str, ModelReading] = field(default_factory=dict)
    repeats: list[tuple[DocumentScores, DocumentScores]] = field(default_factory=list)
    stopped: str | None = None


def asked_for(adapters: Sequence[ModelCard]) -> list[str]:
    """Return the models in order: each base twice, for the noise floor, then the adapters."""
    bases = list(dict.fromkeys(card.parent for card in adapters if card.parent))
    return [*bases, *bases, *(card.id for card in adapters)]


def check(
    probe: Reads, adapters: Sequence[ModelCard], texts: Sequence[str], *, tick: Tick
) -> EngineCheck:
    """Let the base and every adapter read the same texts, and compare them.

    Requests go one at a time. The first failure of the engine ends the check, and the
    results so far are reported. A model that has disappeared meanwhile is skipped.
    """
    readings = _read(probe, asked_for(adapters), texts, tick=tick)
    floor = max((_floor(*pair) for pair in readings.repeats), default=noise_floor([]))
    found = tuple(_checked(card, adapters, readings.models, floor=floor) for card in adapters)
    return EngineCheck(adapters=found, floor=floor, stopped=readings.stopped)


def _floor(one: DocumentScores, other: DocumentScores) -> float:
    """Return the largest move between two readings, of texts read alone if enough were."""
    mixed = [run.beside for run in (one, other) if run.beside is not None]
    beside = np.logical_or.reduce(mixed) if mixed else np.zeros(one.tokens.size, dtype=np.bool_)
    if np.count_nonzero(~beside) < FEWEST_DOCUMENTS:
        return noise_floor([one, other])
    return noise_floor(
        [replace(run, sum_nll=np.where(beside, np.nan, run.sum_nll)) for run in (one, other)]
    )


def _read(probe: Reads, models: Sequence[str], texts: Sequence[str], *, tick: Tick) -> _Readings:
    readings = _Readings()
    for model in models:

        def told(count: int, model: str = model) -> None:
            tick(model, count)

        try:
            read = read_all(probe, Target(model=model), texts, tick=told)
        except ModelNotServed:
            continue
        except ProbeError as error:
            readings.stopped = f"while {model} was asked: {error}"
            return readings
        asked = ModelReading(read=read, scores=document_scores(read, texts))
        if model in readings.models:
            readings.repeats.append((readings.models[model].scores, asked.scores))
        readings.models[model] = asked
    return readings


def _checked(
    card: ModelCard,
    adapters: Sequence[ModelCard],
    models: Mapping[str, ModelReading],
    *,
    floor: float,
) -> AdapterCheck:
    own, base = models.get(card.id), models.get(card.parent or "")
    if own is None:
        return AdapterCheck(card=card, identity=None)
    siblings = {
        other.id: models[other.id]
        for other in adapters
        if other.id in models and other.parent == card.parent and not one_version(card, other)
    }
    parity = dict(_parities(own, base, siblings, floor=floor))
    identity = identify(
        own.scores,
        base=base.scores if base else None,
        siblings={name: asked.scores for name, asked in siblings.items()},
        floor=floor,
        registered_gap=None,
        parity=parity,
    )
    top1 = parity[BASE].top1 if BASE in parity else None
    return AdapterCheck(card=card, identity=identity, top1=top1)


def _parities(
    own: ModelReading,
    base: ModelReading | None,
    siblings: Mapping[str, ModelReading],
    *,
    floor: float,
) -> Iterator[tuple[str, Parity]]:
    if base is not None and (found := _parity(own, base)):
        yield BASE, found
    for name, sibling in siblings.items():
        move = compare_runs([own.scores], sibling.scores).largest_move
        # most pairs differ clearly; only the others need the divergence as confirmation
        if move <= CHANGED_FLOORS * floor and (found := _parity(own, sibling)):
            yield name, found


def _parity(one: ModelReading, other: ModelReading) -> Parity | None:
    try:
        return compare(one.read, other.read)
    except ValueError:  # other token counts, which `identify` sees in the scores
        return None
