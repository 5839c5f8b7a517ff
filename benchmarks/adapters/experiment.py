"""One way to go wrong, played to its end: healthy clients, the fault, and what comes of it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, assert_never

from benchmarks.adapters.clients import COMPANY_RATE, FRESH, HEALTHY_RATE, Clients, Run, told
from benchmarks.adapters.divergence import Answering
from benchmarks.adapters.engine import Engine
from benchmarks.adapters.outcome import UNKNOWN, Moved, Seen, Told, causes, outcome
from benchmarks.adapters.service import Service
from benchmarks.adapters.stage import (
    BATCH,
    IN_CHARGE,
    Stage,
    ask_engine,
    model_of,
    read_lines,
    write_lines,
)
from benchmarks.adapters.tasks import LIVE, TASKS, task
from benchmarks.adapters.ways.way import (
    OfClients,
    OfEngine,
    OfServing,
    OfWeights,
    Setup,
    Way,
)

SETTLE_S: Final = 6.0
"""Until what was found has been told."""
HANDED_OVER: Final = timedelta(seconds=2)
"""From an answer until the gateway has handed its record over."""
LOOKS: Final = ("hard", "live")
"""Kinds of evaluation that look at what clients asked."""
GRACE_S: Final = 6.0
"""After a page, for what is found out of it."""
ANSWER_S: Final = 120.0
"""After a page, at most, until a cause is named and traffic that should leave has left: the probe
that tells both takes its time."""
LATEST_S: Final = 400.0
"""At most until everything has been looked at: a busy machine is late, and no less sharp."""
LOOK_EVERY_S: Final = 3.0
"""Between two lists of evaluations: the service makes them on the cores that engine and probes
need."""
NEWEST: Final = 200
"""Evaluations in a list: more than are made while an experiment lasts."""
SEEN_KL: Final = 0.05
"""From this divergence on weights are to be told of."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Broken:
    """A fault that is in force: the clients that meet it, and the engine that answers them."""

    run: Run
    engine: Engine
    hits: frozenset[str]
    """The adapters that it changes."""
    moves: bool = False
    """Whether a route should leave it."""
    answers: Answering | None = None
    """What answers in place of the approved version; None: itself, or nobody can say."""


def play(stage: Stage, way: Way, repeat: int, adapter: str) -> Mapping[str, Any]:
    """Play it, write its folder, and give the outcome."""
    folder = stage.into / way.name / str(repeat)
    shutil.rmtree(folder, ignore_errors=True)  # what tools made of other records
    folder.mkdir(parents=True)
    wrong = wrong_folder(stage, way, adapter)
    with ExitStack() as stack:
        other = other_setup(stage, way)
        ready = None if other is None else (stage.engines.ready(other), other)
        service = stack.enter_context(stage.service())
        clients = stack.enter_context(Clients(service.gateway, seed=stage.seed + repeat))
        company = [
            Run(adapter=name, part="company", rate=COMPANY_RATE)
            for name in stage.registered
            if name != adapter
        ]
        under_way = [clients.start(run) for run in company]
        healthy = Run(adapter=adapter, part="fresh", requests=FRESH, rate=HEALTHY_RATE)
        clients.start(healthy).result()
        _wait_until_looked_at(service, adapter, datetime.now(UTC) + HANDED_OVER)
        planned = _planned(service, adapter)
        broken = stack.enter_context(
            _broken(stage, way, adapter, service=service, ready=ready, folder=wrong)
        )
        broken_at, cpu_before = datetime.now(UTC), service.cpu_s
        seen = _watch(
            service,
            clients,
            broken,
            adapter=adapter,
            others=[name for name in stage.registered if name not in broken.hits],
            since=broken_at,
            least=stage.requests,
        )
        for run in company:
            clients.stop(run)
        for ended in under_way:
            ended.result()
        scores = _scores(service, adapter)
        seen = replace(seen, cpu_s=service.cpu_s - cpu_before)
        time.sleep(1.0)  # the gateway hands its last records over
        records = _records(stage, service, adapter, broken_at)
        seen = replace(seen, broken=_answered(records))
    kl = None if broken.answers is None else _kl(stage, way, adapter, broken.answers)
    write_lines(folder / "records.jsonl", records)
    _write(folder / "truth.json", _truth(way, adapter, broken_at, kl))
    shutil.copy(service.daemon.log, folder)
    found = outcome(seen) | {
        "clients": told(broken.run.answered),
        "scores": scores,
        "planned": planned,
    }
    _write(folder / "messages.json", {"messages": [one.body for one in seen.told]})
    _write(folder / "driftline.json", found)
    return found


