"""Act five: users turn to a new topic for good. The adapter learns it, and hardly forgets."""

import json
import math
import sys
import time
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Final

from examples.demo.acts import signs
from examples.demo.cast import MODELS
from examples.demo.lookout import Sight
from examples.demo.outcome import ActResult
from examples.demo.questions import Topic
from examples.demo.stage import Stage
from examples.texts import NEW_TOPIC, Domain, Part, part

ADAPTER: Final = "support"
PARENT: Final = "v2"
SHARE: Final = 0.6
BUSY: Final = {"support": 6.0, "booking": 1.0, "travel": 1.0}
CALM_S: Final = 400.0
TICKET_S: Final = 400.0
ASKED_S: Final = 600.0
TRAINED_S: Final = 900.0
DECIDED_S: Final = 700.0
QUIET_S: Final = 600.0
FASTER_S: Final = 120.0
READ: Final = 60
"""Texts of either topic that both versions read at the end."""
FORGOTTEN: Final = 0.05
"""Nats per token that the old topic may cost more, at most."""
HURRY: Final = 8e-3
REFUSED: Final = 4
"""Exit status of `driftline retraining run` where the version did not pass."""
NORMAL_95: Final = 1.96


def healing(stage: Stage) -> ActResult:
    """Play it."""
    result = ActResult(title="5 · a new topic for good")
    stage.narrator.title("Act 5: support's users turn to the smart home for good")
    stage.watch(f"until {ADAPTER} is stable", seconds=CALM_S, until=signs.quiet(ADAPTER))
    _prepare(stage)
    before = stage.look()
    stage.traffic.rates.update(BUSY)
    stage.traffic.questions[ADAPTER].topic = Topic(domain=NEW_TOPIC, share=SHARE)
    changed = time.monotonic()
    known = {one.retraining for one in stage.client.retrainings()}
    ticket = stage.watch(
        "until a ticket arrives",
        seconds=TICKET_S,
        until=lambda sight: _tickets(before, sight),
    )
    result.check("a ticket tells of it", ticket.met, seen=len(_tickets(before, ticket.sight)))
    stage.watch(
        f"until Driftline asks to retrain {ADAPTER}",
        seconds=ASKED_S,
        until=lambda _: _asked(stage, known) is not None,
    )
    number = _asked(stage, known)
    result.check("Driftline asked to retrain it, unasked", number is not None, seen=number)
    if number is None:
        return result
    made = _learn(stage, result, number, changed=changed)
    if made is not None:
        _check_learned(stage, result, made)
        _check_forgetful(stage, result, number)
    failed = stage.traffic.tally.failed
    result.check("no client had an error in all five acts", failed == 0, seen=failed)
    return result


def _prepare(stage: Stage) -> None:
    """Give the trainer what an owner has: weights, earlier training, a log of the requests."""
    stage.client.register(
        ADAPTER,
        PARENT,
        model=f"{ADAPTER}@{PARENT}",
        uri=str(MODELS / f"{ADAPTER}-{PARENT}"),
        base_model=str(MODELS / "base"),
    )
    training = stage.folder / f"{ADAPTER}-{PARENT}.jsonl"
    lines = (json.dumps({"text": pair.transcript}) for pair in part(Domain.SUPPORT, Part.TRAIN))
    training.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    stage.traffic.log = stage.folder / "asked.jsonl"


def _tickets(before: Sight, sight: Sight) -> list[str]:
    """Messages since about the version in charge; what act 3 closed a minute ago opens again."""
    new = [m for m in sight.messages[len(before.messages) :] if m.subject == f"{ADAPTER}@{PARENT}"]
    return [m.status for m in new if m.status in {"started", "reopened"}]


def _asked(stage: Stage, known: set[int]) -> int | None:
    """The request that Driftline made by itself since."""
    new = [
        one.retraining
        for one in stage.client.retrainings()
        if one.adapter == ADAPTER and one.cause == "input" and one.retraining not in known
    ]
    return max(new, default=None)


