"""How likely a fixed corpus is to the model that is being *served*.

A monitor must not take serving down: one request at a time, nothing while the engine
queues, and the first sign of trouble (a 5xx, a timeout, a lost connection) ends the run.
Some engines crash on prompt logprobs beside other requests; nothing is ever retried here.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final, Protocol

from alerts.outgoing import OutgoingError, Reply
from monitor.probes import prompt_logprobs
from monitor.probes.corpus import Corpus, Document
from monitor.probes.errors import ModelNotServed, ProbeFailed
from monitor.probes.prompt_logprobs import NoPromptLogprobs, PerplexitySource, TextScore

__all__ = [
    "LARGEST_ANSWER",
    "Corpus",
    "DocumentScore",
    "Http",
    "PerplexityRun",
    "PerplexitySettings",
    "PerplexitySource",
    "measure",
    "waiting_requests",
]

LARGEST_ANSWER: Final = 8 * 1024 * 1024
"""What the HTTP client must be allowed to read: 70 bytes for each prompt token."""
_DOCUMENTS_PER_LOOK: Final = 16
_WAITING: Final = "vllm:num_requests_waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexitySettings:
    """How an engine is asked.

    timeout
        For one document.
    max_waiting
        Requests that may queue in the engine while the probe still runs.
    headers
        Sent with each request, such as ``authorization``.
    """

    source: PerplexitySource = PerplexitySource.AUTO
    timeout: timedelta = timedelta(seconds=60)
    max_waiting: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentScore:
    """One document's NLL sum in nats over ``tokens``; NaN where it could not be scored.

    ``bytes`` is the document's UTF-8 length, for bits per byte. ``non_finite`` tokens
    were NaN (left out) or -inf (taken as 30 nats).
    """

    document: str
    sum_nll: float
    tokens: int
    bytes: int
    non_finite: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexityRun:
    """Documents scored in order; ``stopped`` says why the run ended early, if it did."""

    documents: tuple[DocumentScore, ...]
    engine: str | None
    stopped: str | None = None


class Http(Protocol):
    """The part of :class:`alerts.outgoing.OutgoingClient` that is needed here."""

    def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> Reply: ...

    def post(
        self, url: str, *, body: bytes, headers: Mapping[str, str], timeout: float | None = None
    ) -> Reply: ...


def measure(
    corpus: Corpus,
    *,
    base_url: str,
    model: str,
    http: Http,
    settings: PerplexitySettings | None = None,
) -> PerplexityRun:
    """Score a corpus with a served model.

    Parameters
    ----------
    base_url
        The engine's root, with or without ``/v1``.
    http
        A guarded client that may read :data:`LARGEST_ANSWER` bytes.

    Returns
    -------
    PerplexityRun
        ``stopped`` is None only where every document was asked for.

    Raises
    ------
    ModelNotServed
        The engine is up and does not list the model; nothing was asked.
    ProbeFailed
        The engine could not be reached at all.
    """
    engine = _Engine(
        root=_root(base_url), model=model, http=http, settings=settings or PerplexitySettings()
    )
    engine.require_model()
    run = PerplexityRun(documents=(), engine=engine.version())
    for number, document in enumerate(corpus.documents):
        try:
            if number % _DOCUMENTS_PER_LOOK == 0:
                engine.require_idle()
            score = engine.score(document)
        except _Stop as stop:
            return replace(run, stopped=f"{stop} (after {number} documents)")
        run = replace(run, documents=(*run.documents, score))
    return run


class _Stop(Exception):  # noqa: N818 - the end of a run is not a fault of ours
    """Ask nothing more of this engine now."""


class _Engine:
    """One served model and the way that its engine understands."""

    def __init__(self, *, root: str, model: str, http: Http, settings: PerplexitySettings) -> None:
        self._root = root
        self._model = model
        self._http = http
        self._settings = settings
        self._ways = _ways(settings.source)

    def models(self) -> list[dict[str, Any]]:
        """List what the engine serves."""
        try:
            reply = self._get("/v1/models")
        except OutgoingError as error:
            raise ProbeFailed(f"the engine is out of reach: {error}", permanent=False) from error
        try:
            return [dict(card) for card in _json(reply)["data"]]
        except (KeyError, TypeError, ValueError) as error:
            reason = f"the engine's /v1/models is no list of models (HTTP {reply.status})"
            raise ProbeFailed(reason, permanent=False) from error

    def require_model(self) -> None:
        served = tuple(str(card.get("id")) for card in self.models())
        if self._model not in served:
            raise ModelNotServed(self._model, served=served)

    def version(self) -> str | None:
        """Name and version where the engine tells them."""
        try:
            reply = self._get("/version")
            return f"vllm {str(_json(reply)['version'])[:64]}" if _ok(reply) else None
        except (OutgoingError, KeyError, TypeError, ValueError):
            return None

    def require_idle(self) -> None:
        try:
            reply = self._get("/metrics")
        except OutgoingError as error:
            raise _Stop(f"the engine is out of reach: {error}") from error
        waiting = waiting_requests(reply.body_start) if _ok(reply) else 0.0
        if waiting > self._settings.max_waiting:
            raise _Stop(f"the engine queues {waiting:.0f} requests")

    def score(self, document: Document) -> DocumentScore:
        """Score one document by the first way that the engine understands."""
        size = len(document.text.encode())
        unscored = DocumentScore(document=document.id, sum_nll=math.nan, tokens=0, bytes=size)
        problem = "the engine was not asked"
        for way in tuple(self._ways):
            reply = self._post(way, document.text)
            if _too_long(reply):
                return unscored
            try:
                score = _read(way, reply, text=document.text)
            except NoPromptLogprobs as error:
                problem = str(error)
                continue
            self._ways = (way,)
            return replace(
                unscored,
                sum_nll=score.sum_nll,
                tokens=score.tokens,
                non_finite=score.non_finite,
            )
        raise _Stop(problem)

    def _post(self, way: PerplexitySource, text: str) -> Reply:
        body = json.dumps(prompt_logprobs.asking(way, model=self._model, text=text)).encode()
        headers = {**self._settings.headers, "content-type": "application/json"}
        try:
            reply = self._http.post(
                f"{self._root}/v1/completions",
                body=body,
                headers=headers,
                timeout=self._settings.timeout.total_seconds(),
            )
        except OutgoingError as error:
            raise _Stop(f"the engine gave no answer: {error}") from error
        if reply.status == HTTPStatus.BAD_REQUEST or _ok(reply):
            return reply
        raise _Stop(f"the engine answered HTTP {reply.status}")

    def _get(self, path: str) -> Reply:
        timeout = self._settings.timeout.total_seconds()
        return self._http.get(self._root + path, headers=self._settings.headers, timeout=timeout)


def _root(base_url: str) -> str:
    return base_url.rstrip("/").removesuffix("/v1")


def waiting_requests(metrics: bytes) -> float:
    """Sum vLLM's waiting requests over its engines; 0 where the metric is not there.

    >>> waiting_requests(b'vllm:num_requests_waiting{engine="0"} 3.0')
    3.0
    """
    total = 0.0
    for line in metrics.decode("utf-8", "replace").splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name == _WAITING:
            with contextlib.suppress(ValueError):
                total += float(line.rsplit(" ", 1)[-1])
    return total


def _ways(source: PerplexitySource) -> tuple[PerplexitySource, ...]:
    if source is PerplexitySource.AUTO:
        return PerplexitySource.PROMPT_LOGPROBS, PerplexitySource.ECHO
    return (source,)


def _read(way: PerplexitySource, reply: Reply, *, text: str) -> TextScore:
    if not _ok(reply):
        raise NoPromptLogprobs(f"the engine refuses {way.value} (HTTP {reply.status})")
    try:
        return prompt_logprobs.read(way, _json(reply), text=text)
    except json.JSONDecodeError as error:
        raise NoPromptLogprobs(f"the answer to {way.value} is not JSON") from error


def _too_long(reply: Reply) -> bool:
    """Whether the document exceeds the model's context, which is no fault of the engine."""
    refused = reply.status == HTTPStatus.BAD_REQUEST
    return refused and b"context length" in reply.body_start


def _ok(reply: Reply) -> bool:
    return reply.status == HTTPStatus.OK


def _json(reply: Reply) -> Any:
    # the standard library, because engines write NaN and -Infinity
    return json.loads(reply.body_start)
