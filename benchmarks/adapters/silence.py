"""How often healthy traffic is told of: what was recorded, resampled and replayed many times.

One experiment of each harmless way says little about one false alarm in a hundred. So the
healthy records of a finished run are drawn anew, whole users at a time and with replacement,
and each draw is replayed through the service's own detectors, windows and verdicts against the
same reference (`monitor.replay`), in the windows of the experiments.

What this shows is the noise of questions, users and sampling, twice: that of the draw and
that of the recorded traffic itself, so that it shows rather too many alarms than too few. What
it cannot show is whatever the recorded traffic does not hold, and the probe: no model is asked.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.adapters.clients import RATE
from benchmarks.adapters.service import CONFIG
from benchmarks.adapters.stage import IN_CHARGE, INDEXED, read_lines, write_lines
from benchmarks.adapters.tasks import TASKS, task
from detectors.feedback import Directions
from monitor.config.loading import load
from monitor.config.sections import Config
from monitor.daemon.parts import embedder_of
from monitor.domain import AdapterId, Version, VersionId
from monitor.evaluate.findings import find
from monitor.probes.embedding import Embedder
from monitor.reference.baseline import Baseline
from monitor.replay.reading import LogReading, read_log
from monitor.replay.reference import Frozen, freeze
from monitor.replay.running import Replayed, run
from monitor.replay.training import read_training
from monitor.replay.watch import Unwatched

DRAWN: Final = 220
"""Requests of one draw at most. Never more than were recorded: what came by chance into a small
pool would be drawn again and again, as if it had come from many users."""


def silence(into: Path, *, runs: int, seed: int, commit: str) -> dict[str, Any]:
    """Resample each adapter's healthy traffic; write ``silence.json``."""
    environ = {
        "BENCHMARK_WEBHOOK_URL": "http://127.0.0.1:1/",
        "BENCHMARK_WEBHOOK_SECRET": "whsec_" + "A" * 32,
    }
    config = load(CONFIG, environ=environ)
    found: list[dict[str, Any]] = []
    with closing(embedder_of(config)) as embed:
        for name in TASKS:
            found += _of_adapter(into, name, config, embed, runs=runs // len(TASKS), seed=seed)
    loud = [one for one in found if one["told"]]
    sizes = [min(DRAWN, len(healthy_pool(into, name))) for name in TASKS]
    body = {
        "commit": commit,
        "runs": len(found),
        "by_adapter": Counter(one["adapter"] for one in found),
        "requests": f"{min(sizes)} to {max(sizes)}",
        "silent": len(found) - len(loud),
        "paged": sum("page" in one["told"] for one in found),
        "by": loud,
        "how": (
            "block bootstrap by user of the recorded healthy requests, through replay's"
            " machinery; no engine and no probe takes part"
        ),
    }
    (into / "silence.json").write_text(json.dumps(body, indent=1), encoding="utf-8")
    return body


def healthy_pool(into: Path, name: str) -> list[Mapping[str, Any]]:
    """Every healthy record of an adapter that any experiment has, and those of harmless ways."""
    found = {one["id"]: one for one in read_lines(into / "state" / "healthy" / f"{name}.jsonl")}
    for truth in into.glob("*/*/truth.json"):
        said = json.loads(truth.read_text(encoding="utf-8"))
        if said["adapter"] != name or not truth.with_name("records.jsonl").exists():
            continue
        for one in read_lines(truth.with_name("records.jsonl")):
            if not one.pop("broken") or said["harmless"]:
                found[one["id"]] = one
    return sorted(found.values(), key=lambda one: str(one["at"]))


def drawn(
    subjects: npt.NDArray[np.int64], count: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of whole users, drawn with replacement, and whose each is; in a new order."""
    users = np.unique(subjects)
    rows: list[int] = []
    whose: list[int] = []
    user = 0
    while len(rows) < count:
        own = np.flatnonzero(subjects == rng.choice(users))
        whose += [user] * own.size
        user += 1
        rows += own.tolist()
    order = rng.permutation(len(rows))[:count]
    return np.array(rows)[order], np.array(whose)[order]


def _of_adapter(
    into: Path, name: str, config: Config, embed: Embedder, *, runs: int, seed: int
) -> Iterator[dict[str, Any]]:
    frozen, pool = _measured(into, name, embed)
    rng = np.random.default_rng([seed, TASKS.index(name)])
    for number in range(runs):
        rows, whose = drawn(_codes(pool), min(DRAWN, len(pool)), rng)
        begin = float(pool.at[-1]) + 60.0
        log = replace(pool.take(rows), at=begin + np.arange(rows.size) / RATE, subjects=whose)
        yield {"adapter": name, "run": number, **_told(name, frozen, log, config)}


def _codes(pool: Baseline) -> npt.NDArray[np.int64]:
    return np.arange(len(pool)) if pool.subjects is None else pool.subjects


def _measured(into: Path, name: str, embed: Embedder) -> tuple[Frozen, Baseline]:
    """The reference, and the healthy records measured as the service does, each once."""
    key, work = b"benchmark" * 4, into / "state" / "silence"
    training, pool = work / f"{name}-training.jsonl", work / f"{name}-pool.jsonl"
    write_lines(
        training,
        [{"role": "training", "text": one.prompt} for one in task(name).training[:INDEXED]],
    )
    write_lines(pool, healthy_pool(into, name))
    watch, reading = Unwatched(), LogReading(answers=True)
    index = read_training(training, embed, key=key, watch=watch)
    known = read_log(into / "baseline" / f"{name}.jsonl", reading, embed=embed, watch=watch)
    live = read_log(pool, reading, embed=embed, watch=watch)
    [records], [healthy] = known.records.values(), live.records.values()
    version = _version(name, at=records)
    frozen = freeze(
        records,
        index,
        embed=embed,
        approve=True,
        in_training=False,
        now=version.registered_at,
        version_id=version.id,
        directions=Directions(),
    )
    return frozen, healthy


def _told(name: str, frozen: Frozen, log: Baseline, config: Config) -> dict[str, Any]:
    """Messages that would have gone out, and what crossed its line."""
    replayed = Replayed(
        version=_version(name, at=log),
        frozen=frozen,
        log=frozen.log_of(log),
        settings=config.evaluation,
        cadences=dict(config.schedule.cadences),
        fleet=len(TASKS),
    )
    found = run(replayed, find, watch=Unwatched(), stage=name)
    return {
        "told": sorted({one.severity.value for one in found.tells}),
        "crossed": sorted({one.crossing.detector for one in found.crossed}),
    }


def _version(name: str, *, at: Baseline) -> Version:
    return Version(
        id=VersionId(0),
        adapter_id=AdapterId(0),
        adapter=name,
        name=IN_CHARGE,
        model=f"{name}@{IN_CHARGE}",
        registered_at=datetime.fromtimestamp(float(at.at[0]), tz=UTC),
    )
