"""Sample a share of requests: ask for log-probabilities, record them, and hide them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from driftline.formats.responses import OUTPUT_LOGPROBS
from driftline.formats.shapes import mapping, sequence
from driftline.refusals import Refusals
from monitor.domain import SHADOWED, Arm
from monitor.gateway import records
from monitor.gateway.asked import RequestBody
from monitor.gateway.meters import Meters
from monitor.gateway.passing import CHAT, PLAIN, RESPONSES
from monitor.gateway.records import SeenAnswer
from monitor.gateway.settings import GatewaySettings
from monitor.gateway.shares import Shares
from monitor.gateway.taps import (
    StreamTap,
    Tap,
    WholeTap,
    cleaned,
    cleaned_events,
    payload,
    split,
    with_data,
)

_LOGPROBS: Final = b"logprobs"


def cleaned_response(document: bytes) -> bytes:
    """Empty a response's log-probabilities, and the echo of our request for them.

    >>> cleaned_response(b'{"top_logprobs":5,"output":[{"content":[{"logprobs":[1]}]}]}')
    b'{"top_logprobs":0,"output":[{"content":[{"logprobs":[]}]}]}'
    """
    if _LOGPROBS not in document:
        return document
    try:
        told = msgspec.json.decode(document)
    except (ValueError, RecursionError):
        return document
    for holder in _holders(told):
        if holder.get("logprobs"):
            holder["logprobs"] = []
        if holder.get("top_logprobs"):
            holder["top_logprobs"] = 0
    return msgspec.json.encode(told)


def cleaned_response_events(events: bytes) -> bytes:
    """Clean whole events of a stream."""
    if _LOGPROBS not in events:
        return events
    return b"".join(map(_cleaned_event, split(events)))


def _cleaned_event(event: bytes) -> bytes:
    data = payload(event)
    clean = cleaned_response(data)
    return event if clean == data else with_data(event, clean)


def _holders(told: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects that may hold them: a response, an event and their contents."""
    if not isinstance(told, dict):
        return
    yield told
    for inner in (told.get("response"), told.get("part"), told.get("item")):
        yield from _holders(inner)
    for item in (*sequence(told.get("output")), *sequence(told.get("content"))):
        yield from _holders(mapping(item))


_LOG: Final = structlog.get_logger(__name__)

COMPLETIONS: Final = frozenset({CHAT, PLAIN, RESPONSES})

MOST_UNWRITTEN: Final = 1_000
"""Answers that may wait to be written; more are dropped and counted."""

COUNTED: Final = "stream_options"
"""The option that makes a stream report its token count, as a plain answer always does."""

_OK: Final = 200


@dataclass(slots=True, kw_only=True)
class Sample:
    """A request that becomes a record; ``injected`` are our additions, unknown to the client."""

    id: str
    at: datetime
    adapter: str
    arm: Arm
    asked: RequestBody
    injected: Mapping[str, object]
    tap: Tap | None = None


class _Finished(NamedTuple):
    sample: Sample
    measured: SeenAnswer
    subject: str | None


