"""The rounds of routine probes that an engine's share allows. Pure.

A round is one probe of each version. Where a round takes longer than the share of an
interval allows, no version is favoured: all are probed at the same, longer interval.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from monitor.domain import VersionId

PLANNED: Final = 0.75
"""Part of the share that is planned; registrations, repeats and suspicions need the rest."""
LONGEST: Final = timedelta(days=7)
"""A version is probed at least this often, whatever the plan; its engine then refuses some
probes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeCost:
    """The engine time of one version's newest probe."""

    version_id: VersionId
    engine: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One probe of each version of an engine.

    seconds
        Engine time of the whole round.
    wanted, period
        The wanted interval between a version's probes, and the possible one.
    """

    engine: str
    versions: frozenset[VersionId]
    seconds: float
    share: float
    wanted: timedelta
    period: timedelta

    @property
    def stretched(self) -> bool:
        """Whether versions are probed less often than wanted."""
        return self.period > self.wanted

    def __str__(self) -> str:
        count = len(self.versions)
        each = "the one version" if count == 1 else f"each of {count} versions"
        said = f"perplexity of {each} on {self.engine} every {span(self.period)}"
        if not self.stretched:
            return said
        return (
            f"{said}, in place of {span(self.wanted)}: a round takes {span(self.round)} of the"
            f" engine's time, and probes may have {self.share:.0%} of it"
        )

    @property
    def round(self) -> timedelta:
        """The engine time of one probe of each version."""
        return timedelta(seconds=self.seconds)


def plan_rounds(
    measured: Iterable[ProbeCost], *, share: float, wanted: timedelta
) -> tuple[Round, ...]:
    """Plan a round for each engine, the most stretched first."""
    by_engine: dict[str, list[ProbeCost]] = {}
    for one in measured:
        by_engine.setdefault(one.engine, []).append(one)
    rounds = (
        _round(engine, found, share=share, wanted=wanted) for engine, found in by_engine.items()
    )
    return tuple(sorted(rounds, key=lambda one: (-one.period, one.engine)))


def versions_within(share: float, *, seconds: float, wanted: timedelta) -> int:
    """Return how many versions an engine's share is enough for, at ``seconds`` a probe.

    >>> versions_within(0.1, seconds=6.0, wanted=timedelta(hours=6))
    270
    """
    return int(PLANNED * share * wanted.total_seconds() / seconds)


def period_of(version: VersionId, rounds: Iterable[Round], *, wanted: timedelta) -> timedelta:
    """Return the interval of a version's probes; the wanted one if it was not measured yet."""
    return next((one.period for one in rounds if version in one.versions), wanted)


def _round(engine: str, found: list[ProbeCost], *, share: float, wanted: timedelta) -> Round:
    seconds = sum(one.seconds for one in found)
    needed = timedelta(seconds=min(LONGEST.total_seconds(), seconds / (PLANNED * share)))
    return Round(
        engine=engine,
        versions=frozenset(one.version_id for one in found),
        seconds=seconds,
        share=share,
        wanted=wanted,
        period=max(wanted, needed),
    )


def span(length: timedelta) -> str:
    """Write a time in its handiest unit, with two digits.

    >>> [span(timedelta(hours=hours)) for hours in (0.005, 0.5, 6, 9.04, 60)]
    ['18 s', '30 min', '6 h', '9 h', '2.5 d']
    """
    seconds = length.total_seconds()
    units = (("s", 1.0, 120.0), ("min", 60.0, 7200.0), ("h", 3600.0, 172_800.0))
    unit, size = next(((u, s) for u, s, until in units if seconds < until), ("d", 86_400.0))
    return f"{float(f'{seconds / size:.2g}'):g} {unit}"
