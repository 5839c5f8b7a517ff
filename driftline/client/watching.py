"""Watch an ``openai`` client: each of its calls becomes a record.

The client's own methods are wrapped in place, so its type, and what calls return, stay the same. An
error in here is counted, and never seen by the application.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from driftline.client.calls import SOURCE, call_record
from driftline.client.sending import RecordSender
from driftline.formats.lines import split_model
from driftline.formats.responses import OUTPUT_LOGPROBS
from driftline.formats.streams import joined
from driftline.refusals import Refusals

C = TypeVar("C")

Names = Callable[[str], tuple[str | None, str | None]]

TOP_LOGPROBS: Final = 5
"""Enough for entropy and margin; every record of an adapter should have the same."""

_OF_CHAT: Final = {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
_OF_RESPONSES: Final = {"include": [OUTPUT_LOGPROBS], "top_logprobs": TOP_LOGPROBS}
METHODS: Final[Sequence[tuple[str, str, Mapping[str, object]]]] = (
    ("chat.completions", "create", _OF_CHAT),
    ("chat.completions", "parse", _OF_CHAT),
    ("completions", "create", {"logprobs": TOP_LOGPROBS}),
    ("responses", "create", _OF_RESPONSES),
    ("responses", "parse", _OF_RESPONSES),
)
"""Each with the arguments that ask for log-probabilities."""

_ABSENT: Final = frozenset({"NotGiven", "Omit"})
_BAD_REQUEST: Final = 400
_FAILED: Final = 500


def watch(
    client: C,
    *,
    url: str | None = None,
    key: str | None = None,
    sender: RecordSender | None = None,
    logprobs: bool = True,
    names: Names = split_model,
) -> C:
    """Record the calls of an ``openai`` client, sync or async, and return the client itself.

    Parameters
    ----------
    client
        Its :data:`METHODS` are wrapped; copies made by ``with_options`` are not watched.
    url, key
        Of the service; see :class:`RecordSender`. Give one ``sender`` to several clients instead.
    logprobs
        True to ask for log-probabilities where a call does not: without them Driftline sees half.
        If the engine refuses them, the call is made as it was, and for some time so are others.
    names
        Finds adapter and version in a model's name, by default at ``@``; without an adapter there
        is no record.
    """
    watched = _Watch(sender or RecordSender(url, key), names=names, asks=logprobs)
    for path, method, wish in METHODS:
        resource: Any = client
        for name in path.split("."):
            resource = getattr(resource, name, None)
        original = getattr(resource, method, None)
        if callable(original):
            setattr(resource, method, watched.wrapped(original, wish))
    return client


@dataclass(slots=True, eq=False)
class _Call:
    """One call on its way; ``added`` are our arguments, which the application does not know."""

    request: Mapping[str, Any]
    added: Mapping[str, object]
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    began: float = field(default_factory=time.perf_counter)
    first: float | None = None
    chunks: list[Any] = field(default_factory=list)

    def take(self, chunk: Any) -> None:
        if self.first is None:
            self.first = time.perf_counter()
        self.chunks.append(chunk)


class _Watch:
    def __init__(self, sender: RecordSender, *, names: Names, asks: bool) -> None:
        self._sender = sender
        self._names = names
        self._asks = asks
        self._refusals = Refusals()

    def wrapped(
        self, original: Callable[..., Any], wish: Mapping[str, object]
    ) -> Callable[..., Any]:
        """Wrap one method of the client."""
        if inspect.iscoroutinefunction(inspect.unwrap(original)):

            @functools.wraps(original)
            async def later(*args: Any, **kwargs: Any) -> Any:
                call = self._begun(kwargs, wish)
                try:
                    try:
                        answer = await original(*args, **{**kwargs, **call.added})
                    except Exception as error:
                        if not _may_be_ours(error, call):
                            raise
                        answer = await original(*args, **kwargs)
                        self._refused(call)
                except Exception as error:
                    self._failed(call, error)
                    raise
                return self._answered(call, answer)

            return later

        @functools.wraps(original)
        def at_once(*args: Any, **kwargs: Any) -> Any:
            call = self._begun(kwargs, wish)
            try:
                try:
                    answer = original(*args, **{**kwargs, **call.added})
                except Exception as error:
                    if not _may_be_ours(error, call):
                        raise
                    answer = original(*args, **kwargs)
                    self._refused(call)
            except Exception as error:
                self._failed(call, error)
                raise
            return self._answered(call, answer)

        return at_once

    def _begun(self, kwargs: Mapping[str, Any], wish: Mapping[str, object]) -> _Call:
        model = kwargs.get("model")
        asks = self._asks and isinstance(model, str) and not self._refusals.holds(model)
        own = any(_is_given(kwargs.get(name)) for name in wish)
        return _Call(kwargs, wish if asks and not own else {})

    def _refused(self, call: _Call) -> None:
        """Leave log-probabilities off for some time: without them the engine answered."""
        call.added = {}
        self._refusals.note(call.request["model"])

    def _answered(self, call: _Call, answer: Any) -> Any:
        """Record a whole answer, or tap a stream; the answer goes on as it is."""
        if call.added:
            self._refusals.forget(call.request["model"])
        inner = getattr(answer, "_iterator", None)
        if inner is None:
            self._harmless(lambda: self._record(call, _dumped(answer)))
        elif hasattr(inner, "__anext__"):
            answer._iterator = self._tapped_later(call, inner)  # noqa: SLF001 (so its type stays)
        else:
            answer._iterator = self._tapped(call, inner)  # noqa: SLF001 (so its type stays)
        return answer

    def _tapped(self, call: _Call, chunks: Iterator[Any]) -> Iterator[Any]:
        with self._tapping(call):
            for chunk in chunks:
                call.take(chunk)
                yield chunk

    async def _tapped_later(self, call: _Call, chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        with self._tapping(call):
            async for chunk in chunks:
                call.take(chunk)
                yield chunk

    @contextmanager
    def _tapping(self, call: _Call) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._failed(call, error)
            raise
        except GeneratorExit:
            self._sender.count("unread")
            raise
        self._harmless(lambda: self._stream_over(call))

    def _stream_over(self, call: _Call) -> None:
        chunks = [_dumped(chunk) for chunk in call.chunks]
        about = chunks[0] if chunks else {}
        self._record(call, {"id": about.get("id"), "model": about.get("model"), **joined(chunks)})

    def _failed(self, call: _Call, error: Exception) -> None:
        code = getattr(error, "status_code", None)
        status = code if isinstance(code, int) else _FAILED
        self._harmless(lambda: self._record(call, {}, status=status))

    def _record(self, call: _Call, answer: Mapping[str, Any], *, status: int = 200) -> None:
        ended = time.perf_counter()
        request = _plain(call.request)
        told = (answer.get("model"), request.get("model"))
        found = [self._names(model) for model in told if isinstance(model, str)]
        found.sort(key=lambda named: named[1] is None)  # a version's name says more
        adapter, version = next((one for one in found if one[0] is not None), (None, None))
        if adapter is None:
            return
        first = None if call.first is None else 1e3 * (call.first - call.began)
        record = call_record(
            request,
            answer,
            at=call.at,
            latency_ms=1e3 * (ended - call.began),
            ttft_ms=first,
            status=status,
        )
        names = {"adapter": adapter} | ({} if version is None else {"version": version})
        self._sender.add({**record, **names, "source": SOURCE})

    def _harmless(self, record: Callable[[], None]) -> None:
        try:
            record()
        except Exception:  # noqa: BLE001 (the application's call comes first)
            self._sender.count("unread")


def _may_be_ours(error: Exception, call: _Call) -> bool:
    """True if the engine may have refused what only we asked for."""
    return bool(call.added) and getattr(error, "status_code", None) == _BAD_REQUEST


def _is_given(value: object) -> bool:
    return value is not None and type(value).__name__ not in _ABSENT


def _plain(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call's arguments as the JSON that the client sends."""
    body = {name: _as_json(one) for name, one in request.items() if name != "extra_body"}
    more = request.get("extra_body")
    given = body | (dict(more) if isinstance(more, Mapping) else {})
    return {name: one for name, one in given.items() if type(one).__name__ not in _ABSENT}


def _as_json(value: Any) -> Any:
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return _dumped(value)
    if isinstance(value, list | tuple):
        return [_as_json(one) for one in value]
    return value


def _dumped(model: Any) -> Any:
    # pydantic 2 warns of the object that `parse` read, and pydantic 1 knows no such argument
    quiet = {"warnings": False} if hasattr(model, "__pydantic_serializer__") else {}
    return model.model_dump(mode="json", **quiet)
