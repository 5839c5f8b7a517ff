"""Decide which settings two requests must share before a signal is compared. Pure.

A stratum is the text of a request's settings, ``temperature=0.7 max_tokens<=256``. Each signal
depends on only some of them: users' questions do not depend on the temperature, but an answer's
confidence does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.answer_format import FORMAT_SIGNALS
from detectors.input_similarity import SIMILARITY
from detectors.output_similarity import ANSWERS, DISTANCE
from detectors.types import Floats

SAMPLING: Final = frozenset({"temperature", "top_p", "max_tokens", "logprobs"})
"""All settings that a stratum names."""

NEEDS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        **dict.fromkeys(("mean_nll", "p95_nll", "near_certain", "entropy", "margin"), SAMPLING),
        "log_length": SAMPLING,
        **dict.fromkeys(ANSWERS, SAMPLING - {"logprobs"}),
        **dict.fromkeys(
            ("truncated", "missing", "invalid", *FORMAT_SIGNALS), frozenset({"max_tokens"})
        ),
    }
)
"""By signal, the settings that must be alike. A signal that is not named here needs none:
whether a request fails, an answer is empty, loops or refuses, how long it took for its size, and
what was asked. Where an answer is cut off decides whether it is truncated, too short to be
measured (``missing``), broken JSON (``invalid``), or ends before its list begins (``format_…``).
"""

TELLING: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "logit_ks": ("mean_nll",),
        "input_similarity": (SIMILARITY,),
        "output_similarity": (DISTANCE,),
    }
)
"""By detector, what a request must have to be compared by it, where other signals stand beside:
the length of an answer says nothing of its log-probabilities."""


def telling(detector: str, signals: Iterable[str]) -> tuple[str, ...]:
    """Return those of a reference's signals of which a request must have one to be compared."""
    present = tuple(signals)
    return tuple(s for s in TELLING.get(detector, ()) if s in present) or present


def needed(signals: Iterable[str]) -> frozenset[str]:
    """Return the settings that must match for all of some signals."""
    return frozenset[str]().union(*(NEEDS.get(signal, frozenset()) for signal in signals))


class Setting(NamedTuple):
    """One setting of a request, ``temperature`` and ``0.7``; without a value it has its default."""

    name: str
    value: str | None

    def __str__(self) -> str:
        return f"{self.name} {self.value}" if self.value is not None else f"the default {self.name}"


@lru_cache(maxsize=4_096)
def settings(stratum: str) -> Mapping[str, str]:
    """Parse a stratum; parts that are not sampling settings, as in older ones, are left out.

    >>> dict(settings("source=push temperature=0.7 max_tokens<=256"))
    {'temperature': '0.7', 'max_tokens': '256'}
    """
    found = {}
    for part in stratum.split(" "):
        name, _, value = part.partition("=")
        if name.rstrip("<") in SAMPLING:
            found[name.rstrip("<")] = value
    return MappingProxyType(found)


def words(stratum: str) -> str:
    """Describe the settings of a stratum.

    >>> words("temperature=0.7 max_tokens<=256"), words("")
    ('max_tokens 256, temperature 0.7', 'default settings')
    """
    own = settings(stratum)
    return ", ".join(f"{name} {own[name]}" for name in sorted(own)) or "default settings"


def alike(stratum: str, known: Iterable[str], needs: Collection[str]) -> bool:
    """True if a stratum shares the needed settings with one of the known strata.

    >>> alike("temperature=0.7", ["temperature=0.2"], {"max_tokens"})
    True
    >>> alike("temperature=0.7", ["temperature=0.2"], {"temperature"})
    False
    """
    return not needs or any(not _differing(stratum, each, needs) for each in known)


def unlike(stratum: str, known: Sequence[str], needs: Collection[str]) -> tuple[Setting, ...]:
    """Return the settings in which a stratum differs from the nearest known one.

    >>> unlike("temperature=0.7 top_p=1", ["temperature=0.2 top_p=1", ""], SAMPLING)
    (Setting(name='temperature', value='0.7'),)
    """
    differing = min((_differing(stratum, each, needs) for each in known), key=len, default=[])
    own = settings(stratum)
    return tuple(Setting(name, own.get(name)) for name in differing)


def _differing(one: str, other: str, needs: Collection[str]) -> list[str]:
    a, b = settings(one), settings(other)
    return [name for name in sorted(needs) if a.get(name) != b.get(name)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strata:
    """The stratum of each of n records: ``names[codes[i]]``."""

    names: tuple[str, ...]
    codes: npt.NDArray[np.int64]

    @classmethod
    def of(cls, strata: Sequence[str]) -> Strata:
        """Build from one stratum per record."""
        place = {name: i for i, name in enumerate(dict.fromkeys(strata))}
        codes = np.array([place[one] for one in strata], dtype=np.int64)
        return cls(names=tuple(place), codes=codes)

    def __getitem__(self, rows: slice | npt.NDArray[np.bool_]) -> Strata:
        return Strata(names=self.names, codes=self.codes[rows])

    def alike(self, known: Sequence[str], needs: frozenset[str]) -> npt.NDArray[np.bool_]:
        """Return per record ``(n,)`` whether it shares the needed settings with a known one."""
        like = np.array([alike(name, known, needs) for name in self.names], dtype=np.bool_)
        return like[self.codes] if self.names else np.zeros(0, dtype=np.bool_)


def comparable(
    signals: Mapping[str, Floats],
    strata: Strata,
    known: Sequence[str],
    *,
    but: Sequence[str] = (),
) -> dict[str, Floats]:
    """Keep of each signal ``(n,)`` the values comparable with the known strata; NaN elsewhere.

    Values comparable with the strata ``but`` are left to them.
    """
    masks = {
        needs: strata.alike(known, needs) & ~(strata.alike(but, needs) if but else np.False_)
        for needs in {*NEEDS.values(), *([frozenset[str]()] if but else [])}
    }
    return {
        name: values if kept is None or kept.all() else np.where(kept, values, np.nan)
        for name, values in signals.items()
        for kept in [masks.get(NEEDS.get(name, frozenset()))]
    }
