"""Live traffic: users who ask, a router that follows the route table, records that are sent.

Everything runs on one event loop in a thread of its own, so that the narrator never waits.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any, Final, Self
from uuid import uuid4

import httpx2
import msgspec

from examples.demo.cast import REQUESTS_PER_SECOND, domain_of
from examples.demo.driftline_client import Arm, Route
from examples.demo.engine_client import completion_request, read_replies
from examples.demo.questions import Questions
from examples.demo.records import record
from examples.demo.route_book import RouteBook
from examples.demo.tally import Tally

LONG_POLL_S: Final = 30
SEND_EVERY_S: Final = 0.5
MOST_RECORDS: Final = 500
PAUSE_S: Final = 1.0
"""After a failed call to Driftline: the last route stays in force, records wait."""


class Traffic:
    """Users of all adapters, from entering the context to leaving it.

    Attributes
    ----------
    questions
        What the users of each adapter ask; set a topic to change it.
    tally
        Who answered lately.
    routes
        The routes that the router follows.
    failure
        Why the traffic stopped by itself, or None.
    """

    def __init__(self, *, engine_url: str, driftline_url: str, key: str) -> None:
        self.questions = {
            adapter: Questions(domain_of(adapter), seed=seed)
            for seed, adapter in enumerate(REQUESTS_PER_SECOND)
        }
        self.tally = Tally()
        self.routes = RouteBook()
        self.failure: BaseException | None = None
        self._engine_url = engine_url
        self._driftline_url = driftline_url
        self._key = key
        self._waiting: deque[dict[str, Any]] = deque(maxlen=20 * MOST_RECORDS)
        self._random = Random()  # noqa: S311 - draws arms and pauses, not secrets
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
        headers = {"authorization": f"Bearer {self._key}"}
        async with (
            httpx2.AsyncClient(base_url=self._engine_url, timeout=30.0) as engine,
            httpx2.AsyncClient(
                base_url=f"{self._driftline_url}/v1", headers=headers, timeout=LONG_POLL_S + 10
            ) as driftline,
            _Ending() as tasks,
        ):
            for adapter, rate in REQUESTS_PER_SECOND.items():
                tasks.start(self._follow(adapter, driftline))
                tasks.start(self._ask_for_ever(adapter, rate=rate, engine=engine))
            tasks.start(self._send_for_ever(driftline))
            while not self._stop.is_set():
                tasks.raise_failed()
                await asyncio.sleep(0.1)

    async def _follow(self, adapter: str, driftline: httpx2.AsyncClient) -> None:
        """Long-poll the route table; the last good route holds while that fails."""
        etag = ""
        while True:
            try:
                answer = await driftline.get(
                    f"/routes/{adapter}",
                    params={"wait": LONG_POLL_S},
                    headers={"if-none-match": etag} if etag else {},
                )
            except httpx2.TransportError:
                await asyncio.sleep(PAUSE_S)
                continue
            if answer.is_success:
                self.routes.update(msgspec.json.decode(answer.content, type=Route))
                etag = answer.headers["etag"]
            elif answer.status_code != httpx2.codes.NOT_MODIFIED:
                await asyncio.sleep(PAUSE_S)

    async def _ask_for_ever(self, adapter: str, *, rate: float, engine: httpx2.AsyncClient) -> None:
        """Let users come at random times, ``rate`` a second on average."""
        async with _Ending() as asked:
            while True:
                await asyncio.sleep(self._random.expovariate(rate))
                asked.raise_failed()
                arm = self.routes.choose(adapter, draw=self._random.random(), now=datetime.now(UTC))
                if arm is not None:
                    asked.start(self._ask(adapter, arm, engine))

    async def _ask(self, adapter: str, arm: Arm, engine: httpx2.AsyncClient) -> None:
        prompt = next(self.questions[adapter])
        clock = asyncio.get_running_loop().time
        began = clock()
        body = completion_request(arm.model, [prompt])
        try:
            answer = await engine.post("/v1/completions", json=body)
        except httpx2.TransportError:
            self.tally.add_failure()
            return
        if answer.is_error:
            self.tally.add_failure()
            return
        (reply,) = read_replies(answer.json(), latency_ms=1e3 * (clock() - began))
        self.tally.add(adapter, arm.version)
        written = record(record_id=uuid4().hex, prompt=prompt, reply=reply, at=datetime.now(UTC))
        self._waiting.append({"adapter": adapter, **_answered_by(arm), **written})

    async def _send_for_ever(self, driftline: httpx2.AsyncClient) -> None:
        """Send what waits; what Driftline did not acknowledge is sent again, ids unchanged."""
        while True:
            await asyncio.sleep(SEND_EVERY_S)
            count = min(len(self._waiting), MOST_RECORDS)
            batch = [self._waiting.popleft() for _ in range(count)]
            if batch and not await _send(batch, driftline):
                self._waiting.extendleft(reversed(batch))
                await asyncio.sleep(PAUSE_S)


async def _send(batch: list[dict[str, Any]], driftline: httpx2.AsyncClient) -> bool:
    """Whether Driftline has acknowledged the records."""
    try:
        answer = await driftline.post("/records", json={"records": batch})
    except httpx2.TransportError:
        return False
    if answer.status_code in _TRY_AGAIN:
        return False
    _require_taken(answer)
    return True


_TRY_AGAIN: Final = frozenset({429, 500, 502, 503, 504})


def _answered_by(arm: Arm) -> dict[str, str]:
    return {"version": arm.version, "arm": arm.arm}


def _require_taken(answer: httpx2.Response) -> None:
    """Raise if any record was refused: that would be a mistake of the demo's."""
    answer.raise_for_status()
    outcome: Mapping[str, Any] = answer.json()
    if outcome["rejected"] or outcome["sampled_out"]:
        raise RuntimeError(f"records were not kept: {outcome}")


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
