"""What the gateway adds to a request, beside the least that a proxy can add.

Wall time, unlike most rows: what a client waits for. All ways take turns request by request
in one run, so what else the machine does falls on all alike; figures are medians of the
differences within a turn. Every order comes as often as every other, with a rest before each
request, so that none pays for what another leaves behind; what the gateway does later for many
answers together, as writing records, falls on all ways alike.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import permutations
from statistics import median, quantiles

import aiohttp

from benchmarks.gateway_peers import PLAIN, SAMPLED, WORDS
from benchmarks.row import Figure, Row, at_most

TURNS = 300
WARM_UP = 30
REST_SECONDS = 0.005
"""Before each request: what ends a connection's turn in all processes is done by then."""
STREAMS = 50
ROUNDS = 3
"""Of the longest wait the median counts: what the machine does once is not the gateway's."""
PATIENCE_SECONDS = 60.0
PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A request; ``sampled``: engine and raw proxy are asked for the log-probabilities too."""

    name: str
    stream: bool
    sampled: bool

    def body(self, way: str) -> bytes:
        """Write it; by the gateway the wish for log-probabilities is not the client's."""
        asked = {"model": SAMPLED if self.sampled else PLAIN, "messages": [], "stream": self.stream}
        if self.sampled and way != "gateway":
            asked |= {"logprobs": True, "top_logprobs": 5}
        return json.dumps(asked).encode()


KINDS = (
    Kind(name="JSON", stream=False, sampled=False),
    Kind(name="stream", stream=True, sampled=False),
    Kind(name="JSON, sampled", stream=False, sampled=True),
    Kind(name="stream, sampled", stream=True, sampled=True),
)


def run() -> Sequence[Row]:
    """Start engine, raw proxy and gateway as processes of their own and ask them in turns."""
    with ExitStack() as stack:
        engine = stack.enter_context(_process("engine"))
        ways = {
            "direct": engine,
            "raw": stack.enter_context(_process("raw", engine)),
            "gateway": stack.enter_context(_process("gateway", engine)),
        }
        return asyncio.run(_measure(ways))


async def _measure(ways: Mapping[str, str]) -> list[Row]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        await _until_sampled(session, ways["gateway"])
        rows = [_row(kind, await _turns(session, ways, kind)) for kind in KINDS]
        gaps: dict[str, list[float]] = {"direct": [], "gateway": []}
        for _ in range(ROUNDS):
            for way, found in gaps.items():
                found.append(await _longest_gap(session, ways[way]))
    return [*rows, _gap_row({way: median(found) for way, found in gaps.items()})]


async def _turns(
    session: aiohttp.ClientSession, ways: Mapping[str, str], kind: Kind
) -> dict[str, list[float]]:
    """Milliseconds of each request, by way."""
    spent: dict[str, list[float]] = {way: [] for way in ways}
    orders = list(permutations(ways))
    for turn in range(-WARM_UP, TURNS):
        for way in orders[turn % len(orders)]:
            await asyncio.sleep(REST_SECONDS)
            begin = time.perf_counter()
            await _ask(session, ways[way], kind.body(way))
            if turn >= 0:
                spent[way].append(1e3 * (time.perf_counter() - begin))
    return spent


async def _ask(session: aiohttp.ClientSession, url: str, body: bytes) -> bytes:
    headers = {"content-type": "application/json"}
    async with session.post(url + PATH, data=body, headers=headers) as answer:
        said = await answer.read()
    if not answer.ok or said.count(b"word31") < 1:
        raise RuntimeError(f"{url} answered {answer.status}: {said[:200]!r}")
    return said


async def _until_sampled(session: aiohttp.ClientSession, url: str) -> None:
    """Wait until the gateway has learned routes and shares."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    kind = KINDS[2]
    while True:
        async with session.get(f"{url}/metrics") as answer:
            sent = 'driftline_gateway_records_total{adapter="sampled",outcome="sent"}'
            if sent in await answer.text():
                break
        if time.monotonic() > deadline:
            raise RuntimeError("the gateway does not sample")
        said = await _ask(session, url, kind.body("gateway"))
        if b"top_logprobs" in said:
            raise RuntimeError("log-probabilities were shown to a client that did not ask")
        await asyncio.sleep(0.2)


async def _longest_gap(session: aiohttp.ClientSession, url: str) -> float:
    """Longest wait for the next piece, in milliseconds, of streams at the same time."""
    asked = {"model": PLAIN, "messages": [], "stream": True, "user": "slow"}

    async def stream() -> float:
        async with session.post(url + PATH, json=asked) as answer:
            last, longest = time.perf_counter(), 0.0
            async for _ in answer.content.iter_any():
                now = time.perf_counter()
                last, longest = now, max(longest, now - last)
            return longest

    return 1e3 * max(await asyncio.gather(*(stream() for _ in range(STREAMS))))


def _row(kind: Kind, spent: Mapping[str, list[float]]) -> Row:
    added = {way: _differences(spent, way) for way in ("raw", "gateway")}
    ours, limit = median(added["gateway"]), median(added["raw"])
    tails = {way: quantiles(found, n=100)[98] for way, found in added.items()}
    return Row(
        number=14,
        metric=f"added to a request by the gateway, {kind.name}",
        ours=Figure(what="gateway", value=ours, unit="ms"),
        goals=(at_most("1.5 × the raw proxy", value=ours / limit, ceiling=1.5, unit="×"),),
        limit=Figure(what="raw ASGI + aiohttp", value=limit, unit="ms"),
        note=f"p50 of {TURNS} turns, answers of {len(WORDS)} tokens; asked directly"
        f" {median(spent['direct']):.2f} ms. p99 of what is added: {tails['gateway']:.1f} ms,"
        f" raw {tails['raw']:.1f} ms.",
    )


def _differences(spent: Mapping[str, list[float]], way: str) -> list[float]:
    return [one - direct for one, direct in zip(spent[way], spent["direct"], strict=True)]


def _gap_row(gaps: Mapping[str, float]) -> Row:
    return Row(
        number=14,
        metric=f"{STREAMS} streams at once through the gateway, an event each 20 ms",
        ours=Figure(what="longest wait for an event", value=gaps["gateway"], unit="ms"),
        goals=(at_most("500 ms: none stalls", value=gaps["gateway"], ceiling=500.0, unit="ms"),),
        limit=Figure(what="asked directly", value=gaps["direct"], unit="ms"),
    )


@contextmanager
def _process(role: str, *more: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "benchmarks.gateway_peers", role, str(port), *more]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"nothing listens at {port}") from None
            time.sleep(0.05)
        else:
            return
