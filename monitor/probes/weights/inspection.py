"""Inspect an adapter's weights, module by module."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from detectors.types import Floats
from detectors.weights import (
    effective_rank,
    energy_rank,
    entropy_rank,
    frobenius,
    singular_values,
    triangle,
)
from monitor.domain import WeightsState
from monitor.probes.weights.adapter_folder import AdapterConfig, Parts, opened_adapter
from monitor.probes.weights.base import PLAIN, BaseWeights, norm, opened_base
from monitor.probes.weights.findings import Gravity, WeightCase, WeightFinding, find, state_of
from monitor.probes.weights.health import Magnitude, ModuleHealth, WholeTensor
from monitor.probes.weights.numbers import DECODERS, Numbers
from monitor.probes.weights.parent import beside_parent
from monitor.probes.weights.safetensors import Tensor

HIGHEST_RANK: Final = 4096
"""A core of this size already takes seconds; no LoRA is larger."""
Advance = Callable[[int, int], None]
"""Called after each module with the numbers done and total."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """The result of an inspection; ``modules`` are in the order of the file.

    ``identity`` covers tensors and config, ``sha256`` the weights file alone. ``others`` are
    tensors stored whole. ``strangers`` counts the modules that only one of the two, this adapter
    and its parent, changes.
    """

    state: WeightsState
    reason: str
    findings: Sequence[WeightFinding]
    modules: Sequence[ModuleHealth]
    config: AdapterConfig
    tensors: int
    bytes: int
    sha256: str
    identity: str
    others: Sequence[WholeTensor]
    strangers: int = 0


def inspect_folder(
    folder: Path,
    *,
    base: Path | None = None,
    parent: Path | None = None,
    advance: Advance = lambda _done, _of: None,
) -> Inspection:
    """Check that an adapter's update is sound, and measure its size in each module.

    Reads ``adapter_config.json`` and ``adapter_model.safetensors``, and the base model's
    safetensors if ``base`` names its folder; ``parent`` names the folder of the adapter that it was
    trained from. No model is loaded; memory does not grow with the files.

    Raises
    ------
    WeightsRefused
        The folder is out of reach, not LoRA, or damaged.
    """
    with (
        opened_adapter(folder) as adapter,
        opened_base(base) if base else nullcontext() as weights,
        opened_adapter(parent) if parent else nullcontext() as before,
    ):
        modules = []
        for done, parts in enumerate(adapter.parts.values(), start=1):
            health = _module(parts, adapter.config, weights)
            modules.append(beside_parent(health, parts, before) if before else health)
            advance(done, len(adapter.parts))
        others = [
            WholeTensor(name=tensor.name, nonfinite=_nonfinite(tensor)) for tensor in adapter.others
        ]
        findings = find(
            WeightCase(
                config=adapter.config,
                modules=modules,
                others=others,
                beside_base=weights is not None,
            )
        )
        worst = [found for found in findings if found.gravity is not Gravity.NOTE]
        return Inspection(
            state=state_of(findings),
            reason="; ".join(found.what for found in worst) or _sound(modules),
            findings=findings,
            modules=modules,
            config=adapter.config,
            tensors=len(adapter.tensors),
            bytes=adapter.bytes,
            sha256=adapter.sha256,
            identity=adapter.identity,
            others=others,
            strangers=len(before.parts.keys() ^ adapter.parts.keys()) if before else 0,
        )


def _sound(modules: Sequence[ModuleHealth]) -> str:
    ranks = [module.effective_rank for module in modules if module.effective_rank is not None]
    return f"{len(modules)} modules, effective rank {min(ranks)} to {max(ranks)}"


def _module(parts: Parts, config: AdapterConfig, base: BaseWeights | None) -> ModuleHealth:
    a, b = parts.a, parts.b
    rank = config.rank(parts.module)
    problem = _problem(parts, rank, per_expert=bool(config.target_parameters))
    health = ModuleHealth(
        module=parts.module,
        kind=_kind(parts.module),
        layer=_layer(parts.module),
        rank=rank,
        scale=config.scale(parts.module),
        dtypes=_dtypes(parts),
        magnitude=_magnitude(parts.magnitude),
        problem=problem,
    )
    if a is None or b is None or problem:
        return health
    found = base.of_module(parts.module) if base else None
    return _measured(_beside(health, found, rows=b.rows, columns=a.columns), a, b)


def _beside(health: ModuleHealth, found: Tensor | None, *, rows: int, columns: int) -> ModuleHealth:
    """Compare the update with the weight that it changes."""
    health = replace(health, rows=rows, columns=columns)
    if found is None:
        return health
    health = replace(health, base_dtype=found.dtype)
    if found.dtype not in PLAIN:
        return health
    # Conv1D and embeddings store the transpose; convolutions are flattened alike
    fits = sorted((found.rows, found.columns)) == sorted((rows, columns))
    return replace(health, fits_base=fits, base_norm=norm(found) if fits else None)


def _measured(health: ModuleHealth, a: Tensor, b: Tensor) -> ModuleHealth:
    """Read both factors once, and derive the numbers from the singular values."""
    left, right = _Factor(a.rows), _Factor(a.rows)
    left.measure(a.by_columns())
    right.measure(b.by_rows())
    health = replace(health, rank=a.rows, nonfinite=left.nonfinite + right.nonfinite)
    if health.nonfinite:
        return health
    values = singular_values(left.triangle, right.triangle, scale=health.scale)
    if not np.isfinite(values).all():
        return replace(health, spectral=math.inf, frobenius=math.inf)
    return replace(
        health,
        effective_rank=effective_rank(values),
        entropy_rank=entropy_rank(values),
        energy_rank=energy_rank(values),
        frobenius=frobenius(values),
        spectral=float(values[0]) if len(values) else 0.0,
    )


@dataclass(slots=True)
class _Factor:
    """The results of one pass over a factor's numbers."""

    rank: int
    nonfinite: int = 0
    triangle: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def measure(self, blocks: Iterable[Numbers]) -> None:
        self.triangle = triangle(self._watched(blocks), width=self.rank)

    def _watched(self, blocks: Iterable[Numbers]) -> Iterator[Floats]:
        for block in blocks:
            bad = block.size - int(np.isfinite(block).sum())
            self.nonfinite += bad
            if not bad:  # the triangle of a factor with NaN is not used
                yield block.astype(np.float64)


