"""Judge an adapter's weights before it is served, from a few numbers of its files.

Each check answers one question about the update ``s B A`` of a LoRA adapter, and refuses only what
no sound training leaves behind. Ratios of sizes are over all modules together,

    ``sqrt(sum |s B A|_F^2) / sqrt(sum |W|_F^2)``

so that one small module cannot decide; a single module that stands out has a check of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from detectors.checks import Check, CheckVerdict, graded
from detectors.weights import FAR

NAMED: Final = 3
"""The most modules that a reason names."""
SAME: Final = 1e-4
"""Weights nearer to their parent's than this share are the parent's; rounding leaves less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightLimits:
    """The limits of the weights' checks.

    dtypes
        Number formats that serving loads, as safetensors names them.
    scale_low, scale_high
        ``alpha / r`` (``alpha / sqrt(r)`` for rsLoRA) is in this range.
    rank_share
        Median over modules of effective rank / r; below it by both measures: refused, by one: a
        warning.
    size_warns, size_refuses
        Size of the update over that of the weights it changes.
    size_of_parent
        Up to so many times the parent's, a size beyond ``size_refuses`` is a warning only.
    dead_share
        Share of modules whose update may be zero.
    unlike_times
        A module may be so many times larger or smaller than the median of its mates, those of its
        kind in other layers or those of its layer; more is refused where they vary less.
    drift_warns, drift_refuses
        Distance from the parent's update, over the parent's size. Weights trained anew from the
        base are about 1.4 away.
    """

    dtypes: tuple[str, ...] = ("F32", "F16", "BF16")
    scale_low: float = 0.5
    scale_high: float = 4.0
    rank_share: float = 0.5
    size_warns: float = 0.1
    size_refuses: float = 0.5
    size_of_parent: float = 1.5
    dead_share: float = 0.0
    unlike_times: float = 10.0
    drift_warns: float = 1.0
    drift_refuses: float = 3.0

    @property
    def problems(self) -> list[str]:
        """List the contradictions between these numbers, each with its key."""
        found = [
            f"{low}: must not be above {high}"
            for low, high in (
                ("scale_low", "scale_high"),
                ("size_warns", "size_refuses"),
                ("drift_warns", "drift_refuses"),
            )
            if getattr(self, low) > getattr(self, high)
        ]
        found += [
            f"{name}: must be in [0, 1]"
            for name in ("rank_share", "dead_share")
            if not 0.0 <= getattr(self, name) <= 1.0
        ]
        if not self.dtypes:
            found.append("dtypes: names no format")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightMeasures:
    """The numbers of an adapter's files that the checks need; None: not measured.

    modules
        How many modules it changes.
    faults
        Why some make no update, or do not fit the base; empty where all do.
    nonfinite
        NaN and infinite numbers, by module.
    dtypes
        Modules by number format.
    scales
        Lowest and highest scale.
    entropy_share, energy_share
        Median over modules of effective rank / r, by entropy and by energy.
    collapsed
        Modules below half of their rank by both.
    size, parent_size
        Relative size of the update, and of the parent's.
    largest
        The module with the largest relative size, and that size.
    base, parent
        Why the base, or the parent, could not be read; empty where it was.
    dead
        Modules whose update is zero.
    magnitudes
        True for DoRA, where a dead module may still change something.
    unlike
        The module least like its mates: name, times, robust z; None where there are too few.
    drift
        Distance from the parent over the parent's size.
    strangers
        Modules that only one of the two, this version and its parent, changes.
    """

    modules: int
    faults: Sequence[str] = ()
    nonfinite: Mapping[str, int] = field(default_factory=dict)
    dtypes: Mapping[str, int] = field(default_factory=dict)
    scales: tuple[float, float] | None = None
    entropy_share: float | None = None
    energy_share: float | None = None
    collapsed: Sequence[str] = ()
    size: float | None = None
    parent_size: float | None = None
    largest: tuple[str, float] | None = None
    base: str = ""
    parent: str = ""
    dead: Sequence[str] = ()
    magnitudes: bool = False
    unlike: tuple[str, float, float] | None = None
    drift: float | None = None
    strangers: int = 0


