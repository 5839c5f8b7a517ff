"""The limits of admissions; each field is a key of ``[admission]`` in the config."""

from __future__ import annotations

from dataclasses import dataclass, field

from detectors.effect import EffectLimits
from detectors.forgetting import ForgettingLimits
from detectors.gap import GapLimits
from detectors.memorised import MemorisedLimits
from detectors.parity import Limits
from detectors.weight_checks import WeightLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionSettings:
    """Whether admission is required, and the limits of its checks.

    required
        A version that was not admitted gets no traffic, by route, canary or fallback. One that
        already answers when this is switched on keeps its traffic.
    weights, gap, effect, memorised, forgetting, parity
        The limits of the weights' checks, of the gap between training and held-out texts, of what
        the adapter changes against its base, of the training texts that it repeats, and of the
        general questions that it answers no more, and of its distance to another build of itself.
    """

    required: bool = False
    weights: WeightLimits = field(default_factory=WeightLimits)
    gap: GapLimits = field(default_factory=GapLimits)
    effect: EffectLimits = field(default_factory=EffectLimits)
    memorised: MemorisedLimits = field(default_factory=MemorisedLimits)
    forgetting: ForgettingLimits = field(default_factory=ForgettingLimits)
    parity: Limits = field(default_factory=Limits)

    @property
    def problems(self) -> list[str]:
        """List the contradictions between these numbers, each with its key."""
        return [
            *(f"weights.{problem}" for problem in self.weights.problems),
            *(f"gap.{problem}" for problem in self.gap.problems),
            *(f"effect.{problem}" for problem in self.effect.problems),
            *(f"memorised.{problem}" for problem in self.memorised.problems),
            *(f"forgetting.{problem}" for problem in self.forgetting.problems),
            *(f"parity.{problem}" for problem in self.parity.problems),
        ]
