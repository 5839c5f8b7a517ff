"""``python -m benchmarks adapters``: play the ways and keep what came of them."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from types import FrameType
from typing import Any, Final

import httpx2
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.adapters import PACKAGED
from benchmarks.adapters.base import OFFLINE, base_folder
from benchmarks.adapters.divergence import Answering, Divergences
from benchmarks.adapters.engine import Engine, NoEngineError, start_engine, wait_for
from benchmarks.adapters.engines import Engines
from benchmarks.adapters.experiment import other_setup, play
from benchmarks.adapters.service import PROBE_CYCLE
from benchmarks.adapters.silence import silence
from benchmarks.adapters.stage import IN_CHARGE, Stage, model_of, prepare, served
from benchmarks.adapters.switch import Switch
from benchmarks.adapters.tasks import TASKS
from benchmarks.adapters.ways import QUICK, WAYS, chosen
from benchmarks.adapters.ways.way import Setup, Way
from examples.demo.processes import ProcessFailedError, free_port

ROOT: Final = Path(__file__).parents[2]
USUAL: Final = ROOT / "build" / "adapters"
NOBODY_TO_PLAY: Final = 2
SOONER: Final = {PROBE_CYCLE: "25s"}
"""A shorter probe cycle, for engines that serve fewer adapters."""


def main(arguments: Sequence[str]) -> int:
    """Play, and give 0: what an engine could not play stands in ``run.json`` and on the page."""
    given = _parser().parse_args(arguments)
    console = Console(stderr=True)
    try:
        ways = chosen(given.ways or (QUICK if given.quick else ()))
    except ValueError as error:
        console.print(str(error), style="red", markup=False)
        return NOBODY_TO_PLAY
    os.environ.update(OFFLINE)
    signal.signal(signal.SIGTERM, _interrupt)  # so that engine and service are ended too
    try:
        _play_all(given, ways, console)
    except NoEngineError as error:
        console.print(str(error), style="red", markup=False)
        return NOBODY_TO_PLAY
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks adapters", description=__doc__)
    parser.add_argument("--into", type=Path, default=USUAL, metavar="FOLDER")
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="base and trained adapters (in --into)"
    )
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="another base")
    parser.add_argument("--gpu", action="store_true", help="the engine runs on a GPU")
    parser.add_argument(
        "--dtype",
        choices=("bfloat16", "float32"),
        help="of the engine, as in a run that is added to (bfloat16 where the CPU multiplies it)",
    )
    parser.add_argument(
        "--ways", type=lambda text: text.split(","), default=[], metavar="NAMES,FAMILIES"
    )
    parser.add_argument(
        "--adapters",
        type=lambda text: tuple(text.split(",")),
        default=TASKS,
        metavar="NAMES",
        help="that take turns in being broken; all are served",
    )
    parser.add_argument(
        "--quick", action="store_true", help="six ways, with no other adapters, in minutes"
    )
    parser.add_argument("--repeats", type=int, default=1, metavar="N")
    parser.add_argument("--requests", type=int, default=100, metavar="N")
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--silence", type=int, default=0, metavar="N")
    return parser


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """How long each part took, in seconds."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time one part."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - began, 1)


def _play_all(given: argparse.Namespace, ways: Sequence[Way], console: Console) -> None:
    into = given.into.resolve()
    (into / "state").mkdir(parents=True, exist_ok=True)
    timed, failed = Timed(), dict[str, str]()
    with ExitStack() as opened:
        stage = _open(opened, given, into, timed, lambda text: console.print(text, markup=False))
        _refuse_another(stage)
        with timed.phase("prepare"):
            prepare(stage)
        with timed.phase("tasks"):
            apart = {name: _from_base(stage, name) for name in stage.registered}
        _note(stage, timed, apart=apart)
        with timed.phase("ways"), _progress(console) as progress:
            bar = progress.add_task("ways", total=len(ways) * given.repeats)
            left = [(way, n) for n in range(given.repeats) for way in ways]
            left.sort(key=lambda one: one[0].poisons)
            for (way, repeat), upcoming in zip_longest(left, left[1:]):
                progress.update(bar, description=way.name)
                _begin_next(stage, upcoming)
                if why := _play_once(stage, way, repeat, progress.console):
                    failed[f"{way.name}/{repeat}"] = why
                progress.advance(bar)
    if given.silence:
        with timed.phase("silence"):
            silence(into, runs=given.silence, seed=given.seed, commit=_commit())
    _note(stage, timed, failed=failed)
    console.print(_summary(into, ways))
    for name, why in failed.items():
        console.print(f"not played: {name}: {why}", style="red", markup=False)


