"""The settings of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from detectors import DETECTORS
from detectors.detector import Detector
from detectors.feedback import Directions
from detectors.profile import EffectScale
from detectors.signals import SignalKind, of_kind
from monitor.domain import EvaluationKind
from monitor.policy import PolicySettings, Preset
from monitor.policy.budget import BudgetSettings
from monitor.probes.share import SHARE


def reads_answers(detectors: Iterable[str]) -> bool:
    """Return whether a detector reads the embeddings of answers."""
    embedded = set(of_kind(SignalKind.ANSWER))
    return any(embedded.intersection(DETECTORS[name].signals) for name in detectors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """The smallest effect that may move traffic; half of it is "small again".

    ``rank`` is Cliff's delta, ``rate`` a difference of rates.
    """

    rank: float = 0.2
    rate: float = 0.05

    def of(self, scale: EffectScale) -> float:
        """Return the margin of a detector whose effects have this scale."""
        return self.rank if scale is EffectScale.RANK else self.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSettings:
    """The settings by which windows are scored and judged.

    detectors
        Names from the table of detectors, in order.
    budget
        Accepted false pages and notices; :mod:`monitor.policy.budget` divides them.
    effect_window, effect_records
        Effects are taken since onset over at most this long and this many records.
    silence_records
        This many records expected and none seen opens a ``no_data`` incident.
    probe_share
        Share of each engine's time that probes may take.
    shown_examples
        Least similar prompts shown in a message; 0 unless text is stored.
    preset
        Which rules say that an adapter drifts; ``preset_of`` has those of adapters with
        another one.
    feedback
        Names of feedback that is compared; ``feedback_of`` has those of adapters with names
        of their own.
    """

    detectors: tuple[str, ...] = field(default_factory=lambda: tuple(DETECTORS))
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    margins: Margins = field(default_factory=Margins)
    policy: PolicySettings = field(default_factory=PolicySettings)
    effect_window: timedelta = timedelta(hours=24)
    effect_records: int = 4_000
    silence_records: int = 50
    probe_share: float = SHARE
    shown_examples: int = 0
    preset: Preset = Preset.BUDGET
    preset_of: Mapping[str, Preset] = field(default_factory=dict)
    feedback: Directions = field(default_factory=Directions)
    feedback_of: Mapping[str, Directions] = field(default_factory=dict)

    def is_classic(self, adapter: str) -> bool:
        """Whether textbook thresholds open the tickets of an adapter."""
        return self.preset_of.get(adapter, self.preset) is Preset.CLASSIC

    def detectors_of(self, kind: EvaluationKind) -> list[Detector[Any]]:
        """Return the detectors that windows of a kind are scored by."""
        named = [DETECTORS[name] for name in self.detectors]
        return [one for one in named if one.hard is (kind is EvaluationKind.HARD)]

    @property
    def embeds_answers(self) -> bool:
        """Whether a detector reads the embeddings of answers."""
        return reads_answers(self.detectors)

    def directions(self, adapter: str) -> Directions:
        """Return an adapter's compared feedback, with the direction in which each is better."""
        return self.feedback_of.get(adapter, self.feedback)
