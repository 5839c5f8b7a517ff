"""Act three: a broken deployment. A page, traffic away, a repair, traffic back."""

import time
from pathlib import Path
from typing import Final

from examples.demo.acts import signs
from examples.demo.cast import VERSIONS, Version
from examples.demo.lookout import Sight
from examples.demo.outcome import ActResult
from examples.demo.stage import Stage

PROBE_S: Final = 300.0
PAGE_S: Final = 600.0
MOVE_S: Final = 600.0
AWAY_S: Final = 5.0
RETURN_S: Final = 900.0
SUBJECT: Final = "support@v2"
DETECTORS: Final = ("logit_ks", "perplexity")
SEED: Final = 7


def weights(stage: Stage) -> ActResult:
    """Play it."""
    result = ActResult(title="3 · weights go wrong")
    stage.narrator.title(f"Act 3: a broken build of {SUBJECT} is deployed under its own name")
    before, broken, moved = until_moved(stage)
    _check_page(result, moved, broken=broken)
    _check_away(result, stage, moved, broken=broken)
    stage.watch("v1 answers support's users while v2 is being repaired", seconds=AWAY_S)
    repaired = _repair(stage)
    back = stage.watch(
        f"until two clean probes have brought {SUBJECT} back",
        seconds=RETURN_S,
        until=signs.every(signs.answered_by("support", "v2"), signs.recovered(SUBJECT)),
    ).sight
    _check_back(result, stage, back, repaired=repaired)
    _check_rest(result, stage, before, back)
    return result


def until_moved(stage: Stage) -> tuple[Sight, float, Sight]:
    """Deploy a broken build, and watch until v1 answers; return before, when, and after."""
    build = _broken_build(stage)
    _wait_for_a_probe(stage)
    before = stage.look()
    broken = _deploy(stage, build)
    return before, broken, _watch_it_go(stage)


def _wait_for_a_probe(stage: Stage) -> None:
    """Deploy just after a scheduled probe, so that live traffic has to notice first."""

    def probed(sight: Sight) -> object:
        score = sight.adapters["support"].state.score("perplexity")
        return score and score.window.end

    last = probed(stage.look())
    stage.watch(
        "until a scheduled probe of support@v2 is over: the next is a while away",
        seconds=PROBE_S,
        until=lambda sight: probed(sight) != last,
    )


def _broken_build(stage: Stage) -> Path:
    folder = stage.folder / "broken"
    source = str(_version().weights)
    choice = ["--how", "noise", "--seed", str(SEED)]
    stage.processes.run("broken-build", ["examples.corrupt", source, str(folder), *choice])
    return folder


def _deploy(stage: Stage, build: Path) -> float:
    stage.engine.replace(_version().model, build)
    stage.narrator.say(
        f"{SUBJECT} now serves weights with quantisation noise as large as themselves",
        style="red",
    )
    return time.monotonic()


def _watch_it_go(stage: Stage) -> Sight:
    stage.watch("until a page arrives", seconds=PAGE_S, until=signs.paged(SUBJECT))
    return stage.watch(
        "until v1 answers support's users, logits and perplexity agree, and v2 is blamed",
        seconds=MOVE_S,
        until=signs.every(
            signs.answered_by("support", "v1"),
            signs.critical("support", *DETECTORS),
            signs.blamed("support", "adapter"),
        ),
    ).sight


def _repair(stage: Stage) -> float:
    version = _version()
    stage.engine.replace(version.model, version.weights)
    stage.narrator.say(f"repaired: {SUBJECT} serves its own weights again", style="green")
    return time.monotonic()


def _check_page(result: ActResult, sight: Sight, *, broken: float) -> None:
    found = signs.pages(sight.about(SUBJECT))
    result.check(f"a page about {SUBJECT} arrived", found, seen=len(found))
    if found:
        result.took("broken weights to page", found[0].received - broken)
        verdict = str(found[0].body["verdict"])
        result.check("it says critical", verdict == "critical", seen=verdict)
    support = sight.adapters["support"].state
    for name in DETECTORS:
        by_itself = support.verdict_of(name)
        result.check(f"{name} is critical", by_itself == "critical", seen=by_itself)
    result.check("the adapter is to blame", support.blame == "adapter", seen=support.blame)


def _check_away(result: ActResult, stage: Stage, sight: Sight, *, broken: float) -> None:
    seen = sight.adapters["support"]
    result.check("v1 answers support's users", seen.only == "v1", seen=dict(seen.answering))
    pages = signs.pages(sight.about(SUBJECT))
    moved = stage.traffic.tally.first("support", "v1", since=broken)
    if moved is not None and pages:
        result.took("broken weights to traffic on v1", moved - broken)
        result.took("page to traffic on v1", moved - pages[0].received)


def _check_back(result: ActResult, stage: Stage, sight: Sight, *, repaired: float) -> None:
    seen = sight.adapters["support"]
    result.check("v2 answers support's users again", seen.only == "v2", seen=dict(seen.answering))
    statuses = [message.status for message in sight.about(SUBJECT)]
    result.check("on-call was told of the recovery", statuses[-1:] == ["recovered"], seen=statuses)
    returned = stage.traffic.tally.first("support", "v2", since=repaired)
    if returned is not None:
        result.took("repair to traffic on v2", returned - repaired)


def _check_rest(result: ActResult, stage: Stage, before: Sight, after: Sight) -> None:
    paged = [message.subject for message in signs.pages(list(after.messages))]
    result.check("exactly one page in three acts", paged == [SUBJECT], seen=paged)
    moves = {name: now - before.generations.get(name, 0) for name, now in after.generations.items()}
    result.check(
        "support's route moved there and back, the others' never",
        moves == {"support": 2, "booking": 0, "travel": 0},
        seen=moves,
    )
    forged = stage.receiver.forged
    result.check("every message carried a right signature", forged == 0, seen=forged)


def _version() -> Version:
    return next(version for version in VERSIONS if version.model == SUBJECT)