def _from_base(stage: Stage, name: str) -> float:
    """How far an adapter is from its base: KL in nats per token of right answers."""
    shelf = stage.shelf(name)
    approved = Answering(setup=stage.setup, adapter=shelf.version(IN_CHARGE))
    base = Answering(setup=stage.setup, adapter=shelf.nothing())
    return stage.divergences.of(f"base/{name}", name=name, approved=approved, other=base)


def _options(stage: Stage) -> dict[str, Any]:
    """What makes a run that run: of another base, seed or cycle nothing may be taken up."""
    return {
        "model": _model_name(stage),
        "seed": stage.seed,
        "requests": stage.requests,
        "adapters": list(stage.played),
        "registered": list(stage.registered),
        "probe_cycle_s": stage.probe_cycle_s,
    }


def _model_name(stage: Stage) -> str:
    own = stage.setup.model.parent != stage.cache
    return f"{stage.setup.model.name} (own folder)" if own else PACKAGED


def _refuse_another(stage: Stage) -> None:
    """Raise :class:`NoEngineError` where the folder holds a run of other options."""
    path = stage.into / "run.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    wanted = _options(stage)
    if other := [name for name, one in wanted.items() if known.get(name, one) != one]:
        raise NoEngineError(f"{stage.into} holds a run with another {', '.join(other)}")


def _open(
    opened: ExitStack,
    given: argparse.Namespace,
    into: Path,
    timed: Timed,
    say: Callable[[str], None],
) -> Stage:
    registered = given.adapters if given.quick else TASKS
    cache = (given.cache or into / "cache").resolve()
    if given.model is not None:  # adapters of one base fit no other
        cache /= _own_name(given.model.resolve())
    cache.mkdir(parents=True, exist_ok=True)
    with timed.phase("base"):
        setup = Setup(model=given.model.resolve() if given.model else base_folder(cache))
        if given.gpu:
            setup = replace(setup, dtype="bfloat16")
        if given.dtype:
            setup = replace(setup, dtype=given.dtype)
    with timed.phase("training"):
        say("adapters are trained, if they are not yet")
        adapters = served(cache, setup.model, registered)
    switch = opened.enter_context(Switch(port=_port(into)))

    def start(other: Setup) -> Engine:
        log = into / "state" / f"engine-{len(list(into.glob('state/engine-*.log')))}.log"
        return start_engine(other, adapters, log=log, gpu=given.gpu)

    def wait(engine: Engine) -> None:
        wait_for(engine, model_of(registered[0], IN_CHARGE))

    with timed.phase("engine"):
        say("the engine starts")
        engine = opened.enter_context(start(setup))
        wait(engine)
    switch.to(engine.port)
    return Stage(
        into=into,
        cache=cache,
        setup=setup,
        engine=engine,
        engines=opened.enter_context(Engines(start=start, wait=wait)),
        switch=switch,
        divergences=Divergences(cache / "divergences.json"),
        seed=given.seed,
        requests=given.requests,
        played=given.adapters,
        registered=registered,
        settings=SOONER if given.quick else {},
        gpu=given.gpu,
        say=say,
    )


def _own_name(model: Path) -> str:
    """Name a base by its folder and its config."""
    config = (model / "config.json").read_bytes()
    return f"{model.name}-{hashlib.sha256(str(model).encode() + config).hexdigest()[:8]}"