@dataclass(slots=True, eq=False)
class Sampler:
    """Chooses samples, reads their answers, and queues the records; nothing waits for it."""

    settings: GatewaySettings
    _: KW_ONLY
    shares: Shares
    offer: Callable[[str, bytes], None]
    meters: Meters
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    refusals: Refusals = field(default_factory=Refusals)
    _finished: list[_Finished] = field(default_factory=list, init=False)
    _writing: asyncio.Task[None] | None = field(default=None, init=False)

    def begin(self, path: str, asked: RequestBody, *, adapter: str, arm: Arm) -> Sample | None:
        """Decide whether an attempt becomes a record; None if not."""
        if path not in COMPLETIONS:
            return None
        record_id = os.urandom(16).hex()
        if not self.shares.decide(adapter, arm, record_id):
            return None
        return self._sample(record_id, path, asked, adapter=adapter, arm=arm)

    def copied(self, original: Sample, path: str, arm: Arm) -> Sample:
        """Start the record of a shadow's copy; its id names the original's."""
        name = f"{original.id}{SHADOWED}"
        return self._sample(name, path, original.asked, adapter=original.adapter, arm=arm)

    def _sample(
        self, record_id: str, path: str, asked: RequestBody, *, adapter: str, arm: Arm
    ) -> Sample:
        return Sample(
            id=record_id,
            at=self.clock(),
            adapter=adapter,
            arm=arm,
            asked=asked,
            injected={}
            if self.refusals.holds(arm.model)
            else self._wish(path, asked) | _counted(path, asked),
        )

    def _wish(self, path: str, asked: RequestBody) -> dict[str, object]:
        """Return the members to add to a body that does not ask for log-probabilities."""
        k = self.settings.top_logprobs
        if path == CHAT:
            own = asked.value("logprobs") or asked.value("top_logprobs") is not None
            return {} if own else {"logprobs": True, "top_logprobs": k}
        if path == RESPONSES:
            own = asked.value("include") is not None or asked.value("top_logprobs") is not None
            return {} if own else {"include": [OUTPUT_LOGPROBS], "top_logprobs": k}
        # with echo, the prompt's tokens would be computed too, for nothing
        own = asked.value("logprobs") is not None or asked.value("echo")
        return {} if own else {"logprobs": k}

    def refused(self, model: str) -> None:
        """Remember that the engine refuses log-probabilities for this model, and for how long."""
        seconds = self.refusals.note(model)
        if seconds is not None:
            _LOG.warning("logprobs_refused", model=model, seconds=seconds)

    def tap(self, sample: Sample, status: int, headers: Mapping[str, str]) -> Tap | None:
        """Tap the answer; None if it has nothing to read, or cannot be read.

        ``headers`` must look names up in any case.
        """
        if status != _OK or headers.get("Content-Encoding", "identity") != "identity":
            return None
        kind = headers.get("Content-Type", "")
        strip = "logprobs" in sample.injected or "include" in sample.injected
        if strip:
            self.refusals.forget(sample.arm.model)
        if kind.startswith("text/event-stream"):
            clean = cleaned_response_events if "include" in sample.injected else cleaned_events
            uncount = COUNTED in sample.injected
            sample.tap = StreamTap(strip=strip, uncount=uncount, clean=clean)
        else:
            whole = cleaned_response if "include" in sample.injected else cleaned
            sample.tap = WholeTap(strip=strip, clean=whole)
        return sample.tap

    def finish(self, sample: Sample, measured: SeenAnswer, *, subject: str | None) -> None:
        """Have the record written and queued soon; nothing waits for it."""
        if len(self._finished) >= MOST_UNWRITTEN:
            self.meters.records.labels(sample.adapter, "dropped").inc()
            return
        self._finished.append(_Finished(sample, measured, subject))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def settle(self) -> None:
        """Return once every record is queued."""
        while self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _write(self) -> None:
        """Write finished answers in a thread, until none is left."""
        try:
            while self._finished:
                finished, self._finished = self._finished, []
                lines = await asyncio.to_thread(list, map(self._line, finished))
                for one, line in zip(finished, lines, strict=True):
                    if line is not None:
                        self.offer(one.sample.adapter, line)
        finally:
            self._writing = None

    def _line(self, one: _Finished) -> bytes | None:
        """Write one record; None if the engine's answer cannot be read."""
        sample = one.sample
        try:
            return records.line(
                record_id=sample.id,
                adapter=sample.adapter,
                arm=sample.arm,
                at=sample.at,
                request={name: sample.asked.value(name) for name in sample.asked.fields or ()},
                answer={} if sample.tap is None else sample.tap.answer(),
                measured=one.measured,
                subject=one.subject,
                with_text=self.settings.send_text,
            )
        except Exception as error:  # noqa: BLE001 (one of many, and others wait behind it)
            self.meters.records.labels(sample.adapter, "unreadable").inc()
            _LOG.warning("answer_unreadable", adapter=sample.adapter, error=type(error).__name__)
            return None


def _counted(path: str, asked: RequestBody) -> dict[str, object]:
    if path == RESPONSES:
        return {}  # the last event of a response has its token count
    if not asked.value("stream") or asked.value(COUNTED) is not None:
        return {}
    return {COUNTED: {"include_usage": True}}
