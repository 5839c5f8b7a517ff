"""Write a log to try ``driftline replay`` with, as a proxy would have written it.

A folder gets three files: ``training.txt`` (what the adapter learned from), ``baseline.jsonl``
(two weeks of approved traffic) and ``log.jsonl`` (three quiet days, then one on which every
third question is about something else). Lines are OpenAI requests with their responses;
log-probabilities are drawn at random, no model is asked::

    python -m examples.replay_log trial
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any, Final

from examples.texts import NEW_TOPIC, Domain, Pair, Part, part

BEGIN: Final = datetime(2026, 10, 1, tzinfo=UTC)
BASELINE: Final = (timedelta(days=14), 1_050)
QUIET: Final = (timedelta(days=3), 360)
DRIFTED: Final = (timedelta(days=1), 120)
TRAINING: Final = 400
OTHER_TOPIC_EVERY: Final = 3
MODEL: Final = "support@v7"


def line(pair: Pair, at: datetime, random: Random, *, number: int) -> dict[str, Any]:
    """One request with its response."""
    return {
        "id": f"request-{number}",
        "at": at.isoformat(),
        "latency_ms": round(random.gammavariate(8.0, 25.0), 1),
        "request": {
            "model": MODEL,
            "messages": [{"role": "user", "content": pair.prompt}],
            "temperature": 0.7,
            "max_tokens": 128,
            "user": f"user-{random.randrange(400)}",
        },
        "response": _response(pair, at, random),
    }


def _response(pair: Pair, at: datetime, random: Random) -> dict[str, Any]:
    surprise = random.gammavariate(4.0, 0.1)
    tokens = [_token(word, random.expovariate(1.0 / surprise)) for word in pair.answer.split()]
    return {
        "object": "chat.completion",
        "created": int(at.timestamp()),
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": pair.answer},
                "logprobs": {"content": tokens},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": len(pair.prompt.split()), "completion_tokens": len(tokens)},
    }


def _token(word: str, nll: float) -> dict[str, Any]:
    best = [{"token": word, "logprob": -nll}, {"token": "…", "logprob": -nll - 1.5}]
    return {"token": word, "logprob": -nll, "top_logprobs": best}


def traffic(
    pairs: Sequence[Pair], begin: datetime, over: timedelta, random: Random
) -> Iterator[tuple[Pair, datetime]]:
    """Ask each question at a random moment of the time, in order."""
    moments = sorted(random.random() for _ in pairs)
    return ((pair, begin + place * over) for pair, place in zip(pairs, moments, strict=True))


def drifted(count: int) -> list[Pair]:
    """The usual questions, with every third one about another topic."""
    usual = part(Domain.SUPPORT, Part.LIVE)[QUIET[1] :][:count]
    other = part(NEW_TOPIC, Part.LIVE)[:count]
    return [
        new if number % OTHER_TOPIC_EVERY == 0 else old
        for number, (old, new) in enumerate(zip(usual, other, strict=True))
    ]


def write(folder: Path, *, seed: int) -> None:
    """Write the three files."""
    random = Random(seed)  # noqa: S311 - a made-up log
    folder.mkdir(parents=True, exist_ok=True)
    learned = [pair.prompt for pair in part(Domain.SUPPORT, Part.TRAIN)[:TRAINING]]
    (folder / "training.txt").write_text("\n".join(learned) + "\n", encoding="utf-8")
    start = BEGIN + BASELINE[0]
    normal = traffic(part(Domain.SUPPORT, Part.HELD_OUT)[: BASELINE[1]], BEGIN, BASELINE[0], random)
    quiet = traffic(part(Domain.SUPPORT, Part.LIVE)[: QUIET[1]], start, QUIET[0], random)
    late = traffic(drifted(DRIFTED[1]), start + QUIET[0], DRIFTED[0], random)
    for name, told in (("baseline.jsonl", normal), ("log.jsonl", chain(quiet, late))):
        lines = (line(pair, at, random, number=n) for n, (pair, at) in enumerate(told))
        body = "".join(json.dumps(one) + "\n" for one in lines)
        (folder / name).write_text(body, encoding="utf-8")


def main() -> None:
    """Write the files of a trial."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    write(given.folder, seed=given.seed)


if __name__ == "__main__":
    main()