def _port(into: Path) -> int:
    """The engine's address is part of the stored state, so that it stays the same."""
    kept = into / "state" / "port"
    if not kept.exists():
        kept.write_text(str(free_port()))
    return int(kept.read_text())


def _begin_next(stage: Stage, upcoming: tuple[Way, int] | None) -> None:
    """Let the next way's engine start while this one is measured: it takes a minute."""
    if upcoming is not None and not _done(stage, *upcoming).exists():
        setup = other_setup(stage, upcoming[0])
        if setup is not None:
            stage.engines.begin(setup)


def _done(stage: Stage, way: Way, repeat: int) -> Path:
    """Written last: who has it was played."""
    return stage.into / way.name / str(repeat) / "driftline.json"


def _play_once(stage: Stage, way: Way, repeat: int, console: Console) -> str | None:
    """Play one way unless it has been; give why it could not be."""
    if _done(stage, way, repeat).exists():
        return None
    began = time.monotonic()
    try:
        found = play(stage, way, repeat, adapter_of(stage.played, way, repeat))
    except (ProcessFailedError, RuntimeError, OSError, httpx2.HTTPError) as error:
        console.print(f"{way.name}: {type(error).__name__}: {error}", style="red", markup=False)
        return f"{type(error).__name__}: {error}"
    took = time.monotonic() - began
    console.print(f"{way.name}: {in_words(found)} ({took:.0f} s)", markup=False)
    return None


def adapter_of(played: Sequence[str], way: Way, repeat: int) -> str:
    """The adapters take turns, over the ways and over the repeats."""
    return played[([one.name for one in WAYS].index(way.name) + repeat) % len(played)]


def in_words(found: Mapping[str, Any]) -> str:
    """One line of what came of a way."""
    page, ticket, moved = found["page"], found["ticket"], found["moved"]
    parts = []
    if ticket and ticket != page:
        parts.append(f"told after {ticket['requests']} requests")
    if page:
        parts.append(f"paged after {page['requests']} requests by {page['by']}")
    if moved:
        parts.append(f"moved after {moved['requests']}")
    if found["causes"]:
        parts.append(f"blame {', then '.join(found['causes'])}")
    return ", ".join(parts) or "silent"


def _note(
    stage: Stage,
    timed: Timed,
    *,
    failed: Mapping[str, str] | None = None,
    apart: Mapping[str, float] | None = None,
) -> None:
    path = stage.into / "run.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known.setdefault("started_at", datetime.now(UTC).isoformat())
    known |= {
        **_options(stage),
        "engine": known.get("engine") or stage.engine.version,
        "commit": ", ".join(dict.fromkeys([*known.get("commit", "").split(", "), _commit()])).strip(
            ", "
        ),
        "machine": ", ".join(
            (
                platform.machine(),
                f"{os.cpu_count()} cores",
                "GPU" if stage.gpu else "CPU",
                stage.setup.dtype,
            )
        ),
        "seconds": known.get("seconds", {}) | timed.seconds,
        "failed": dict(failed or {}),
        "apart": dict(apart or known.get("apart", {})),
    }
    path.write_text(json.dumps(known, indent=1), encoding="utf-8")


def _commit() -> str:
    ran = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.stdout.strip() or "unknown"


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=console,
    )


def _summary(into: Path, ways: Sequence[Way]) -> Table:
    table = Table("way", "kl", "expected", "outcome")
    for way in ways:
        for folder in sorted((into / way.name).glob("[0-9]*")):
            if (folder / "driftline.json").exists():
                truth = json.loads((folder / "truth.json").read_text())
                found = json.loads((folder / "driftline.json").read_text())
                kl = "" if truth["kl"] is None else f"{truth['kl']:.3f}"
                wanted = "seen" if truth["expected"]["seen"] else "silent"
                table.add_row(way.name, kl, wanted, in_words(found))
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
