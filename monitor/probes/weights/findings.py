"""Turn numbers into findings: the faults of an adapter's weights, and their gravity."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

import numpy as np

from detectors.weights import FAR, robust_z
from monitor.domain import WeightsState
from monitor.probes.weights.adapter_folder import AdapterConfig
from monitor.probes.weights.health import ModuleHealth, WholeTensor
from monitor.probes.weights.patterns import is_named, is_target

TIMES: Final = 10.0
"""And it must be this many times larger or smaller than its siblings' median."""
FEWEST_SIBLINGS: Final = 4
COLLAPSED_FROM: Final = 4
"""An update of rank 4 or more that uses a single direction is collapsed."""
USUAL_SCALE: Final = (0.05, 32.0)
"""Scales outside this range are legal but rarely intended."""
LARGEST_RATIO: Final = 1.0
"""An update as large as the weight it is added to replaces it."""
NAMED: Final = 3
"""The most modules that a finding names."""
LONGEST: Final = 120
"""Characters of a name in a finding."""


class Gravity(StrEnum):
    """The gravity of a finding."""

    NOTE = "note"
    SUSPECT = "suspect"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFinding:
    """One finding, in words with its numbers; ``modules`` lists all modules concerned."""

    gravity: Gravity
    what: str
    modules: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightCase:
    """The input of the rules; ``beside_base`` is true if a base was at hand."""

    config: AdapterConfig
    modules: Sequence[ModuleHealth]
    others: Sequence[WholeTensor]
    beside_base: bool


def find(case: WeightCase) -> list[WeightFinding]:
    """Apply every rule; worst findings first."""
    found = [finding for rule in _RULES for finding in rule(case)]
    gravest = list(reversed(Gravity))
    return sorted(found, key=lambda finding: gravest.index(finding.gravity))


def state_of(findings: Sequence[WeightFinding]) -> WeightsState:
    """Return the state that follows from the worst finding."""
    gravities = {finding.gravity for finding in findings}
    if Gravity.BROKEN in gravities:
        return WeightsState.BROKEN
    return WeightsState.SUSPECT if Gravity.SUSPECT in gravities else WeightsState.HEALTHY


def outliers(
    modules: Sequence[ModuleHealth],
    *,
    mates: Callable[[ModuleHealth], object] = attrgetter("kind"),
) -> dict[str, float]:
    """Return the robust z of each module's log size among its mates, if at least four.

    ``mates`` says what mates have in common: by default siblings, of one kind in all layers.
    """
    groups: dict[object, list[ModuleHealth]] = defaultdict(list)
    for module in modules:
        if module.size and math.isfinite(module.size):
            groups[mates(module)].append(module)
    return {
        module.module: float(z)
        for group in groups.values()
        if len(group) >= FEWEST_SIBLINGS
        for module, z in zip(group, robust_z(_logs(group)), strict=True)
    }


def nonfinite(modules: Sequence[ModuleHealth], others: Sequence[WholeTensor]) -> Mapping[str, int]:
    """Return the number of NaN and infinite numbers of each module and whole tensor with any."""
    counts = {one.module: one.nonfinite for one in modules if one.nonfinite}
    counts |= {
        f"{one.module} (magnitude)": one.magnitude.nonfinite
        for one in modules
        if one.magnitude and one.magnitude.nonfinite
    }
    return counts | {one.name: one.nonfinite for one in others if one.nonfinite}


def _logs(group: Sequence[ModuleHealth]) -> Any:
    return np.log10([module.size or math.nan for module in group])


def _named(modules: Sequence[str]) -> str:
    more = len(modules) - NAMED
    shown = ", ".join(_short(name) for name in modules[:NAMED])
    return shown + (f" and {more} more" if more > 0 else "")


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}…"


def _about(gravity: Gravity, what: str, modules: Sequence[str]) -> Iterator[WeightFinding]:
    """Yield one finding for several modules, if there are any; ``{n}`` is their number."""
    if modules:
        said = what.replace("{n}", f"{len(modules)} module{'s' if len(modules) > 1 else ''}")
        yield WeightFinding(
            gravity=gravity, what=f"{said}: {_named(modules)}", modules=tuple(modules)
        )


def _no_update(case: WeightCase) -> Iterator[WeightFinding]:
    if not case.modules:
        yield WeightFinding(gravity=Gravity.BROKEN, what="the file holds no LoRA tensors")


def _misfits(case: WeightCase) -> Iterator[WeightFinding]:
    bad = [module for module in case.modules if module.problem]
    for module in bad[:NAMED]:
        what = f"{_short(module.module)} {module.problem}"
        yield WeightFinding(gravity=Gravity.BROKEN, what=what, modules=(module.module,))
    more = [module.module for module in bad[NAMED:]]
    yield from _about(Gravity.BROKEN, "{n} more make no update either", more)


def _not_finite(case: WeightCase) -> Iterator[WeightFinding]:
    counts = nonfinite(case.modules, case.others)
    total = sum(counts.values())
    yield from _about(Gravity.BROKEN, f"{total:,} NaN or infinite numbers in {{n}}", list(counts))
    endless = [module.module for module in case.modules if module.frobenius == math.inf]
    yield from _about(Gravity.BROKEN, "the update of {n} is beyond any number", endless)