def _problem(parts: Parts, rank: int, *, per_expert: bool) -> str | None:
    """Say why the parts of a module form no update; None if they do."""
    a, b = parts.a, parts.b
    if a is None or b is None:
        return f"has {_names_of(parts)} but not {'lora_A' if a is None else 'lora_B'}"
    if len(a.shape) < 2 or len(b.shape) < 2 or b.columns != a.rows:  # noqa: PLR2004 (matrices)
        return f"lora_A {_shape(a)} and lora_B {_shape(b)} do not fit each other"
    if a.rows != rank and not (per_expert and a.rows % rank == 0):
        return f"has rank {a.rows}; the config says {rank}"
    if a.rows > HIGHEST_RANK:
        return f"has rank {a.rows:,}; nothing above {HIGHEST_RANK:,} is measured"
    return None


def _names_of(parts: Parts) -> str:
    known = {"lora_A": parts.a, "lora_B": parts.b, "a magnitude vector": parts.magnitude}
    return " and ".join(name for name, tensor in known.items() if tensor is not None)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _dtypes(parts: Parts) -> tuple[str, ...]:
    return tuple(sorted({tensor.dtype for tensor in (parts.a, parts.b) if tensor is not None}))


def _magnitude(tensor: Tensor | None) -> Magnitude | None:
    """Return the range of a DoRA magnitude vector."""
    if tensor is None:
        return None
    lowest, highest, bad = math.inf, -math.inf, 0
    for block in tensor.flat():
        bad += block.size - int(np.isfinite(block).sum())
        lowest = min(lowest, float(np.fmin.reduce(block)))
        highest = max(highest, float(np.fmax.reduce(block)))
    return Magnitude(lowest=lowest, highest=highest, nonfinite=bad)


def _nonfinite(tensor: Tensor) -> int:
    if tensor.dtype not in DECODERS:
        return 0
    return sum(block.size - int(np.isfinite(block).sum()) for block in tensor.flat())


def _kind(module: str) -> str:
    """Return the module's kind: the last part of its path that is not a number."""
    named = [part for part in module.split(".") if not part.isdigit() and part != "base_layer"]
    return named[-1] if named else module


def _layer(module: str) -> int | None:
    found = re.search(r"(?:^|\.)(\d{1,6})(?:\.|$)", module)
    return int(found[1]) if found else None
