"""What all experiments share: the engine, the baselines, and the state that each begins with."""

from __future__ import annotations

import itertools
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx2

from benchmarks.adapters.clients import HEALTHY_RATE, MAX_TOKENS, TEMPERATURE, Clients, Run
from benchmarks.adapters.divergence import Divergences
from benchmarks.adapters.engine import BASE_NAME, Engine
from benchmarks.adapters.engines import Engines
from benchmarks.adapters.service import Service, keep, probe_cycle
from benchmarks.adapters.shelf import CachedShelf
from benchmarks.adapters.switch import Switch
from benchmarks.adapters.tasks import Pair, task
from benchmarks.adapters.ways.way import Setup
from driftline.client import call_record
from driftline.formats.answers import request_fields
from examples.vllm_records import TOP_LOGPROBS

BASELINE_RECORDS: Final = 420
"""Detectors of the prompts' beginnings need 400."""
BASELINE_DAYS: Final = 15.0
"""Over which they are stamped; in truth they are answered within minutes."""
INDEXED: Final = 400
"""Texts of each task's training that live questions are compared with."""
HEALTHY: Final = 100
"""Live requests of each adapter before every experiment, at most, made once for all."""
COMPANY: Final = 40
"""Of an adapter that is only served beside the others."""
VERSIONS: Final = ("v1", "v2")
Line = dict[str, Any]
IN_CHARGE: Final = "v2"
BUILT_S: Final = 900.0
PROBED_S: Final = 600.0
LOOK_S: Final = 0.5
BATCH: Final = 24
"""Requests at a time where nobody waits: the engine answers them in one batch."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """Everything that runs for the whole benchmark."""

    into: Path
    cache: Path
    setup: Setup
    engine: Engine
    engines: Engines
    """Others beside it."""
    switch: Switch
    divergences: Divergences
    seed: int
    requests: int
    """Of clients after the fault, at least."""
    played: Sequence[str]
    """Adapters that are broken in turn."""
    registered: Sequence[str]
    """All that Driftline watches; clients ask each."""
    settings: Mapping[str, str]
    """Of Driftline, in its environment, beside those of the benchmark's config."""
    gpu: bool
    say: Callable[[str], None]

    def shelf(self, adapter: str) -> CachedShelf:
        """Folders of one adapter."""
        return CachedShelf(cache=self.cache, base=self.setup.model, adapter=adapter)

    @property
    def probe_cycle_s(self) -> float:
        """From one probe of a version to its next."""
        return probe_cycle(self.settings).total_seconds()

    @property
    def snapshot(self) -> Path:
        """The state that every experiment begins with."""
        return self.into / "state" / "snapshot"

    @contextmanager
    def service(self, *, fresh: bool = False) -> Iterator[Service]:
        """Driftline in that state, or with nothing at all."""
        folder = self.into / "state" / "service"
        shutil.rmtree(folder, ignore_errors=True)
        if not fresh:
            shutil.copytree(self.snapshot, folder / "data", symlinks=True)
        with Service(folder=folder, engines=[self.switch.url], settings=self.settings) as service:
            yield service


def served(cache: Path, base: Path, names: Iterable[str]) -> Mapping[str, Path]:
    """Every version of some adapters under its own name."""
    return {
        model_of(name, version): CachedShelf(cache=cache, base=base, adapter=name).version(version)
        for name in names
        for version in VERSIONS
    }


def model_of(adapter: str, version: str) -> str:
    """The name that an engine serves a version under."""
    return f"{adapter}@{version}"


def prepare(stage: Stage) -> None:
    """Make the baselines and the state with references, probes and healthy traffic, once."""
    begin = datetime.now(UTC) - timedelta(minutes=1) - timedelta(days=BASELINE_DAYS)
    for name in stage.registered:
        path = stage.into / "baseline" / f"{name}.jsonl"
        if not path.exists():
            write_lines(path, _stamped(answers(stage, name), begin))
    if stage.snapshot.exists():
        return
    stage.say("Driftline learns the references, and healthy traffic comes")
    with stage.service(fresh=True) as service:
        _register(service, stage)
        _see_healthy(service, stage)
    keep(service.folder / "data", stage.snapshot)


def answers(stage: Stage, name: str) -> list[Line]:
    """Return what the version in charge answers to held-out questions.

    Each answer is kept beside the weights as it comes: a run that was stopped goes on where it was,
    and the next run of the same weights does not ask again.
    """
    model = stage.shelf(name).version(IN_CHARGE).resolve()
    kept = stage.cache / "baseline" / f"{model.name}-{stage.setup.dtype}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    known = {one["id"] for one in read_lines(kept)} if kept.exists() else set()
    asked = itertools.islice(itertools.cycle(task(name).baseline), BASELINE_RECORDS)
    missing = [(n, pair) for n, pair in enumerate(asked) if _baseline_id(name, n) not in known]
    if missing:
        stage.say(f"{name}: {len(missing)} answers for its baseline")
    with kept.open("a", encoding="utf-8") as written, ThreadPoolExecutor(BATCH) as pool:
        try:
            for found in pool.map(lambda one: _answered(stage, name, *one), missing):
                written.write(json.dumps(found) + "\n")
                written.flush()
        finally:
            pool.shutdown(cancel_futures=True)
    return sorted(read_lines(kept), key=lambda one: str(one["id"]))


