"""The same streams through Driftline and through Evidently, Frouros, River and NannyML."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.statistics.alarms import Asked, follow
from benchmarks.statistics.environments import python
from benchmarks.statistics.report import Report
from benchmarks.statistics.streams import (
    CHECK_SECONDS,
    CHECKS_PER_DAY,
    DRIFTS,
    MONDAY,
    Regime,
    Stream,
    source,
)
from detectors.logit_ks import LOGIT_KS
from detectors.types import Process

SEED = 4_004
WEEKS, RUNS = 4, 8
PER_CHECK = 40
REFERENCE_DAYS = 14
REFERENCE_SHOWN = 2_000
"""Newest requests of the reference that the peers are given: most of them cost a test over
all of it at every check."""
REGIMES = (Regime.INDEPENDENT, Regime.DAILY)
DRIFT = next(drift for drift in DRIFTS if drift.name == "mean +.5 sd")
DRIFT_HOURS = 24
PEERS = ("evidently", "frouros", "river", "nannyml")
TIME_LIMIT = 3_600
ROOT = Path(__file__).parents[2]
OURS = {
    "notice, budget 1 in 30 days": Asked(process=Process.NOTICE, budget=1.0),
    "page, budget 1 in 30 days": Asked(process=Process.PAGE, budget=1.0),
}

Floats = npt.NDArray[np.float64]
Found = dict[str, dict[str, Any]]
"""By stream: the checks that alarmed, and how many were run."""


class PeerFailed(Exception):  # noqa: N818 - it says what happened
    """A peer ended badly; the message is the end of what it wrote."""


def run(*, quick: bool, report: Report) -> dict[str, Any]:
    """Put every stream through ours and every peer."""
    arrays, ours = _streams(weeks=1 if quick else WEEKS, runs=2 if quick else RUNS, quick=quick)
    contestants = [_described("driftline", None, name, found) for name, found in ours.items()]
    failures = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "streams.npz"
        np.savez(path, allow_pickle=False, per_check=np.array(PER_CHECK), **arrays)
        for peer in report.each("peers", PEERS):
            try:
                said = ask(peer, path)
            except PeerFailed as error:
                failures[peer] = str(error)
                continue
            contestants += [
                _described(peer, said["version"], name, found)
                for name, found in said["found"].items()
            ]
            report.partial({"contestants": contestants, "failures": failures})
    return {"contestants": contestants, "failures": failures}


def summary(found: Mapping[str, Any]) -> str:
    """One line a contestant, for the terminal."""
    lines = []
    for one in found["contestants"]:
        alarms = ", ".join(
            f"{regime}: {sum(each)} in {one['checks'][regime]} checks"
            for regime, each in one["alarms"].items()
        )
        lines.append(f"{one['peer']}, {one['name']}: {alarms}; delay {delay(one['hours'])} h")
    return "\n".join(lines + [f"{peer} failed: {why}" for peer, why in found["failures"].items()])


def delay(hours: list[float | None]) -> float:
    """Median of stored delays; inf where half of the runs never alarmed."""
    return float(np.median([np.inf if one is None else one for one in hours]))


def _streams(*, weeks: int, runs: int, quick: bool) -> tuple[dict[str, Floats], dict[str, Found]]:
    """Arrays for the peers, and the checks at which ours alarmed on the same requests."""
    arrays: dict[str, Floats] = {}
    ours: dict[str, Found] = {name: {} for name in OURS}
    for regime in REGIMES:
        for number in range(weeks):
            key = f"{regime.value}/{number}"
            _add(key, arrays, ours, regime=regime, number=number, days=1 if quick else 7)
    for number in range(runs):
        _add(f"drift/{number}", arrays, ours, regime=Regime.INDEPENDENT, number=number, days=None)
    return arrays, ours


def _add(
    key: str,
    arrays: dict[str, Floats],
    ours: dict[str, Found],
    *,
    regime: Regime,
    number: int,
    days: int | None,
) -> None:
    """Draw one stream, steady for some days or drifted from its start, and follow it."""
    rng = np.random.default_rng([SEED, REGIMES.index(regime), number, days or 0])
    before = REFERENCE_DAYS * CHECKS_PER_DAY
    first, start = before * PER_CHECK, MONDAY + CHECK_SECONDS * before
    total = first + (days or 0) * CHECKS_PER_DAY * PER_CHECK
    whole = source().steady(regime, requests=total, per_check=PER_CHECK, rng=rng)
    live, offset = whole, first
    if days is None:
        live, offset = _drifted(start, rng), 0
    reference = LOGIT_KS.fit(whole.window(0, first))
    followed = follow(reference, live, first=offset, start=start, asked=tuple(OURS.values()))
    for name, one in OURS.items():
        ours[name][key] = {
            "alarms": followed[one].alarms.tolist(),
            "checks": followed[one].evidence.size,
        }
    arrays[f"reference {key}"] = whole.summary[first - REFERENCE_SHOWN : first]
    arrays[f"live {key}"] = live.summary[offset:]


def _drifted(start: float, rng: np.random.Generator) -> Stream:
    return source().drifted(
        replace(DRIFT, hours=DRIFT_HOURS), per_check=PER_CHECK, start=start, rng=rng
    )


def ask(peer: str, path: Path) -> dict[str, Any]:
    """Put the streams of a file through a peer, in its environment; raises PeerFailed."""
    try:
        done = subprocess.run(
            [str(python(peer)), "-m", "benchmarks.statistics.peers.child", peer, str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().rpartition("\n")[2]
        raise PeerFailed(said or str(error)) from None
    except subprocess.TimeoutExpired:
        raise PeerFailed(f"not done in {TIME_LIMIT} s") from None
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _described(
    peer: str, version: str | None, name: str, found: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    alarms: dict[str, list[int]] = {}
    checks: dict[str, int] = {}
    hours: list[float | None] = []
    for key, seen in found.items():
        stream = key.partition("/")[0]
        if stream == "drift":
            first = seen["alarms"][:1]
            hours.append((first[0] + 1) * CHECK_SECONDS / 3600.0 if first else None)
        else:
            alarms.setdefault(stream, []).append(len(seen["alarms"]))
            checks[stream] = checks.get(stream, 0) + seen["checks"]
    return {
        "peer": peer,
        "version": version,
        "name": name,
        "alarms": alarms,
        "checks": checks,
        "hours": hours,
    }
