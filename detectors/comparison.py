"""Compare one signal of a window with its reference, in numbers for people."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy

from detectors.null import Null
from detectors.ranks import Placed, cliffs_delta, ks_distance, ks_p_value
from detectors.scores import DriftSide, as_units, location_column
from detectors.types import Effect, Floats

_QUANTILES = (0.05, 0.5, 0.95)
_Z975 = 1.959963984540054


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """The comparison of one signal of the window with its reference.

    What only people read is computed when it is asked for.

    ordered
        The reference ``(m,)``, sorted.
    seen, ranks
        The window's measured values ``(n,)`` and their mid-ranks in the reference.
    effect
        Cliff's delta, positive when the signal is *larger* than in the reference.
    """

    signal: str
    side: DriftSide
    ordered: Floats
    seen: Floats
    ranks: Floats
    null: Null
    effect: Effect

    @property
    def n(self) -> int:
        return self.seen.size

    @cached_property
    def distance(self) -> float:
        """The exact KS distance in [0, 1] (unit: records)."""
        return ks_distance(self.ordered, self.seen)

    @property
    def p_value(self) -> float:
        """The asymptotic p-value of the distance."""
        return ks_p_value(self.distance, m=self.ordered.size, n=self.n)

    @cached_property
    def tails(self) -> dict[str, tuple[float, float]]:
        """Per tail, its share of the window and of the reference."""
        return _tails(self.signal, self.ranks, self.null)

    def below(self, share: float) -> int:
        """Count the records under a share's point of the reference."""
        return int((self.ranks < share).sum())

    @property
    def quantiles(self) -> tuple[tuple[float, float], ...]:
        """The 5, 50 and 95 % points: window, reference."""
        return _quantiles(self.ordered, self.seen)

    @property
    def worse(self) -> Effect:
        """The effect, oriented so that positive is worse; for two-sided signals, its size."""
        fell = self.side in {DriftSide.BOTH, DriftSide.EITHER} and self.effect.value < 0.0
        if not (fell or self.side is DriftSide.DOWN):
            return self.effect
        return Effect(
            value=-self.effect.value, lo=-self.effect.hi, hi=-self.effect.lo, n=self.effect.n
        )

    @property
    def tail_ratio(self) -> float:
        """Return the largest ratio of a tail's share to the reference's; 1 if nothing moved."""
        return max((now / then for now, then in self.tails.values() if then > 0), default=1.0)


def compare_signal(
    signal: str,
    side: DriftSide,
    *,
    ordered: Floats,
    values: Floats,
    u: Floats,
    groups: npt.NDArray[np.int64] | None,
    null: Null,
) -> Comparison:
    """Compare measured values ``(n,)`` with mid-ranks ``u`` against a sorted reference."""
    known = ~np.isnan(values)
    seen, ranks = values[known], u[known]
    units = as_units(
        np.zeros(seen.size), (2 * ranks - 1)[:, None], None if groups is None else groups[known]
    )
    location = location_column(null.names, signal)
    placed = Placed(units=units.scores[:, 0], ordered=ordered, values=seen)
    return Comparison(
        signal=signal,
        side=side,
        ordered=ordered,
        seen=seen,
        ranks=ranks,
        null=null,
        effect=cliffs_delta(placed, deff=float(null.deff[location])),
    )


def surely_worse(each: Comparison, *, of: int) -> bool:
    """True if a signal surely moved, corrected for choosing the most extreme out of ``of``."""
    half = (each.worse.value - each.worse.lo) * float(scipy.special.ndtri(1.0 - 0.025 / of)) / _Z975
    return each.worse.value > half


def described(each: Comparison) -> dict[str, object]:
    """Return a comparison as JSON-ready values, for ``Score.details``."""
    return {
        "n": each.n,
        "ks_distance": each.distance,
        "ks_p_value": each.p_value,
        "cliffs_delta": each.effect.value if each.n else None,
        "tails": {name: {"window": w, "reference": r} for name, (w, r) in each.tails.items()},
        "quantiles": {
            f"p{round(100 * q)}": {"window": w, "reference": r}
            for q, (w, r) in zip(_QUANTILES, each.quantiles, strict=False)
        },
    }


def brief(each: Comparison) -> dict[str, object]:
    """Return one signal of many as JSON-ready values."""
    return {"n": each.n, "cliffs_delta": round(each.effect.value, 4) if each.n else None}


def _tails(signal: str, u: Floats, null: Null) -> dict[str, tuple[float, float]]:
    hits = {"top5%": u > 0.95, "bottom5%": u < 0.05, "top1%": u > 0.99, "bottom1%": u < 0.01}  # noqa: PLR2004 - the numbers are what it says
    rates = dict(zip(null.names, null.mean.tolist(), strict=True))
    if not u.size:
        return {}
    return {
        tail: (float(hit.mean()), rates[f"{signal}:{tail}"])
        for tail, hit in hits.items()
        if f"{signal}:{tail}" in rates
    }


def _quantiles(ordered: Floats, seen: Floats) -> tuple[tuple[float, float], ...]:
    if not seen.size:
        return ()
    window = np.quantile(seen, _QUANTILES, method="inverted_cdf").tolist()
    at = np.minimum(np.array(_QUANTILES) * ordered.size, ordered.size - 1).astype(np.int64)
    return tuple(zip(window, ordered[at].tolist(), strict=True))
