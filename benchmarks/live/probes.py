"""Perplexity probes on a real vLLM: their cost alone, several at once, and beside clients."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import httpx2

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from benchmarks.adapters.base import base_folder
from benchmarks.adapters.engine import Engine, start_engine, wait_for
from benchmarks.adapters.stage import model_of, served
from benchmarks.adapters.tasks import TASKS, task
from benchmarks.adapters.ways.way import Setup
from monitor.probes.corpus import load_corpus
from monitor.probes.engine import ProbedEngine
from monitor.probes.engines import EngineKind, Replica
from monitor.probes.perplexity import LARGEST_ANSWER, PerplexitySettings
from monitor.probes.prompt_logprobs import PerplexitySource, asking
from monitor.probes.restraint import Restraint
from monitor.probes.share import SHARE

SEED: Final = 7
AT_ONCE: Final = 4
"""Adapters of one batch: what the engine is started with (``--max-loras``)."""
CLIENTS: Final = 8
MAX_TOKENS: Final = 16
PHASE_S: Final = 45.0
ROUNDS: Final = 3
SHARES: Final = (0.0, SHARE, 1.0)
"""Parts of the engine's time that probes take while clients ask."""
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeCosts:
    """The cost of probes on one engine.

    alone, documents_at_once, adapters_at_once
        Seconds of one probe of an adapter: one document after the other, four of its documents at
        a time, and a document of four adapters at a time.
    cached
        Prompt tokens that the engine took from its prefix cache when it read the same corpus again.
    throughput
        Tokens a second of clients' answers, in each round, by the share of time that probes took.
    """

    engine: str
    documents: int
    alone: float
    documents_at_once: float
    adapters_at_once: float
    cached: int
    throughput: dict[str, list[float]]


def measure(cache: Path, log: Path, *, say: Say) -> ProbeCosts:
    """Start a vLLM with six adapters and measure; about ten minutes, without the training."""
    base = base_folder(cache)
    adapters = served(cache, base, TASKS)
    say("the engine starts")
    with start_engine(Setup(model=base), adapters, log=log) as engine:
        wait_for(engine, model_of(TASKS[0], "v2"))
        models = list(adapters)[:AT_ONCE]
        texts = [document.text for document in load_corpus().documents]
        for model in models:
            _probe(engine, model, texts[:2])
        say(f"{len(texts)} documents by each of {len(models)} adapters, one at a time")
        hits = engine.cache_hits
        alone = _seconds(lambda: [_probe(engine, model, texts) for model in models])
        say("the same, four documents at a time, then four adapters at a time")
        one_by_one = [[(model, text) for text in texts] for model in models]
        documents = _seconds(lambda: [_read(engine, pairs) for pairs in one_by_one])
        cached = engine.cache_hits - hits
        turns = [(model, text) for text in texts for model in models]
        together = _seconds(lambda: _read(engine, turns))
        return ProbeCosts(
            engine=engine.version,
            documents=len(texts),
            alone=alone / len(models),
            documents_at_once=documents / len(models),
            adapters_at_once=together / len(models),
            cached=cached,
            throughput=_throughput(engine, list(adapters), texts, say=say),
        )


def _throughput(
    engine: Engine, models: Sequence[str], texts: Sequence[str], *, say: Say
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {f"{share:g}": [] for share in SHARES}
    for turn in range(ROUNDS):
        for share in (*SHARES[turn:], *SHARES[:turn]):
            engine.forget()  # the same questions come in each phase of a round
            say(f"{CLIENTS} clients for {PHASE_S:g} s, probes take {share:.0%} (round {turn + 1})")
            with _probing(engine, models, texts, share=share):
                found[f"{share:g}"].append(asyncio.run(_asked(engine.url, models, seed=turn)))
    return found


@contextmanager
def _probing(
    engine: Engine, models: Sequence[str], texts: Sequence[str], *, share: float
) -> Iterator[None]:
    """Probe in the background, with pauses that leave probes ``share`` of the time."""
    ended = threading.Event()

    def probe() -> None:
        turns = ((model, text) for text in itertools.cycle(texts) for model in models)
        for model, text in turns:
            began = time.monotonic()
            _probe(engine, model, [text])
            if ended.wait((time.monotonic() - began) * (1 / share - 1)):
                return

    thread = threading.Thread(target=probe, name="probes")
    if share:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if share:
            thread.join()


async def _asked(url: str, models: Sequence[str], *, seed: int) -> float:
    """Return the tokens a second that clients get, each asking as soon as it was answered."""
    tokens, until = 0, time.monotonic() + PHASE_S

    async def client(number: int) -> None:
        nonlocal tokens
        chance = Random(f"{seed}/{number}")  # noqa: S311 - no secret
        while time.monotonic() < until:
            model = chance.choice(models)
            question = chance.choice(task(model.partition("@")[0]).live).prompt
            reply = await http.post(
                "/v1/chat/completions",
                json={
                    "model": model,
                    "messages": [{"role": "user", "content": question}],
                    "max_tokens": MAX_TOKENS,
                    "temperature": 0.7,
                },
            )
            tokens += reply.raise_for_status().json()["usage"]["completion_tokens"]

    began = time.monotonic()
    async with (
        httpx2.AsyncClient(base_url=url, timeout=300.0, trust_env=False) as http,
        asyncio.TaskGroup() as group,
    ):
        for number in range(CLIENTS):
            group.create_task(client(number))
    return tokens / (time.monotonic() - began)


def _probe(engine: Engine, model: str, texts: Sequence[str]) -> int:
    """Read texts as a probe of the service does; return how many."""
    policy = OutgoingPolicy(allow=("127.0.0.0/8",), response_limit=LARGEST_ANSWER, timeout=60.0)
    probed = ProbedEngine(
        Replica(url=engine.url, name=engine.url, parent="base", kind=EngineKind.VLLM),
        model=model,
        http=OutgoingClient(policy),
        settings=PerplexitySettings(),
        turn=Restraint().of(engine.url),
    )
    for text in texts:
        if probed.ask(text) is None:
            raise RuntimeError(f"{model} did not read a document of {len(text)} characters")
    return len(texts)


def _read(engine: Engine, pairs: Sequence[tuple[str, str]]) -> int:
    """Read each text by its model, :data:`AT_ONCE` at a time; return how many."""

    async def read() -> None:
        limits = httpx2.Limits(max_connections=AT_ONCE)
        async with httpx2.AsyncClient(
            base_url=engine.url, timeout=300.0, trust_env=False, limits=limits
        ) as http:
            for begin in range(0, len(pairs), AT_ONCE):
                async with asyncio.TaskGroup() as group:
                    for model, text in pairs[begin : begin + AT_ONCE]:
                        group.create_task(_sent(http, model, text))

    asyncio.run(read())
    return len(pairs)


async def _sent(http: httpx2.AsyncClient, model: str, text: str) -> None:
    question = asking(PerplexitySource.PROMPT_LOGPROBS, model=model, text=text)
    (await http.post(question.path, json=dict(question.body))).raise_for_status()


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
