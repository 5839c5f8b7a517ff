"""`prompt_prefix`: requests that begin differently than before."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np

from detectors import packing
from detectors.columns import SMALLEST_REFERENCE, columns, measured
from detectors.day_effect import ASSUMED, DayEffect
from detectors.errors import ReferenceTooSmall
from detectors.profile import DetectorSide, EffectScale, Phrases, Profile
from detectors.rate_detector import RateDetector, RateReference, rate_arrays, read_rates
from detectors.scores import Units
from detectors.types import Budget, Effect, Floats, Score, State, Window

KIND: Final = "prefixes"
SIGNAL: Final = "prompt_prefix"
USUAL: Final = 0.01
"""A beginning is usual if this share of the reference's early part has it."""
EARLY: Final = 0.25
"""The size of that early part; the rest must show how days differ."""
MOST_UNUSUAL: Final = 0.5
"""If more of the rest begins unusually, nothing is usual and nothing is compared."""

_PROFILE: Final = Profile(
    side=DetectorSide.REQUESTS,
    words=Phrases.of(
        "requests that begin in an unusual way", "requests begin otherwise than usual"
    ),
    clause="requests begin in an unusual way",
)
_RATE: Final = RateDetector(name="prompt_prefix", signals=(SIGNAL,), pages=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrefixReference(RateReference):
    """Rates of unusual beginnings, and the usual ones: none if no beginning is usual."""

    usual: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPrefix:
    """Compares how often requests begin unusually with the reference's rate.

    A record has a keyed hash of its beginning. Beginnings frequent in the reference's early quarter
    are usual; the rate of unusual ones is counted in the rest of it. So beginnings that change by
    themselves, such as one with the date in it, are part of the rate and cause no alarm: in the
    records that define what is usual, none would be unusual.
    """

    name: str = "prompt_prefix"
    signals: tuple[str, ...] = (SIGNAL,)
    hard: bool = False
    pages: bool = False
    profile: Profile = _PROFILE

    @property
    def scale(self) -> EffectScale:
        """Effects are differences of rates."""
        return EffectScale.RATE

    def fit(self, baseline: Window, *, days: DayEffect = ASSUMED) -> PrefixReference:
        """Freeze a baseline; raises SignalAbsent or ReferenceTooSmall."""
        measured(baseline, self.signals)
        known = ~np.isnan(_prefixes(baseline))
        split = float(np.quantile(baseline.at[known], EARLY))
        early, later = known & (baseline.at < split), known & (baseline.at >= split)
        if later.sum() < SMALLEST_REFERENCE:
            needed = round(SMALLEST_REFERENCE / (1.0 - EARLY))
            raise ReferenceTooSmall(signal=SIGNAL, needed=needed, got=int(known.sum()))
        usual = _usual(_prefixes(baseline)[early])
        if _unusual(baseline, usual)[later].mean() > MOST_UNUSUAL:
            usual = np.empty(0)
        rates = _RATE.fit(_rows(_told(baseline, usual), later), days=days)
        own = {field.name: getattr(rates, field.name) for field in fields(rates)}
        return PrefixReference(**own, usual=usual)

    def score(
        self, reference: PrefixReference, window: Window, state: State, budget: Budget
    ) -> tuple[Score, State]:
        """Absorb a window of new records and score it."""
        score, after = _RATE.score(reference, _told(window, reference.usual), state, budget)
        details = {**score.details, "usual_prefixes": int(reference.usual.size)}
        return replace(score, details=details), after

    def effect_since(self, reference: PrefixReference, window: Window) -> Effect:
        """Compare all of a window's records, whether the process has seen them or not."""
        return _RATE.effect_since(reference, _told(window, reference.usual))

    def units(self, reference: PrefixReference, window: Window) -> Units:
        """Return the units ``(n, 1)`` that a window's records are counted as."""
        return _RATE.units(reference, _told(window, reference.usual))

    def names(self, reference: PrefixReference) -> tuple[str, ...]:
        """Names of the scores: one."""
        return reference.null.names

    def dump(self, reference: PrefixReference) -> bytes:
        """Serialise without pickle."""
        return packing.pack(KIND, {**rate_arrays(reference), "usual": reference.usual})

    def load(self, body: bytes) -> PrefixReference:
        """Read the bytes of :meth:`dump`; raises ReferenceUnreadable."""
        return packing.read(KIND, body, _build)


PROMPT_PREFIX = PromptPrefix()
"""A system prompt that a client adds, drops or changes; another template; boilerplate put before
the question. It says nothing of the model: it opens tickets, never pages and never moves traffic.

Shown: the rise of the share of unusual beginnings, 0 where it fell.
"""


def _build(arrays: packing.Arrays) -> PrefixReference:
    rates = read_rates(arrays)
    own: dict[str, Any] = {field.name: getattr(rates, field.name) for field in fields(rates)}
    return PrefixReference(**own, usual=arrays["usual"])


def _prefixes(window: Window) -> Floats:
    found: Floats = columns(window, (SIGNAL,))[:, 0]
    return found


def _usual(prefixes: Floats) -> Floats:
    codes, counts = np.unique(prefixes, return_counts=True)
    return np.asarray(codes[counts >= USUAL * prefixes.size], dtype=np.float64)


def _unusual(window: Window, usual: Floats) -> Floats:
    """Mark unusual beginnings as 1, unknown as NaN; all 0 if nothing is usual."""
    prefixes = _prefixes(window)
    other = ~np.isin(prefixes, usual) if usual.size else np.zeros(len(window), dtype=np.bool_)
    return np.where(np.isnan(prefixes), np.nan, other.astype(np.float64))


def _told(window: Window, usual: Floats) -> Window:
    return replace(window, signals={SIGNAL: _unusual(window, usual)})


def _rows(window: Window, rows: Any) -> Window:
    return replace(
        window,
        at=window.at[rows],
        signals={name: values[rows] for name, values in window.signals.items()},
        subjects=None if window.subjects is None else window.subjects[rows],
        entered=None if window.entered is None else window.entered[rows],
    )
