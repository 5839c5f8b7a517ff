"""Folders of adapters in the cache: trained, damaged, and made when first asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save_file

from benchmarks.adapters.training import RECIPES, train_adapter, train_revision
from benchmarks.adapters.ways.way import Weights

_WEIGHTS: Final = "adapter_model.safetensors"
_CONFIG: Final = "adapter_config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedShelf:
    """All that is served of one adapter. What takes minutes to make is kept."""

    cache: Path
    base: Path
    adapter: str

    def version(self, name: str, *, of: str | None = None) -> Path:
        """See `Shelf`."""
        adapter, recipe = of or self.adapter, RECIPES[name]
        return self._made(
            f"{adapter}-{name}", lambda path: train_adapter(self.base, adapter, recipe, path)
        )

    def nothing(self) -> Path:
        """See `Shelf`."""
        right = self.version("v2")
        return self._made(f"{self.adapter}-nothing", lambda path: copy(right, path, _emptied))

    def on_revision(self) -> Path:
        """See `Shelf`."""
        revision = self.revision()
        return self._made(
            f"{self.adapter}-on-revision",
            lambda path: train_adapter(revision, self.adapter, RECIPES["v2"], path),
        )

    def revision(self) -> Path:
        """See `Shelf`."""
        return self._made("revision", lambda path: train_revision(self.base, path))

    def damaged(self, name: str, change: Callable[[Weights], Weights]) -> Path:
        """The version in charge after a change of its weights, written anew each time."""
        target = self.cache / f"{self.adapter}-{name}"
        shutil.rmtree(target, ignore_errors=True)
        copy(self.version("v2"), target, change)
        return target

    def _made(self, name: str, make: Callable[[Path], None]) -> Path:
        target = self.cache / name
        if not target.exists():
            part = self.cache / f"{name}.part"
            shutil.rmtree(part, ignore_errors=True)
            make(part)
            part.rename(target)
        return target


def copy(source: Path, target: Path, change: Callable[[Weights], Weights]) -> None:
    """Write an adapter's folder with other weights or another config."""
    config = json.loads((source / _CONFIG).read_text(encoding="utf-8"))
    changed = change(Weights(tensors=load_file(source / _WEIGHTS), config=config))
    shutil.copytree(source, target)
    stored = {name: tensor.contiguous() for name, tensor in changed.tensors.items()}
    save_file(stored, target / _WEIGHTS, metadata={"format": "pt"})
    (target / _CONFIG).write_text(json.dumps(dict(changed.config)), encoding="utf-8")


def _emptied(weights: Weights) -> Weights:
    zeroed = {
        name: torch.zeros_like(tensor) if ".lora_B." in name else tensor
        for name, tensor in weights.tensors.items()
    }
    return Weights(tensors=zeroed, config=weights.config)
