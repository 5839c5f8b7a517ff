"""Act four: two releases on trial. The good one is promoted, the bad one goes back by itself."""

import time
from pathlib import Path
from typing import Final

from examples.demo.acts import signs
from examples.demo.cast import BAD_RELEASE, GOOD_RELEASE, REQUESTS_PER_SECOND
from examples.demo.driftline_client import Canary
from examples.demo.lookout import Sight
from examples.demo.outcome import ActResult
from examples.demo.stage import Stage

DECIDED_S: Final = 500.0
ALONE_S: Final = 100.0
BUSY: Final = {"travel": 10.0, "booking": 6.0, "support": 1.0}
"""Requests a second while releases are on trial: 200 of either arm come within a minute."""
QUIET: Final = {"booking": 1.0}
"""Once the bad one has gone back: what takes long is to prove the good one good."""
LEFT_OUT: Final = ("applied", "perplexity")
SEED: Final = 7


def releases(stage: Stage) -> ActResult:
    """Play it."""
    result = ActResult(title="4 · two releases on trial")
    stage.narrator.title("Act 4: travel and booking get a new version each, as canaries")
    _serve_the_bad_one(stage)
    before = stage.look()
    stage.traffic.rates.update(BUSY)
    began = time.monotonic()
    good = stage.client.begin_canary(GOOD_RELEASE.adapter, GOOD_RELEASE.name)
    bad = stage.client.begin_canary(BAD_RELEASE.adapter, BAD_RELEASE.name, unchecked=LEFT_OUT)
    stage.narrator.say(
        "half of the users get them; Driftline compares both arms at every look, by guardrails on"
        " words, entropy, latency and failures"
    )
    stage.watch("until the bad one is back", seconds=DECIDED_S, until=signs.canary_over(bad))
    stage.traffic.rates.update(QUIET)
    stage.watch("until the good one is proven", seconds=DECIDED_S, until=signs.canary_over(good))
    after = stage.watch(
        "until everybody is answered by the versions that are left",
        seconds=ALONE_S,
        until=signs.every(
            signs.answered_by("travel", GOOD_RELEASE.name), signs.answered_by("booking", "v1")
        ),
    ).sight
    stage.traffic.rates.update(REQUESTS_PER_SECOND)
    _check_good(result, stage, after, good, began=began)
    _check_bad(result, stage, after, bad, began=began)
    _check_told(result, before, after)
    failed = stage.traffic.tally.failed
    result.check("no client had an error in four acts", failed == 0, seen=failed)
    stage.narrator.say(f"what each look found: {stage.dashboard}/canaries")
    return result


def _serve_the_bad_one(stage: Stage) -> None:
    build = _bad_build(stage)
    stage.engine.load(BAD_RELEASE.model, build)
    stage.client.register(
        BAD_RELEASE.adapter,
        BAD_RELEASE.name,
        model=BAD_RELEASE.model,
        parent=BAD_RELEASE.parent,
    )
    stage.narrator.say(
        f"{GOOD_RELEASE.model} was trained again from another seed. {BAD_RELEASE.model} was merged"
        " in the wrong order, and somebody has left out its pre-checks, which would have refused"
        " it before anybody saw it"
    )


def _bad_build(stage: Stage) -> Path:
    folder = stage.folder / "bad-release"
    choice = ["--how", "permuted", "--seed", str(SEED)]
    source = str(BAD_RELEASE.weights)
    stage.processes.run("bad-build", ["examples.corrupt", source, str(folder), *choice])
    return folder


def _check_good(
    result: ActResult, stage: Stage, sight: Sight, number: int, *, began: float
) -> None:
    found = _canary(sight, number)
    result.check(f"{GOOD_RELEASE.model} is promoted", found.phase == "succeeded", seen=found.phase)
    only = sight.adapters["travel"].only
    result.check("it answers travel's users alone", only == GOOD_RELEASE.name, seen=only)
    old = stage.traffic.tally.last("travel", "v1")
    if old is not None and found.phase == "succeeded":
        result.took("canary to promotion", old - began)


def _check_bad(result: ActResult, stage: Stage, sight: Sight, number: int, *, began: float) -> None:
    found = _canary(sight, number)
    back = found.phase == "rolled_back" and found.latched
    result.check(f"{BAD_RELEASE.model} is rolled back and stays out", back, seen=found.phase)
    only = sight.adapters["booking"].only
    result.check("v1 answers booking's users alone", only == "v1", seen=only)
    tally = stage.traffic.tally
    given = tally.count("booking", BAD_RELEASE.name)
    result.check("it had been on trial with real users", given > 0, seen=f"{given} answers")
    last = tally.last("booking", BAD_RELEASE.name)
    if last is not None and back:
        result.took("canary to rollback", last - began)


def _check_told(result: ActResult, before: Sight, after: Sight) -> None:
    sent = after.messages[len(before.messages) :]
    about = [m for m in sent if m.subject == BAD_RELEASE.model]
    told = [f"{m.severity}, {m.status}" for m in about]
    result.check("a ticket tells of the rollback", told == ["ticket, started"], seen=told)
    good = [m.subject for m in sent if m.subject == GOOD_RELEASE.model]
    result.check("nobody is told of the good one", not good, seen=len(good))
    paged = [m.subject for m in signs.pages(list(sent))]
    result.check("nobody is paged", not paged, seen=paged)


def _canary(sight: Sight, number: int) -> Canary:
    return next(one for one in sight.canaries if one.canary == number)
