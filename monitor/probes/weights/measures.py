"""Gather an inspection into the few numbers that a version's admission is judged by."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Final

import numpy as np

from detectors.weight_checks import WeightMeasures
from detectors.weights import FAR
from monitor.probes.weights.errors import Remedy, WeightsRefused
from monitor.probes.weights.findings import nonfinite, outliers
from monitor.probes.weights.health import ModuleHealth
from monitor.probes.weights.inspection import Inspection, inspect_folder
from monitor.probes.weights.process import WeightQuestion

HALF: Final = 0.5
LONGEST: Final = 160
FURTHEST: Final = 1e6
"""Robust standard deviations that stand for an infinite distance, which JSON cannot hold."""


def measured(question: WeightQuestion) -> tuple[Inspection, WeightMeasures]:
    """Inspect an adapter beside its base and its parent, or alone where they cannot be read.

    Raises
    ------
    WeightsRefused
        The adapter itself cannot be inspected.
    """
    folder = Path(question.folder)
    base, parent = (Path(one) if one else None for one in (question.base, question.parent))
    try:
        found = inspect_folder(folder, base=base, parent=parent)
    except WeightsRefused as refused:
        if base is None and parent is None:
            raise
        found = inspect_folder(folder)  # raises again if the adapter is at fault
        why = f"the files beside it cannot be read: {refused.reason}"
        if refused.refusal is Remedy.MISSING:
            why = ""  # no more than of a folder that is not there, so that nobody can probe paths
        no_base, no_parent = why or question.no_base, why or question.no_parent
    else:
        no_base, no_parent = "" if base else question.no_base, "" if parent else question.no_parent
    return found, gather(found, no_base=no_base, no_parent=no_parent)


def gather(found: Inspection, *, no_base: str = "", no_parent: str = "") -> WeightMeasures:
    """Reduce an inspection to the numbers of :func:`detectors.weight_checks.weight_checks`."""
    modules = found.modules
    ranked = [
        one for one in modules if one.entropy_rank and one.energy_rank is not None and one.rank
    ]
    entropy, energy = _shares(ranked, "entropy_rank"), _shares(ranked, "energy_rank")
    pairs = zip(ranked, entropy, energy, strict=True)
    collapsed = [one.module for one, by, too in pairs if by < HALF and too < HALF]
    scales = [one.scale for one in modules]
    return WeightMeasures(
        modules=len(modules),
        faults=_names(list(_faults(found))),
        nonfinite=nonfinite(found.modules, found.others),
        dtypes=Counter(dtype for one in modules for dtype in one.dtypes),
        scales=(min(scales), max(scales)) if scales else None,
        entropy_share=float(np.median(entropy)) if entropy else None,
        energy_share=float(np.median(energy)) if energy else None,
        collapsed=_names(collapsed),
        size=_over(modules, lambda one: one.frobenius, lambda one: one.base_norm),
        parent_size=_over(modules, lambda one: one.parent_norm, lambda one: one.base_norm),
        largest=_largest(modules),
        base=no_base,
        parent=no_parent,
        dead=_names([one.module for one in modules if one.changes_nothing]),
        magnitudes=bool(found.config.use_dora),
        unlike=_unlike(modules),
        drift=_over(modules, lambda one: one.parent_distance, lambda one: one.parent_norm),
        strangers=found.strangers,
    )


def _faults(found: Inspection) -> Iterator[str]:
    if not found.modules:
        yield "the file holds no LoRA tensors"
    for one in found.modules:
        if one.problem:
            yield f"{one.module} {one.problem}"
        elif one.fits_base is False:
            yield f"{one.module} does not fit the shape of the base's weight"
        elif one.frobenius == math.inf:
            yield f"the update of {one.module} is beyond any number"


def _shares(modules: Sequence[ModuleHealth], name: str) -> list[float]:
    return [getattr(one, name) / one.rank for one in modules]


def _over(
    modules: Sequence[ModuleHealth],
    of: Callable[[ModuleHealth], float | None],
    over: Callable[[ModuleHealth], float | None],
) -> float | None:
    """Return the ratio of two sizes, over all modules of which both are known."""
    known = [(x, y) for one in modules if (x := of(one)) is not None and (y := over(one))]
    known = [(x, y) for x, y in known if math.isfinite(x) and math.isfinite(y)]
    if not known:
        return None
    return math.hypot(*(x for x, _ in known)) / math.hypot(*(y for _, y in known))


def _largest(modules: Sequence[ModuleHealth]) -> tuple[str, float] | None:
    known = [(_short(one.module), one.ratio) for one in modules if one.ratio is not None]
    return max(known, key=lambda pair: pair[1], default=None)


def _unlike(modules: Sequence[ModuleHealth]) -> tuple[str, float, float] | None:
    """Return the module that differs most from its mates, of its kind or of its layer.

    Outliers come first: the others are as unlike as their mates are among each other.
    """
    with_base = [one for one in modules if one.ratio is not None]
    comparable = with_base or modules
    found = []
    for mates in (attrgetter("kind"), attrgetter("layer")):
        far = outliers(comparable, mates=mates)
        sizes: dict[object, list[float]] = defaultdict(list)
        known = [(one, one.size) for one in comparable if one.module in far and one.size]
        for one, size in known:
            sizes[mates(one)].append(size)
        for one, size in known:
            times = size / float(np.median(sizes[mates(one)]))
            z = min(max(far[one.module], -FURTHEST), FURTHEST)
            found.append((abs(z) >= FAR, abs(math.log(times)), (_short(one.module), times, z)))
    return max(found, default=(False, 0.0, None))[2]


def _names(names: Sequence[str]) -> list[str]:
    return [_short(name) for name in names]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