def weight_checks(found: WeightMeasures, limits: WeightLimits) -> list[Check]:
    """Judge the weights: one check for each question, in a fixed order.

    >>> found = WeightMeasures(modules=2, scales=(2.0, 8.0), dtypes={"F16": 2})
    >>> [check.name for check in weight_checks(found, WeightLimits()) if check.verdict == "refuse"]
    ['scale']
    """
    return [check for judge in _JUDGES for check in judge(found, limits)]


def _files(found: WeightMeasures, _limits: WeightLimits) -> Iterator[Check]:
    bad = len(found.faults)
    reason = f"{found.modules} modules, each with an update that fits"
    yield Check(
        name="files",
        number=float(bad),
        limit="0 modules without a fitting update",
        verdict=CheckVerdict.REFUSE if bad else CheckVerdict.PASS,
        reason=_few(found.faults, "; ") if bad else reason,
    )


def _finite(found: WeightMeasures, _limits: WeightLimits) -> Iterator[Check]:
    total = sum(found.nonfinite.values())
    said = f"{total:,} NaN or infinite numbers in {_few(list(found.nonfinite))}"
    yield Check(
        name="finite",
        number=float(total),
        limit="0 NaN or infinite numbers",
        verdict=CheckVerdict.REFUSE if total else CheckVerdict.PASS,
        reason=said if total else "every number is finite",
    )


def _dtype(found: WeightMeasures, limits: WeightLimits) -> Iterator[Check]:
    if not found.dtypes:
        return
    strange = sorted(set(found.dtypes) - set(limits.dtypes))
    formats = ", ".join(f"{name} in {count}" for name, count in sorted(found.dtypes.items()))
    mixed = len(found.dtypes) > 1
    reason = f"{formats} modules"
    if strange:
        reason += f": {', '.join(strange)} is not among the accepted formats"
    elif mixed:
        reason += ": the formats are mixed"
    yield Check(
        name="dtype",
        number=float(len(found.dtypes)),
        limit=f"one of {', '.join(limits.dtypes)}",
        verdict=CheckVerdict.REFUSE
        if strange
        else CheckVerdict.WARN
        if mixed
        else CheckVerdict.PASS,
        reason=reason,
    )


def _scale(found: WeightMeasures, limits: WeightLimits) -> Iterator[Check]:
    if found.scales is None:
        return
    low, high = found.scales
    inside = limits.scale_low <= low and high <= limits.scale_high
    furthest = low if low < limits.scale_low else high
    yield Check(
        name="scale",
        number=furthest,
        limit=f"{limits.scale_low:g} to {limits.scale_high:g}",
        verdict=CheckVerdict.PASS if inside else CheckVerdict.REFUSE,
        reason=f"alpha / r is {low:g}" + ("" if low == high else f" to {high:g}"),
    )


def _rank(found: WeightMeasures, limits: WeightLimits) -> Iterator[Check]:
    if found.entropy_share is None or found.energy_share is None:
        return
    shares = (found.entropy_share, found.energy_share)
    below = sum(share < limits.rank_share for share in shares)
    both = below == len(shares)
    reason = (
        f"effective rank {found.entropy_share:.2f} r by entropy, {found.energy_share:.2f} r for"
        " 90 % of the energy (medians over modules)"
    )
    if found.collapsed:
        reason += f"; below r / 2 by both: {_few(found.collapsed)}"
    yield Check(
        name="rank",
        number=found.entropy_share,
        limit=f">= {limits.rank_share:g} r by one of the two",
        verdict=CheckVerdict.REFUSE
        if both
        else CheckVerdict.WARN
        if below or found.collapsed
        else CheckVerdict.PASS,
        reason=reason,
        details={"entropy": shares[0], "energy": shares[1], "collapsed": len(found.collapsed)},
    )


