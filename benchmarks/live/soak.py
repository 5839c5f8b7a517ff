"""A day of a fleet in less than an hour: whether anything grows that should not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import psycopg
from scipy import stats

from benchmarks.live.fleet import A_DAY, Fleet, evaluated, living
from benchmarks.startup import resident

SPEED: Final = 30.0
"""Times as fast as a day: records come and looks are due so much more often."""
DAY: Final = timedelta(days=1) / SPEED
EVERY: Final = timedelta(seconds=10)
BLOCKS: Final = 8
"""A trend is a line through the means of so many parts, since neighbours in time are alike."""
CONFIDENCE: Final = 0.95
SETTINGS: Final[Mapping[str, float]] = {
    "DRIFTLINE_SCHEDULE__HARD_INTERVAL": 60.0,
    "DRIFTLINE_SCHEDULE__HARD_LAG": 30.0,
    "DRIFTLINE_SCHEDULE__LIVE_INTERVAL": 900.0,
    "DRIFTLINE_SCHEDULE__LIVE_LAG": 120.0,
    "DRIFTLINE_SCHEDULE__PERPLEXITY_INTERVAL": 21_600.0,
}
"""Seconds at the pace of every day."""
APPENDED: Final = "records scores evaluations increments".split()  # noqa: SIM905
"""Tables that grow with time until their retention: what may not grow is a row of theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A quantity's first and last mean, and its slope a day of the fleet with its interval."""

    name: str
    unit: str
    first: float
    last: float
    slope: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Soaked:
    """What a day did to a service and its database."""

    adapters: int
    minutes: float
    records: int
    lost: int
    looks: int
    late_s: float
    dead_share: float
    """The largest share of dead rows that any table of a thousand rows had at the end."""
    vacuums: int
    trends: Sequence[Trend]


def measure(adapters: int, *, day: timedelta = DAY, say: Callable[[str], None] = print) -> Soaked:
    """Let a fleet live through a day at :data:`SPEED`, and look at it every ten seconds."""
    paced = {name: f"{seconds / SPEED:g}s" for name, seconds in SETTINGS.items()}
    target = str(round(A_DAY * SPEED))
    with living(
        adapters, say=say, speed=SPEED, DRIFTLINE_CAPTURE__TARGET_PER_DAY=target, **paced
    ) as fleet:
        fleet.wait_for_first_probes()
        say(f"{adapters} adapters live for {day.total_seconds() / 60:.0f} minutes")
        fleet.outcomes.clear()
        since, begun = datetime.now(UTC), time.monotonic()
        samples: list[dict[str, float]] = []
        while (spent := time.monotonic() - begun) < day.total_seconds():
            samples.append({"at": spent} | sizes(fleet))
            time.sleep(EVERY.total_seconds())
        came = dict(fleet.outcomes)
        counts, lag = evaluated(fleet.database, since)
        dead, vacuums = _vacuumed(fleet.database)
    return Soaked(
        adapters=adapters,
        minutes=round(spent / 60, 1),
        records=came.get("sent", 0),
        lost=came.get("sent", 0) - came.get("accepted", 0),
        looks=sum(count for kind, count in counts.items() if kind != "perplexity"),
        late_s=round(lag.get("hard", float("nan")) + 30.0 - 30.0 / SPEED, 2),
        dead_share=round(dead, 3),
        vacuums=vacuums,
        trends=trends(samples, day=DAY.total_seconds()),
    )


UNITS: Final = {"memory": "MB", "threads": "", "descriptors": "", "state tables": "MB"}


def sizes(fleet: Fleet) -> dict[str, float]:
    """Return what a service holds now, and the sizes of its tables."""
    process = Path(f"/proc/{fleet.pid}")
    found = {
        "memory": resident(fleet.pid),
        "threads": float(len(list((process / "task").iterdir()))),
        "descriptors": float(len(list((process / "fd").iterdir()))),
    }
    state = 0.0
    for table, size, rows in fleet.database.execute(_SIZES).fetchall():
        if table not in APPENDED:
            state += float(size) / 1e6
        elif rows:
            found[f"a row of {table}"] = float(size) / float(rows)
    return found | {"state tables": state}


_SIZES: Final = """
    SELECT coalesce(pg_partition_root(c.oid)::regclass, c.oid::regclass)::text,
        sum(pg_total_relation_size(c.oid)), sum(s.n_live_tup)
    FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid
    WHERE c.relkind = 'r' GROUP BY 1
"""


def _vacuumed(database: psycopg.Connection) -> tuple[float, int]:
    row = database.execute(
        "SELECT coalesce(max(n_dead_tup::float8 / (n_live_tup + n_dead_tup))"
        " FILTER (WHERE n_live_tup >= 1000), 0), coalesce(sum(autovacuum_count), 0)"
        " FROM pg_stat_user_tables"
    ).fetchone()
    return (float(row[0]), int(row[1])) if row else (0.0, 0)


def trends(samples: Sequence[Mapping[str, float]], *, day: float) -> list[Trend]:
    """Fit a line to each quantity, without the first part of the samples, which fills caches."""
    kept = samples[len(samples) // (BLOCKS + 1) :]
    parts = [part for part in np.array_split(np.arange(len(kept)), BLOCKS) if part.size]
    at = np.array([np.mean([kept[place]["at"] for place in part]) for part in parts]) / day
    found = []
    for name in sorted({name for one in kept for name in one} - {"at"}):
        means = np.array(
            [np.mean([kept[place].get(name, np.nan) for place in part]) for part in parts]
        )
        if np.isnan(means).any():
            continue
        line = stats.linregress(at, means)
        error = line.stderr if np.ptp(means) else 0.0
        half = stats.t.ppf((1 + CONFIDENCE) / 2, len(parts) - 2) * error
        found.append(
            Trend(
                name=name,
                unit=UNITS.get(name, "B"),
                first=float(means[0]),
                last=float(means[-1]),
                slope=float(line.slope),
                low=float(line.slope - half),
                high=float(line.slope + half),
            )
        )
    return found