def wrong_folder(stage: Stage, way: Way, adapter: str) -> Path | None:
    """What is loaded in place of the approved version; training it may take minutes."""
    shelf, fault = stage.shelf(adapter), way.fault
    if isinstance(fault, OfWeights):
        return shelf.damaged(way.name, fault.change)
    return fault.choose(shelf) if isinstance(fault, OfServing) else None


def other_setup(stage: Stage, way: Way) -> Setup | None:
    """How the engine of a fault of the engine is started; None: it is the usual one."""
    if not isinstance(way.fault, OfEngine):
        return None
    return way.fault.change(stage.setup, stage.shelf(TASKS[0]))


@contextmanager
def _broken(
    stage: Stage,
    way: Way,
    adapter: str,
    *,
    service: Service,
    ready: tuple[Engine, Setup] | None,
    folder: Path | None,
) -> Iterator[Broken]:
    """Put the fault in force, and take it back at the end."""
    shelf, fault = stage.shelf(adapter), way.fault
    run = Run(adapter=adapter, part="broken", requests=LIVE)
    own = frozenset({adapter})
    right = shelf.version(IN_CHARGE)
    match fault:
        case OfClients():
            run.change, run.pace = fault.change, fault.pace
            if run.pace(0) > 1:
                run.at_once *= 4
            yield Broken(run=run, engine=stage.engine, hits=own)
        case OfWeights() | OfServing():
            if folder is None:
                raise RuntimeError(f"{way.name} needs a folder")
            cached = isinstance(fault, OfServing) and fault.cached
            answers = Answering(
                setup=stage.setup,
                adapter=right if cached else folder,
                cached=folder if cached else None,
            )
            moves = way.expected.moved
            with served_wrongly(stage.engine, adapter, folder, right=right, cached=cached):
                yield Broken(run=run, engine=stage.engine, answers=answers, hits=own, moves=moves)
        case OfEngine():
            if ready is None:
                raise RuntimeError(f"{way.name} needs an engine of its own")
            engine, setup = ready
            # the divergence is worked out without the engine, whose arguments mean nothing there
            measurable = setup.arguments == stage.setup.arguments
            served = Answering(setup=setup, adapter=right) if measurable else None
            hit = frozenset(stage.registered)
            broken = Broken(run=run, engine=engine, answers=served, hits=hit)
            if fault.beside:
                service.restart([stage.switch.url, engine.url])
                yield broken
                return
            stage.switch.to(engine.port)
            try:
                yield broken
            finally:
                stage.switch.to(stage.engine.port)
        case _:
            assert_never(fault)


@contextmanager
def served_wrongly(
    engine: Engine, adapter: str, folder: Path, *, right: Path, cached: bool
) -> Iterator[None]:
    """Serve a folder under the name of the version in charge; ``cached``: only its cache.

    vLLM keeps what it cached of a name until its path changes, so the files are exchanged in place.
    """
    model = model_of(adapter, IN_CHARGE)
    place = right.with_name(f"{right.name}-in-place")
    try:
        if cached:
            _exchange(place, folder)
            _reload(engine, model, place)
            _fill_cache(engine, model, adapter)
            _exchange(place, right)
            engine.unload(model)
            engine.load(model, place)
            _require_stale(engine, model, adapter)
        else:
            _reload(engine, model, folder)
        yield
    finally:
        _reload(engine, model, right)


