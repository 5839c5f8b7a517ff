"""Live traffic: users who ask the gateway for an adapter, and never know who answers.

Everything runs on one event loop in a thread of its own, so that the narrator never waits.
"""

import asyncio
import contextlib
import json
import threading
from pathlib import Path
from random import Random
from typing import Any, Final, Self

import httpx2

from examples.demo.cast import REQUESTS_PER_SECOND, domain_of
from examples.demo.engine_client import chat_request
from examples.demo.processes import FRESH
from examples.demo.questions import Questions
from examples.demo.tally import Tally

USERS: Final = 2_000
"""Of each adapter; a canary is shown to a share of them, always the same ones."""

AT_ONCE: Final = 6
"""Users of an adapter who wait for their answers at the same time: on a machine that answers
slowly others come later, or the engine would only ever work at its queue."""


class Traffic:
    """Users of all adapters, from entering the context to leaving it.

    Attributes
    ----------
    questions
        What the users of each adapter ask; set a topic to change it.
    rates
        Requests a second of each adapter; may be changed at any time.
    tally
        Who answered lately.
    log
        File that takes the id and the question of each request, as an application's log does;
        None: nobody keeps any.
    failure
        Why the traffic stopped by itself, or None.
    """

    def __init__(self, *, gateway_url: str) -> None:
        self.questions = {
            adapter: Questions(domain_of(adapter), seed=seed)
            for seed, adapter in enumerate(REQUESTS_PER_SECOND)
        }
        self.rates = dict(REQUESTS_PER_SECOND)
        self.tally = Tally()
        self.log: Path | None = None
        self.failure: BaseException | None = None
        self._gateway_url = gateway_url
        self._random = Random()  # noqa: S311 - draws users and pauses, not secrets
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:  # noqa: BLE001 - shown by whoever watches the traffic
            self.failure = error

    async def _live(self) -> None:
        async with (
            httpx2.AsyncClient(base_url=self._gateway_url, timeout=120.0, limits=FRESH) as gateway,
            _Ending() as tasks,
        ):
            for adapter in REQUESTS_PER_SECOND:
                tasks.start(self._ask_for_ever(adapter, gateway))
            while not self._stop.is_set():
                tasks.raise_failed()
                await asyncio.sleep(0.1)

    async def _ask_for_ever(self, adapter: str, gateway: httpx2.AsyncClient) -> None:
        """Let users come at random times, at the adapter's rate on average."""
        async with _Ending() as asked:
            while True:
                await asyncio.sleep(self._random.expovariate(self.rates[adapter]))
                asked.raise_failed()
                if asked.running < AT_ONCE:
                    asked.start(self._ask(adapter, gateway))

    async def _ask(self, adapter: str, gateway: httpx2.AsyncClient) -> None:
        user = f"user-{self._random.randrange(USERS)}"
        question = next(self.questions[adapter])
        body = chat_request(adapter, question, user=user)
        try:
            answer = await gateway.post("/v1/chat/completions", json=body)
        except httpx2.TransportError:
            self.tally.add_failure()
            return
        if answer.is_error:
            self.tally.add_failure()
            return
        self.tally.add(adapter, answer.headers["x-driftline-version"])
        record = answer.headers.get("x-driftline-record")
        if self.log is not None and record is not None:
            with self.log.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"id": record, "prompt": question}) + "\n")


class _Ending:
    """Tasks that are cancelled and awaited when their context ends."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: list[BaseException] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        running = tuple(self._tasks)
        for task in running:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*running, return_exceptions=True)

    @property
    def running(self) -> int:
        """How many have not ended."""
        return len(self._tasks)

    def start(self, work: Any) -> None:
        """Start a coroutine."""
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def raise_failed(self) -> None:
        """Raise what the first failed task raised."""
        if self._failed:
            raise self._failed[0]

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed.append(error)
