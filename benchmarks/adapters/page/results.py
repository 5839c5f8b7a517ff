"""A run in short: what each experiment was, and what Driftline and the other tools made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, astuple, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.adapters.contestants import entry
from benchmarks.adapters.contestants.experiment import Experiment, folders
from benchmarks.adapters.contestants.experiment import load as load_experiment
from benchmarks.adapters.outcome import UNKNOWN
from benchmarks.adapters.page.promised import Promise, of_the_probe, promises

FILE = Path(__file__).parents[1] / "results" / "adapters.json"
FAMILIES = ("weights", "serving", "engine", "prompts", "traffic", "clients", "harmless")
"""In the order of the page; a family of another name comes after them."""
_OURS = frozenset({"truth", "driftline", "messages"})
_TOLD = ("ticket", "page", "moved")
_OPTIONS = frozenset({"model", "seed", "requests", "adapters", "registered", "probe_cycle_s"})
_TOLD_OF_A_RUN = _OPTIONS | {"engine", "commit", "started_at", "machine", "apart", "failed"}


@dataclass(frozen=True, slots=True)
class Told:
    """A ticket or page: after how many broken requests and seconds, and what crossed.

    ``probed``: the probe had crossed, beside records or not. ``probes`` is how many had ended that
    began after the break; None where not counted.
    """

    requests: int
    seconds: float | None
    by: str | None = None
    probes: int | None = None
    probed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """What Driftline did with one experiment."""

    ticket: Told | None
    page: Told | None
    moved: Told | None
    false_before: int
    blame: str | None
    causes: tuple[str, ...]
    confidence: str | None
    answered_broken: int
    probes: int
    cpu_s: float
    blind: int = 0
    """Messages that it compares too little, without a cause."""
    others: int | None = None
    """Messages about adapters that the fault does not hit, and their moves; None: not counted."""

    @property
    def first(self) -> Told | None:
        """The first that was told: a page where no ticket came before it."""
        known = [one for one in (self.ticket, self.page) if one is not None]
        return min(known, key=lambda one: one.requests, default=None)

    @property
    def named(self) -> frozenset[str]:
        """The causes that it gave, whenever it did."""
        return frozenset(self.causes) - {UNKNOWN}


@dataclass(frozen=True, slots=True)
class Theirs:
    """What another tool did: requests to its first alarm, and alarms before the break."""

    requests: int | None
    false_before: int
    cpu_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """One experiment of a way: healthy and broken records, and who made what of them.

    ``seen`` and ``moved`` are what should come of it: of a fault that hardly differs, nothing.
    ``asked`` counts all requests of clients after the break, ``broken`` those that the broken
    version answered. A run of an older benchmark tells neither ``asked`` nor ``adapter``.
    """

    calm: int
    broken: int
    kl: float | None
    seen: bool
    moved: bool
    promises: Sequence[Promise]
    driftline: Ours
    tools: Mapping[str, Theirs]
    adapter: str = "-"
    asked: int | None = None
    probe_moved: float | None = None
    """The largest move of the fixed texts at the last probe, as a share of the ticket's line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to go wrong, or a harmless change, with its experiments.

    ``commit`` is given where it was played anew at another commit than the rest of the run.
    """

    way: str
    family: str
    harmless: bool
    says: str
    blame: tuple[str, ...]
    repeats: Sequence[Repeat]
    commit: str | None = None

    @property
    def kl(self) -> float | None:
        known = [one.kl for one in self.repeats if one.kl is not None]
        return sum(known) / len(known) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """Another tool and how it was set up."""

    tool: str
    version: str | None
    settings: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """All of a run.

    run
        Of which model, engine, commit, machine and time, and ``probe_cycle_s``.
    silence
        How often resampled healthy traffic was told of; None: it was not resampled.
    """

    run: Mapping[str, Any]
    silence: Mapping[str, Any] | None
    tools: Mapping[str, Tool]
    ways: Sequence[Way]


def collect(run: Path) -> Results:
    """Read a run; an experiment without ``driftline.json`` is not finished and left out."""
    tools: dict[str, Tool] = {}
    found: dict[str, tuple[dict[str, Any], list[Repeat]]] = {}
    for folder in folders(run):
        if not (folder / "driftline.json").exists():
            continue
        truth = _read(folder / "truth.json")
        repeats = found.setdefault(truth["way"], (truth, []))[1]
        repeats.append(_repeat(load_experiment(run, folder), truth, tools))
    ways = [_way(truth, repeats) for truth, repeats in found.values()]
    return Results(
        run={name: one for name, one in _read(run / "run.json").items() if name in _TOLD_OF_A_RUN}
        | {"calm_told": _told_of_healthy(run)},
        silence=_silence(run / "silence.json"),
        tools=tools,
        ways=sorted(ways, key=_place),
    )


def joined(stored: Results, new: Results) -> Results:
    """Add a run to stored results: its ways replace those of the same name, the others stay.

    Raises
    ------
    ValueError
        The runs have another model, engine, seed, machine or probe cycle.
    """
    one_setting = _OPTIONS | {"engine", "machine"}
    if other := sorted(n for n in one_setting if stored.run.get(n) != new.run.get(n)):
        raise ValueError(f"the stored run differs in {', '.join(other)}; leave --add out")
    commit = new.run["commit"]
    anew = [
        replace(way, commit=None if commit == stored.run["commit"] else commit) for way in new.ways
    ]
    told = [one.run.get("calm_told") for one in (stored, new)]
    known = [count for count in told if count is not None]
    played = frozenset(way.way for way in new.ways)
    kept = [way for way in stored.ways if way.way not in played]
    return Results(
        run={
            **new.run,
            **stored.run,
            "failed": _failed(stored, played) | dict(new.run.get("failed", {})),
            "calm_told": max(known) if len(known) == len(told) else None,
        },
        silence=new.silence or stored.silence,
        tools={**stored.tools, **new.tools},
        ways=sorted([*kept, *anew], key=_place),
    )


def _failed(results: Results, since: frozenset[str]) -> dict[str, str]:
    """Give what could not be played, but for ways that were played since."""
    failed = results.run.get("failed", {}).items()
    return {name: why for name, why in failed if name.rpartition("/")[0] not in since}


def _told_of_healthy(run: Path) -> int | None:
    """Count the messages about the healthy traffic that all experiments begin with."""
    path = run / "state" / "told.json"
    return len(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def _silence(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    found = _read(path)
    missed = [
        f"{one['adapter']}: {', '.join(one['crossed'])}"
        f"{', a page' if 'page' in one['told'] else ''}/{one['run']}"
        for one in found["by"]
    ]
    told = ("commit", "runs", "by_adapter", "requests", "silent")
    return {name: found[name] for name in told if name in found} | {"missed": missed}


def store(results: Results, path: Path = FILE) -> None:
    """Write results, a way a line, for the page to be drawn from; half a file is never left."""
    path.parent.mkdir(exist_ok=True)
    draft = path.with_suffix(".draft")
    tools = {slug: asdict(tool) for slug, tool in results.tools.items()}
    head = json.dumps(
        {"run": results.run, "silence": results.silence, "tools": tools}, indent=1
    ).removesuffix("\n}")
    ways = ",\n".join(
        json.dumps(_written(way, list(tools)), separators=(",", ":")) for way in results.ways
    )
    draft.write_text(f'{head},\n "ways": [\n{ways}\n]}}\n', encoding="utf-8")
    draft.replace(path)


def load(path: Path = FILE) -> Results:
    """Read what :func:`store` wrote."""
    body = _read(path)
    return Results(
        run=body["run"],
        silence=body["silence"],
        tools={slug: Tool(**tool) for slug, tool in body["tools"].items()},
        ways=[_as_read(way, list(body["tools"])) for way in body["ways"]],
    )


def _written(way: Way, slugs: Sequence[str]) -> dict[str, Any]:
    """Give what repeats as lists: hundreds of experiments would repeat the names."""
    body = asdict(way)
    for one, written in zip(way.repeats, body["repeats"], strict=True):
        seen = [one.tools.get(slug) for slug in slugs]
        written["promises"] = [astuple(each) for each in one.promises]
        written["driftline"] = astuple(one.driftline)
        written["tools"] = [each and astuple(each) for each in seen]
    return body


def _as_read(body: dict[str, Any], slugs: Sequence[str]) -> Way:
    repeats = []
    for one in body["repeats"]:
        seen = zip(slugs, one["tools"], strict=True)
        told = {
            "promises": [Promise(*each) for each in one["promises"]],
            "driftline": _ours(one["driftline"]),
            "tools": {slug: Theirs(*each) for slug, each in seen if each is not None},
        }
        repeats.append(Repeat(**{**one, **told}))
    return Way(**{**body, "blame": tuple(body["blame"]), "repeats": repeats})


def _ours(values: Sequence[Any]) -> Ours:
    names = [one.name for one in fields(Ours)]
    body = dict(zip(names, values, strict=len(values) == len(names)))
    told = {name: body[name] and Told(*body[name]) for name in _TOLD}
    return Ours(**body | told | {"causes": tuple(body["causes"])})


def _way(truth: Mapping[str, Any], repeats: Sequence[Repeat]) -> Way:
    return Way(
        way=truth["way"],
        family=truth["family"],
        harmless=truth["harmless"],
        says=truth["says"],
        blame=tuple(truth["expected"]["blame"]),
        repeats=repeats,
    )


def _repeat(experiment: Experiment, truth: Mapping[str, Any], tools: dict[str, Tool]) -> Repeat:
    body = _read(experiment.folder / "driftline.json")
    broken = len(experiment.live) - experiment.calm
    probed = of_the_probe(body.get("planned"), body.get("scores", ()), broken=broken)
    told: dict[str, Any] = {name: _told(body[name], truth["broken_at"]) for name in _TOLD}
    told["causes"] = tuple(body["causes"])
    if "others_told" in body:
        told["others"] = body["others_told"] + len(body["others_moved"])
    kept = {
        one.name: body[one.name]
        for one in fields(Ours)
        if one.name not in told and (one.name in body or one.default is MISSING)
    }
    return Repeat(
        probe_moved=_probe_moved(body.get("scores", ())),
        adapter=truth["adapter"],
        calm=experiment.calm,
        asked=body["clients"]["asked"],
        broken=broken,
        kl=truth["kl"],
        seen=truth["expected"]["seen"],
        moved=truth["expected"]["moved"],
        promises=[*promises(experiment), *probed],
        driftline=Ours(**told, **kept),
        tools=_theirs(experiment.folder, tools),
    )


def _probe_moved(scores: Sequence[Mapping[str, Any]]) -> float | None:
    logs = [one["evidence_notice"] for one in scores if one["detector"] == "perplexity"]
    return round(float(10 ** logs[0]), 3) if logs and logs[0] is not None else None


def _theirs(folder: Path, tools: dict[str, Tool]) -> dict[str, Theirs]:
    found = {}
    for path in sorted(folder.glob("*.json")):
        if path.stem in _OURS:
            continue
        one = entry.read(path)
        tools[path.stem] = Tool(tool=one.tool, version=one.version, settings=one.settings)
        found[path.stem] = Theirs(
            requests=one.alarm.requests if one.alarm else None,
            false_before=one.false_before,
            cpu_s=one.cpu_s,
        )
    return found


def _told(body: Mapping[str, Any] | None, broken_at: str) -> Told | None:
    if body is None:
        return None
    waited = datetime.fromisoformat(body["at"]) - datetime.fromisoformat(broken_at)
    return Told(
        requests=body["requests"],
        seconds=round(waited.total_seconds(), 1),
        by=body.get("by"),
        probed="perplexity" in body.get("detectors", ()),
        probes=body.get("probes"),
    )


def _place(way: Way) -> tuple[int, str, float, str]:
    known = FAMILIES.index(way.family) if way.family in FAMILIES else len(FAMILIES)
    return known, way.family, -(way.kl or 0.0), way.way


def _read(path: Path) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return body