def _exchange(place: Path, files: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(files, place)


def _reload(engine: Engine, model: str, folder: Path) -> None:
    engine.unload(model)
    engine.load(model, folder)
    engine.forget()


def _fill_cache(engine: Engine, model: str, adapter: str) -> None:
    body = {"max_tokens": 1}
    with ThreadPoolExecutor(BATCH) as pool:
        asked = [
            pool.submit(ask_engine, engine, model, [{"role": "user", "content": pair.prompt}], body)
            for pair in task(adapter).live
        ]
        for one in asked:
            one.result()


def _require_stale(engine: Engine, model: str, adapter: str) -> None:
    """Raise RuntimeError where the engine reads nothing of what the other weights have cached."""
    longest = max((pair.prompt for pair in task(adapter).live), key=len)
    before = engine.cache_hits
    ask_engine(engine, model, [{"role": "user", "content": longest}], {"max_tokens": 1})
    if engine.cache_hits == before:
        raise RuntimeError("the engine has forgotten what the other weights cached")


def _kl(stage: Stage, way: Way, adapter: str, other: Answering) -> float:
    approved = Answering(setup=stage.setup, adapter=stage.shelf(adapter).version(IN_CHARGE))
    return stage.divergences.of(
        f"{way.name}/{adapter}", name=adapter, approved=approved, other=other
    )


# --- watching -------------------------------------------------------------------------------


def _watch(
    service: Service,
    clients: Clients,
    broken: Broken,
    *,
    adapter: str,
    others: Sequence[str],
    since: datetime,
    least: int,
) -> Seen:
    """Let clients meet the fault until it is seen and answered.

    Where it is not: until they have asked as often as they should, all of that was looked at, and a
    probe that began after the fault was judged. They go on asking meanwhile, until they have asked
    every question once.
    """
    ended = clients.start(broken.run)
    moved: Moved | None = None
    all_asked: datetime | None = None
    paged_since: float | None = None
    done_since: float | None = None
    next_look = 0.0
    while True:
        time.sleep(0.5)
        moved = moved or _moved(service, adapter)
        now = time.monotonic()
        if ended.done():
            ended.result()  # clients ended by an error
        if broken.run.answered.asked >= least and all_asked is None:
            all_asked = datetime.now(UTC)
        told = [one for one in _told(service) if broken.hits & one.adapters]
        page = any(one.pages and not one.of_sight and one.at >= since for one in told)
        paged_since = paged_since or (now if page else None)
        done_since = done_since or (now if page and moved else None)
        named = set(causes(told, since=since)) - {UNKNOWN}
        if done_since is not None and now - done_since > (GRACE_S if named else ANSWER_S):
            break
        answered = bool(named) and (moved is not None or not broken.moves)
        waits = paged_since is not None and not answered and now - paged_since < ANSWER_S
        if waits or all_asked is None or now < next_look:
            continue
        next_look = now + LOOK_EVERY_S
        if _all_seen(service, adapter, since, all_asked):
            break
    clients.stop(broken.run)
    ended.result(300)
    time.sleep(SETTLE_S)
    moved = moved or _moved(service, adapter)
    incidents = service.get("/incidents")["items"]
    return Seen(
        adapters=broken.hits,
        broken_at=since,
        told=_told(service),
        moved=moved,
        others_moved=[one for one in others if _moved(service, one) is not None],
        broken=(),
        probes=[
            datetime.fromisoformat(one["finished_at"]) for one in _probes(service, adapter, since)
        ],
        cpu_s=0.0,
        incidents=incidents,
        blame_now=service.get(f"/adapters/{adapter}")["blame"],
    )


def _all_seen(service: Service, adapter: str, broken_at: datetime, all_asked: datetime) -> bool:
    """Whether all that clients asked was looked at, and a probe after the fault was judged."""
    if datetime.now(UTC) - all_asked > timedelta(seconds=LATEST_S):
        return True
    looked_at = _looked_at(service, adapter, all_asked + HANDED_OVER)
    return looked_at and bool(_probes(service, adapter, broken_at))


def _looked_at(service: Service, adapter: str, until: datetime) -> bool:
    """Whether each kind of look has covered the time up to a moment."""
    seen = {
        one["kind"]
        for one in _done(service, adapter)
        if datetime.fromisoformat(one["window"]["end"]) >= until
    }
    return seen.issuperset(LOOKS)


def _wait_until_looked_at(service: Service, adapter: str, until: datetime) -> None:
    deadline = time.monotonic() + LATEST_S
    while not _looked_at(service, adapter, until) and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)