def _answered(stage: Stage, name: str, number: int, pair: Pair) -> Line:
    model = model_of(name, IN_CHARGE)
    found = ask_engine(stage.engine, model, [{"role": "user", "content": pair.prompt}])
    found.pop("latency_ms", None)  # answered in a batch, which takes longer than users wait
    return found | {
        "id": _baseline_id(name, number),
        "adapter": name,
        "version": IN_CHARGE,
        "source": "gateway",
        "subject": f"user-{number % len(task(name).baseline)}",
    }


def _stamped(lines: Sequence[Line], begin: datetime) -> list[Line]:
    """Spread answers over the last fortnight, in their order."""
    step = timedelta(days=BASELINE_DAYS) / len(lines)
    return [{**one, "at": (begin + number * step).isoformat()} for number, one in enumerate(lines)]


def _baseline_id(name: str, number: int) -> str:
    return f"{name}-baseline-{number:04}"


def ask_engine(
    engine: Engine,
    model: str,
    messages: Sequence[Mapping[str, str]],
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Ask past the gateway, with log-probabilities; give the record of it."""
    usual = {"temperature": TEMPERATURE, "max_tokens": MAX_TOKENS}
    request = {"model": model, "messages": list(messages), **(body or usual)}
    request |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
    at, began = datetime.now(UTC), time.perf_counter()
    try:
        answer = engine.ask(request)
    except httpx2.HTTPStatusError as refused:  # of NaN an engine can write no answer
        said = {"id": uuid.uuid4().hex, "at": at.isoformat(), **request_fields(request)}
        return said | {"status": refused.response.status_code}
    return call_record(request, answer, at=at, latency_ms=1e3 * (time.perf_counter() - began))


def _register(service: Service, stage: Stage) -> None:
    for name, version in itertools.product(stage.registered, VERSIONS):
        parent = {"parent": "v1"} if version == IN_CHARGE else {}
        service.register(
            name, version, model=model_of(name, version), base_model=BASE_NAME, **parent
        )
    for name in stage.registered:
        service.route(name, IN_CHARGE)
        learned = task(name).training[:INDEXED]
        lines = [{"role": "training", "text": pair.prompt} for pair in learned]
        known = read_lines(stage.into / "baseline" / f"{name}.jsonl")
        lines += [{"role": "baseline"} | _without(one, "adapter", "version") for one in known]
        service.send(
            "POST",
            f"/adapters/{name}/versions/{IN_CHARGE}/reference",
            content="".join(json.dumps(line) + "\n" for line in lines).encode(),
            headers={"content-type": "application/x-ndjson"},
        )
    for name in stage.registered:
        _approve(service, name)


def _approve(service: Service, name: str) -> None:
    path = f"/adapters/{name}/versions/{IN_CHARGE}/reference"

    def built() -> bool:
        found = service.get(path)["items"][0]
        if found["state"] == "failed":
            raise RuntimeError(f"the reference of {name} failed: {found['error']}")
        return bool(found["state"] == "ready")

    until(built, f"the reference of {name}", seconds=BUILT_S)
    found = service.get(path)["items"][0]
    if found["provisional"]:
        service.send("POST", f"{path}/approve", json={"generation": found["generation"]})


def _see_healthy(service: Service, stage: Stage) -> None:
    with Clients(service.gateway, seed=stage.seed) as clients:
        runs = [
            Run(
                adapter=name,
                part="healthy",
                requests=min(HEALTHY, stage.requests) if name in stage.played else COMPANY,
                rate=HEALTHY_RATE,
                at_once=6,
            )
            for name in stage.registered
        ]
        for ended in [clients.start(run) for run in runs]:
            ended.result()
        for name in stage.registered:
            until(partial(probed, service, name), f"a probe of {name}", seconds=PROBED_S)
    for name in stage.registered:
        records = [one for one in service.recorder.records if one["adapter"] == name]
        write_lines(stage.into / "state" / "healthy" / f"{name}.jsonl", records)
    told = [message.body["reason"] for message in service.receiver.messages]
    (stage.into / "state" / "told.json").write_text(json.dumps(told, indent=1))


def probed(service: Service, name: str) -> bool:
    """Whether the version in charge is stable, its probe too."""
    found = service.get(f"/adapters/{name}")
    scores = {one["detector"]: one["verdict"] for one in found["scores"]}
    return scores.get("perplexity") == "stable" and "logit_ks" in scores


def until(condition: Callable[[], object], what: str, *, seconds: float) -> None:
    """Wait until something holds.

    Raises
    ------
    TimeoutError
        It did not, for so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(LOOK_S)


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write JSON lines, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".new")
    part.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    part.rename(path)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _without(line: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: said for name, said in line.items() if name not in names}
