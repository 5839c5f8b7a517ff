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
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.signals import SAMPLING, settings_of
from detectors.types import Floats


class Setting(NamedTuple):
    """One setting of a request, ``temperature`` and ``0.7``; without a value it has its default."""

    name: str
    value: str | None

    def __str__(self) -> str:
        if self.name == "stop":
            return f"stop sequences {self.value}" if self.value else "no stop sequences"
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
    said = ", ".join(str(Setting(name, own[name])) for name in sorted(own))
    return said or "default settings"


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
        for needs in set(map(settings_of, signals))
        if needs or but
    }
    return {
        name: values if kept is None or kept.all() else np.where(kept, values, np.nan)
        for name, values in signals.items()
        for kept in [masks.get(settings_of(name))]
    }
