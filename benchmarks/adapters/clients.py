"""Clients of all adapters: each asks the gateway as an application would."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Self

import httpx2

from benchmarks.adapters.tasks import task
from benchmarks.adapters.ways.way import Ask, ChangesAsk, Moment

TEMPERATURE: Final = 0.7
MAX_TOKENS: Final = 16
USERS: Final = 60
FRESH: Final = 10
"""Healthy requests just before the fault."""
RATE: Final = 1.0
"""Requests a second of the adapter that is looked at, at the usual pace.

Half of what an engine on two cores can answer, so that probes have their turn.
"""
HEALTHY_RATE: Final = 5.0
"""Before the fault, when no time is measured."""
COMPANY_RATE: Final = 0.1
"""Requests a second of each other adapter."""
AT_ONCE: Final = 12


@dataclass(slots=True, kw_only=True)
class Answered:
    """What clients got."""

    asked: int = 0
    good: int = 0
    failed: int = 0
    hung_up: int = 0
    versions: dict[str, int] = field(default_factory=dict)

    def count(self, version: str) -> None:
        """Note one good answer."""
        self.good += 1
        self.versions[version] = self.versions.get(version, 0) + 1


def unchanged(ask: Ask, _: Moment) -> Ask:
    """As clients usually ask."""
    return ask


def in_new_order(adapter: str, chance: Random) -> Sequence[str]:
    """Give the questions of live traffic, each once.

    Of questions drawn again and again the few that there are would come many times, and what they
    differ by from the baseline's, by chance, would be seen as a change of the requests.
    """
    live = task(adapter).live
    return [pair.prompt for pair in chance.sample(live, len(live))]


def usual(question: str, chance: Random) -> Ask:
    """What a client usually asks."""
    return Ask(
        messages=({"role": "user", "content": question},),
        user=f"user-{chance.randrange(USERS)}",
        body={"temperature": TEMPERATURE, "max_tokens": MAX_TOKENS},
    )


def body_of(adapter: str, ask: Ask) -> dict[str, Any]:
    """What is sent of it."""
    return {"model": adapter, "messages": list(ask.messages), "user": ask.user, **ask.body}


class Clients:
    """Ask in the background, on a loop of their own."""

    def __init__(self, gateway: str, *, seed: int) -> None:
        self._gateway = gateway
        self._seed = seed
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="clients")

    def __enter__(self) -> Self:
        self._thread.start()
        self._http = self._wait(self._opened())
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self._http.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _opened(self) -> httpx2.AsyncClient:
        limits = httpx2.Limits(max_keepalive_connections=0)
        return httpx2.AsyncClient(base_url=self._gateway, timeout=300.0, limits=limits)

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(300)

    def start(self, run: Run) -> Future[None]:
        """Let clients of one adapter ask until the run has asked enough or is stopped."""
        return asyncio.run_coroutine_threadsafe(self._ask_all(run), self._loop)

    def stop(self, run: Run) -> None:
        """Let a run ask no more; its last answers may still come."""
        self._loop.call_soon_threadsafe(run.stopped.set)

    async def _ask_all(self, run: Run) -> None:
        chance = Random(f"{self._seed}/{run.adapter}/{run.part}")  # noqa: S311 - no secret
        under_way: set[asyncio.Task[None]] = set()
        moment_of = task(run.adapter)
        questions = in_new_order(run.adapter, chance)
        while await run.goes_on(chance.expovariate(run.rate * run.pace(run.answered.asked))):
            number = run.answered.asked
            while len(under_way) >= run.at_once:
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            moment = Moment(number=number, task=moment_of, chance=chance)
            ask = run.change(usual(questions[number % len(questions)], chance), moment)
            for _ in range(ask.times):
                run.answered.asked += 1
                made = asyncio.create_task(self._one(run, ask))
                under_way.add(made)
                made.add_done_callback(under_way.discard)
        if under_way:
            await asyncio.wait(under_way)

    async def _one(self, run: Run, ask: Ask) -> None:
        body = body_of(run.adapter, ask)
        try:
            answer = await asyncio.wait_for(
                self._http.post("/v1/chat/completions", json=body), ask.patience_s
            )
        except TimeoutError:
            run.answered.hung_up += 1
        except httpx2.TransportError:
            run.answered.failed += 1
        else:
            if answer.is_success:
                run.answered.count(answer.headers.get("x-driftline-version", ""))
            else:
                run.answered.failed += 1


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """Clients of one adapter for a while: so many requests, or until they are stopped."""

    adapter: str
    part: str
    """Runs of another part ask other questions."""
    requests: int | None = None
    rate: float = RATE
    at_once: int = AT_ONCE
    change: ChangesAsk = unchanged
    pace: Callable[[int], float] = lambda _: 1.0
    answered: Answered = field(default_factory=Answered)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def goes_on(self, after: float) -> bool:
        """Wait so many seconds for the next moment to ask; False if there is none."""
        if self.requests is not None and self.answered.asked >= self.requests:
            return False
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopped.wait(), after)
        return not self.stopped.is_set()


def told(answered: Answered) -> Mapping[str, Any]:
    """What clients got, for the results."""
    return {
        "asked": answered.asked,
        "good": answered.good,
        "failed": answered.failed,
        "hung_up": answered.hung_up,
        "versions": dict(answered.versions),
    }