def _size(found: WeightMeasures, limits: WeightLimits) -> Iterator[Check]:
    limit = f"<= {limits.size_refuses:g}, or alike the parent's; warns above {limits.size_warns:g}"
    if found.size is None:
        reason = f"the base's weights are not at hand: {found.base or 'none of them was read'}"
        yield Check(name="size", limit=limit, verdict=CheckVerdict.SKIPPED, reason=reason)
        return
    verdict = graded(found.size, warns=limits.size_warns, refuses=limits.size_refuses)
    reason = f"|BA| is {found.size:.3g} of |W|"
    if found.largest:
        reason += f"; most in {found.largest[0]}, {found.largest[1]:.3g}"
    if found.parent_size:
        reason += f"; the parent's is {found.parent_size:.3g}"
        if found.size <= limits.size_of_parent * found.parent_size:
            verdict = min(verdict, CheckVerdict.WARN, key=_gravity)
    yield Check(
        name="size",
        number=found.size,
        limit=limit,
        verdict=verdict,
        reason=reason,
        details={} if found.parent_size is None else {"parent": found.parent_size},
    )


def _gravity(verdict: CheckVerdict) -> int:
    return list(CheckVerdict).index(verdict)


def _dead(found: WeightMeasures, limits: WeightLimits) -> Iterator[Check]:
    count = len(found.dead)
    share = count / found.modules if found.modules else 0.0
    verdict = CheckVerdict.PASS
    if count:
        kept = share <= limits.dead_share or (found.magnitudes and count < found.modules)
        verdict = CheckVerdict.WARN if kept else CheckVerdict.REFUSE
    yield Check(
        name="dead",
        number=float(count),
        limit=f"{limits.dead_share:.0%} of {found.modules} modules",
        verdict=verdict,
        reason=f"no update in {_few(found.dead)}" if count else "every module has an update",
    )


def _mates(found: WeightMeasures, limits: WeightLimits) -> Iterator[Check]:
    limit = f"< {limits.unlike_times:g} times larger or smaller than its mates"
    if found.unlike is None:
        reason = "too few modules of a kind, and too few in a layer, to compare"
        yield Check(name="mates", limit=limit, verdict=CheckVerdict.SKIPPED, reason=reason)
        return
    name, times, z = found.unlike
    factor = max(times, 1 / times)
    unlike = factor >= limits.unlike_times and abs(z) >= FAR
    said = f"robust z {z:.1f}: " + ("unlike its mates" if unlike else "like its mates")
    yield Check(
        name="mates",
        number=factor,
        limit=limit,
        verdict=CheckVerdict.REFUSE if unlike else CheckVerdict.PASS,
        reason=f"the update of {name} is {times:.3g} times its mates' median, {said}",
        details={"module": name, "robust_z": z if math.isfinite(z) else None},
    )


def _parent(found: WeightMeasures, limits: WeightLimits) -> Iterator[Check]:
    limit = f"<= {limits.drift_refuses:g}; warns above {limits.drift_warns:g}"
    if found.drift is None:
        reason = found.parent or "it has no parent"
        yield Check(name="parent", limit=limit, verdict=CheckVerdict.SKIPPED, reason=reason)
        return
    verdict = graded(found.drift, warns=limits.drift_warns, refuses=limits.drift_refuses)
    reason = f"{found.drift:.3g} of the parent's size away from it"
    if found.strangers:
        reason += f"; {found.strangers} modules are changed by only one of the two"
    elif found.drift < SAME:
        verdict, reason = CheckVerdict.WARN, "the weights are the parent's"
    yield Check(name="parent", number=found.drift, limit=limit, verdict=verdict, reason=reason)


def _few(names: Sequence[str], between: str = ", ") -> str:
    more = len(names) - NAMED
    return between.join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


_JUDGES: Final[tuple[Callable[[WeightMeasures, WeightLimits], Iterator[Check]], ...]] = (
    _files,
    _finite,
    _dtype,
    _scale,
    _rank,
    _size,
    _dead,
    _mates,
    _parent,
)