def _probes(service: Service, adapter: str, since: datetime) -> list[Mapping[str, Any]]:
    """Probes of the version in charge that began after a moment."""
    return [
        one
        for one in _done(service, adapter)
        if one["kind"] == "perplexity" and datetime.fromisoformat(one["started_at"]) >= since
    ]


def _done(service: Service, adapter: str) -> list[Mapping[str, Any]]:
    """Newest evaluations of the version in charge that have ended."""
    found = service.get(f"/adapters/{adapter}/evaluations", version=IN_CHARGE, limit=NEWEST)
    return [one for one in found["items"] if one["state"] == "done"]


def _scores(service: Service, adapter: str) -> list[dict[str, Any]]:
    """How near each detector was to its line at the end, and over how many requests."""
    names = ("detector", "verdict", "value", "evidence", "n_window")
    scores = service.get(f"/adapters/{adapter}")["scores"]
    return [
        {name: one.get(name) for name in names}
        | {name: (one.get("details") or {}).get(name) for name in ("evidence_notice", "identity")}
        for one in scores
        if one["version"] == IN_CHARGE
    ]


def _planned(service: Service, adapter: str) -> Mapping[str, Any] | None:
    """What the plan says of the probe before the fault: the rise that opens a ticket in an hour."""
    for one in service.get(f"/adapters/{adapter}/plan", version=IN_CHARGE)["items"]:
        if one["detector"] == "perplexity":
            told = one["ticket"]["hour"]
            return {"fault": one["fault"], "size": None if told is None else told["size"]}
    return None


def _moved(service: Service, adapter: str) -> Moved | None:
    route = service.get(f"/routes/{adapter}")
    share = sum(arm["weight"] for arm in route["arms"] if arm["version"] == IN_CHARGE)
    if share > 0:
        return None
    return Moved(at=datetime.now(UTC), reason=route["reason"])


def _told(service: Service) -> list[Told]:
    now, here = datetime.now(UTC), time.monotonic()
    return [
        Told(at=now - timedelta(seconds=here - one.received), body=one.body)
        for one in service.receiver.messages
    ]


# --- what is written ------------------------------------------------------------------------


def _records(
    stage: Stage, service: Service, adapter: str, broken_at: datetime
) -> list[dict[str, Any]]:
    """What the version in charge answered: healthy before, broken from the fault on."""
    earlier = read_lines(stage.into / "state" / "healthy" / f"{adapter}.jsonl")
    live = [one for one in service.recorder.records if one["adapter"] == adapter]
    own = [dict(one) for one in live if one.get("version") == IN_CHARGE]
    healthy = [one | {"broken": False} for one in own if _at(one) < broken_at]
    broken = [one | {"broken": True} for one in own if _at(one) >= broken_at]
    return [*({**one, "broken": False} for one in earlier), *healthy, *broken]


def _answered(records: list[dict[str, Any]]) -> tuple[datetime, ...]:
    """When the broken version was asked by clients."""
    return tuple(_at(one) for one in records if one["broken"])


def _at(record: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(record["at"])


def _truth(way: Way, adapter: str, broken_at: datetime, kl: float | None) -> dict[str, Any]:
    expected = way.expected
    if kl is not None and kl < SEEN_KL and not way.harmless:
        expected = replace(expected, seen=False, moved=False)
    return {
        "way": way.name,
        "family": way.family,
        "harmless": way.harmless,
        "adapter": adapter,
        "broken_at": broken_at.isoformat(),
        "kl": kl,
        "expected": {
            "seen": expected.seen,
            "blame": list(expected.blame),
            "moved": expected.moved,
        },
        "says": way.says,
    }


def _write(path: Path, body: Mapping[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(body, indent=1, default=str), encoding="utf-8")
    part.rename(path)
