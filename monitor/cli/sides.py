"""What one word names on the command line: a served model, or a folder of weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from monitor.cli import engines

if TYPE_CHECKING:
    from monitor.config import Config
    from monitor.probes.asking import Target
    from monitor.probes.comparing import Reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two models, and what asks it."""

    label: str
    target: Target
    probe: Reads


def served(word: str, url: str | None, config: Config) -> Side:
    """Find a served name; raises BadParameter where no engine is named."""
    from monitor.probes.asking import Target

    if url is None:
        raise typer.BadParameter(f"{word!r} is no folder; name the engine that serves it: --engine")
    probe = engines.engine(url, config).probe
    return Side(label=word, target=Target(model=word), probe=probe)


def is_folder(word: str) -> bool:
    """Whether a word names weights on this machine."""
    return Path(word).is_dir()
