"""Compare an adapter's update with its parent's, module by module."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from detectors.types import Floats
from detectors.weights import distance
from monitor.probes.weights.adapter_folder import AdapterFolder, Parts
from monitor.probes.weights.health import ModuleHealth
from monitor.probes.weights.numbers import Numbers
from monitor.probes.weights.safetensors import Tensor

MATRIX: Final = 2


def beside_parent(health: ModuleHealth, parts: Parts, parent: AdapterFolder) -> ModuleHealth:
    """Add the parent's size and the distance from it; unchanged where they do not compare."""
    own = parent.parts.get(health.module)
    if own is None or health.frobenius is None or not math.isfinite(health.frobenius):
        return health
    a, b, c, d = parts.a, parts.b, own.a, own.b
    if a is None or b is None or c is None or d is None or not _fit(a, b, c, d):
        return health
    scale = parent.config.scale(health.module)
    size = _size(c, d, scale=scale)
    if not math.isfinite(size):
        return health
    apart = distance(
        _cross(a.by_columns(), c.by_columns()),
        health.scale * scale * _cross(b.by_rows(), d.by_rows()),
        sizes=(health.frobenius, size),
    )
    return replace(health, parent_norm=size, parent_distance=apart)


def _fit(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> bool:
    matrices = all(len(one.shape) >= MATRIX and not one.empty for one in (a, b, c, d))
    same = a.columns == c.columns and b.rows == d.rows
    return matrices and same and b.columns == a.rows and d.columns == c.rows


def _size(c: Tensor, d: Tensor, *, scale: float) -> float:
    squared = np.sum(_cross(c.by_columns(), c.by_columns()) * _cross(d.by_rows(), d.by_rows()))
    return abs(scale) * math.sqrt(max(0.0, float(squared)))


def _cross(one: Iterator[Numbers], other: Iterator[Numbers]) -> Floats:
    """Return ``one^T other`` of stacked blocks of rows; blocks may be cut at different rows."""
    total: Floats | None = None
    with np.errstate(over="ignore", invalid="ignore"):
        for left, right in _aligned(one, other):
            part = left.astype(np.float64).T @ right.astype(np.float64)
            total = part if total is None else total + part
    return np.empty((0, 0)) if total is None else total


def _aligned(one: Iterator[Numbers], other: Iterator[Numbers]) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield blocks of equally many rows."""
    left, right = next(one, None), next(other, None)
    while left is not None and right is not None:
        count = min(len(left), len(right))
        yield left[:count], right[:count]
        left = left[count:] if len(left) > count else next(one, None)
        right = right[count:] if len(right) > count else next(other, None)