def _no_effect(case: WeightCase) -> Iterator[WeightFinding]:
    nothing = [module.module for module in case.modules if module.changes_nothing]
    measured = [module for module in case.modules if module.frobenius is not None]
    if nothing and len(nothing) == len(measured):
        # with DoRA, the magnitudes may still have been trained
        gravity = Gravity.SUSPECT if case.config.use_dora else Gravity.BROKEN
        what = "every update is zero: the adapter would not change the base at all"
        yield WeightFinding(gravity=gravity, what=what, modules=tuple(nothing))
    else:
        yield from _about(Gravity.SUSPECT, "the update of {n} is zero", nothing)


def _collapse(case: WeightCase) -> Iterator[WeightFinding]:
    ranked = [
        module for module in case.modules if module.effective_rank and module.rank >= COLLAPSED_FROM
    ]
    flat = [module.module for module in ranked if module.effective_rank == 1]
    if len(flat) * 2 > len(ranked):
        what = f"effective rank 1 of {case.config.r} in {{n}} of {len(ranked)}"
        yield from _about(Gravity.SUSPECT, what, flat)


def _unlike_siblings(case: WeightCase) -> Iterator[WeightFinding]:
    far = outliers(case.modules)
    sizes: dict[str, list[float]] = defaultdict(list)
    for module in case.modules:
        if module.module in far and module.size:
            sizes[module.kind].append(module.size)
    times = {
        module.module: module.size / float(np.median(sizes[module.kind]))
        for module in case.modules
        if abs(far.get(module.module, 0.0)) >= FAR and module.size
    }
    unlike = {name: ratio for name, ratio in times.items() if not 1 / TIMES < ratio < TIMES}
    names = sorted(unlike, key=lambda name: -abs(math.log(unlike[name])))
    if names:
        what = f"the update of {{n}} is unlike its siblings' ({unlike[names[0]]:.3g} x the median)"
        yield from _about(Gravity.SUSPECT, what, names)


def _against_base(case: WeightCase) -> Iterator[WeightFinding]:
    unfit = [module.module for module in case.modules if module.fits_base is False]
    yield from _about(Gravity.BROKEN, "{n} do not fit the shapes of this base", unfit)
    large = [module.module for module in case.modules if (module.ratio or 0.0) >= LARGEST_RATIO]
    yield from _about(Gravity.SUSPECT, "the update is as large as the base's weight in {n}", large)
    if not case.beside_base:
        return
    sound = [module for module in case.modules if not module.problem]
    unknown = [module.module for module in sound if module.base_dtype is None]
    yield from _about(Gravity.SUSPECT, "the base has no weight for {n}", unknown)
    stored = [module.module for module in sound if module.base_dtype and module.fits_base is None]
    yield from _about(Gravity.NOTE, "the base is quantised, so there is no ratio, in {n}", stored)


def _targets(case: WeightCase) -> Iterator[WeightFinding]:
    targets = case.config.target_modules
    if targets is None or case.config.target_parameters:
        return
    names = [module.module for module in case.modules]
    strangers = [name for name in names if is_target(targets, name) is False]
    yield from _about(Gravity.SUSPECT, "{n} are none of the config's target modules", strangers)
    if not isinstance(targets, str):
        absent = sorted(
            target for target in targets if not any(is_named(target, name) for name in names)
        )
        what = "the file has no tensors for target modules of the config"
        yield from _about(Gravity.SUSPECT, what, absent)


def _saved(case: WeightCase) -> Iterator[WeightFinding]:
    wanted = case.config.modules_to_save or []
    absent = [
        name for name in wanted if not any(name in tensor.name.split(".") for tensor in case.others)
    ]
    yield from _about(Gravity.SUSPECT, "the file lacks modules_to_save of the config", absent)


def _dora(case: WeightCase) -> Iterator[WeightFinding]:
    if case.config.use_dora:
        without = [module.module for module in case.modules if module.magnitude is None]
        yield from _about(Gravity.SUSPECT, "no DoRA magnitude for {n}", without)
    odd = [
        module.module
        for module in case.modules
        if module.magnitude and module.magnitude.lowest <= 0.0
    ]
    yield from _about(Gravity.SUSPECT, "DoRA magnitudes of zero or below in {n}", odd)


def _scales(case: WeightCase) -> Iterator[WeightFinding]:
    low, high = USUAL_SCALE
    negative = [module.module for module in case.modules if module.scale < 0]
    yield from _about(Gravity.SUSPECT, "alpha is negative for {n}", negative)
    odd = [
        module.module
        for module in case.modules
        if module.scale > 0 and not low <= module.scale <= high
    ]
    yield from _about(Gravity.NOTE, f"a scale outside {low:g} to {high:g} for {{n}}", odd)


def _dtypes(case: WeightCase) -> Iterator[WeightFinding]:
    counts = Counter(dtype for module in case.modules for dtype in module.dtypes)
    if len(counts) > 1:
        said = ", ".join(f"{dtype} in {count}" for dtype, count in counts.most_common())
        yield WeightFinding(gravity=Gravity.NOTE, what=f"number formats are mixed: {said} modules")


def _start(case: WeightCase) -> Iterator[WeightFinding]:
    start = case.config.init_lora_weights
    if isinstance(start, str) and start.partition("_")[0].lower() in {"pissa", "olora", "corda"}:
        what = (
            f"started with {start[:40]!r}, which also changes the base: only right on that base,"
            " or after conversion"
        )
        yield WeightFinding(gravity=Gravity.NOTE, what=what)


_RULES: Final[tuple[Callable[[WeightCase], Iterator[WeightFinding]], ...]] = (
    _no_update,
    _misfits,
    _not_finite,
    _no_effect,
    _collapse,
    _unlike_siblings,
    _against_base,
    _targets,
    _saved,
    _dora,
    _scales,
    _dtypes,
    _start,
)