def _train(stage: Stage, number: int, *words: str, waiting_for: str, **settings: object) -> int:
    """Run the trainer to its end; give its exit status."""
    environ = {
        "DRIFTLINE_URL": stage.dashboard,
        "DRIFTLINE_KEY": stage.key,
        "DRIFTLINE_SERVING__ENGINES": json.dumps([stage.engine.url]),
        "DRIFTLINE_TRAINER__COMMAND": json.dumps(
            [sys.executable, "-m", "examples.demo.owners_log", str(stage.traffic.log)]
        ),
        "DRIFTLINE_TRAINER__TRAINING": str(stage.folder / "{adapter}-{version}.jsonl"),
        "DRIFTLINE_TRAINER__INTO": str(stage.folder / "retrained"),
        **{f"DRIFTLINE_TRAINER__{name.upper()}": str(said) for name, said in settings.items()},
    }
    arguments = ["monitor", "retraining", "run", str(number), *words, "-c", str(stage.config)]
    trainer = stage.processes.start(
        f"trainer-{len(words)}", arguments, environ=environ, lasting=False
    )
    stage.watch(waiting_for, seconds=TRAINED_S, until=lambda _: not trainer.alive)
    stage.narrator.say(trainer.tail(1))
    trainer.stop()
    return trainer.handle.returncode


def _learn(stage: Stage, result: ActResult, number: int, *, changed: float) -> str | None:
    """Train, and put the new version before half of the users; give its name."""
    began = time.monotonic()
    stage.narrator.say(
        "a trainer beside the service fetches the new questions from the owner's log, mixes in a"
        f" tenth to a fifth of earlier training, and goes on from {PARENT}'s weights"
    )
    status = _train(stage, number, waiting_for="until the new version is admitted")
    result.took("retraining to admission", time.monotonic() - began)
    training = next(one.training for one in stage.client.retrainings() if one.retraining == number)
    made = training.made if training else None
    result.check("a version was trained and admitted", status == 0 and made, seen=status)
    if made is not None:
        took = stage.client.trained_for(ADAPTER, made)
        result.check("the training took less than two minutes", took < FASTER_S, seen=f"{took} s")
    if status != 0 or made is None:
        return None
    canary = next(one for one in stage.client.canaries() if one.version == made)
    seen = stage.watch(
        "until the canary is decided", seconds=DECIDED_S, until=signs.canary_over(canary.canary)
    ).sight
    phase = next(one.phase for one in seen.canaries if one.canary == canary.canary)
    result.check(
        "it was tried on half of the users, and promoted", phase == "succeeded", seen=phase
    )
    result.took("new topic to promotion", time.monotonic() - changed)
    return made if phase == "succeeded" else None


def _check_learned(stage: Stage, result: ActResult, made: str) -> None:
    quiet = stage.watch(
        f"until {ADAPTER}@{made} is stable on its own reference",
        seconds=QUIET_S,
        until=signs.every(signs.answered_by(ADAPTER, made), signs.quiet(ADAPTER)),
    )
    state = quiet.sight.adapters[ADAPTER].state
    by_input = state.verdict_of("input_similarity")
    result.check("the new questions are no news any more", quiet.met, seen=by_input)
    low, high = _costs(stage, made, NEW_TOPIC)
    seen = f"{low:+.3f} to {high:+.3f} nats per token"
    result.check("answers on the new topic cost it surely less", high < 0.0, seen=seen)
    low, high = _costs(stage, made, Domain.SUPPORT)
    seen = f"{low:+.3f} to {high:+.3f} nats per token"
    result.check(
        f"the old one costs surely less than {FORGOTTEN} more", high < FORGOTTEN, seen=seen
    )


def _costs(stage: Stage, made: str, domain: Domain) -> tuple[float, float]:
    """By how many nats per token held-out texts cost the new version more; 95 % interval."""
    texts = [pair.transcript for pair in part(domain, Part.HELD_OUT)[:READ]]
    new, old = (_nlls(stage, version, texts) for version in (made, PARENT))
    differ = [one - other for one, other in zip(new, old, strict=True)]
    half = NORMAL_95 * stdev(differ) / math.sqrt(len(differ))
    return mean(differ) - half, mean(differ) + half


def _nlls(stage: Stage, version: str, texts: Sequence[str]) -> list[float]:
    return [mean(tokens) for tokens in stage.engine.read(f"{ADAPTER}@{version}", texts)]


def _check_forgetful(stage: Stage, result: ActResult, number: int) -> None:
    stage.narrator.say(
        "once more, in a hurry: without any earlier training in the mix, at eight times the rate"
    )
    status = _train(
        stage,
        number,
        "--again",
        waiting_for="until the forgetful version is refused",
        replay=0.0,
        learning_rate=HURRY,
        then="nothing",
    )
    one = next(one for one in stage.client.retrainings() if one.retraining == number)
    note = one.training.note if one.training else ""
    refused = status == REFUSED and "earlier: earlier texts cost" in note
    result.check("one that forgot the old topic is refused for that", refused, seen=note)
