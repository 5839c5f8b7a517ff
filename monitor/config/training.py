"""Read only the sections that ``driftline retraining run`` needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from alerts.outgoing import OutgoingPolicy
from monitor.artifacts.settings import ArtifactSettings
from monitor.config.addresses import serving_problems
from monitor.config.parts import read_part, refuse
from monitor.config.places import ServiceSection, ServingSection
from monitor.trainer.settings import TrainerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerPart:
    """The sections that a trainer needs."""

    serving: ServingSection = field(default_factory=ServingSection)
    outgoing: OutgoingPolicy = field(default_factory=OutgoingPolicy)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    service: ServiceSection = field(default_factory=ServiceSection)
    artifacts: ArtifactSettings = field(default_factory=ArtifactSettings)


def load_trainer_part(path: Path | None = None) -> TrainerPart:
    """Read the sections that a trainer needs; raises ConfigError."""
    part = read_part(path, TrainerPart)
    refuse(
        [
            *serving_problems(part.serving),
            *(f"artifacts.{problem}" for problem in part.artifacts.problems),
            *(f"trainer.{problem}" for problem in part.trainer.problems),
        ]
    )
    return part
