"""One turn with one engine: ask it about texts, and stop at the first sign of trouble.

Some engines crash on prompt logprobs beside other requests, so no request is repeated: a 5xx, a
timeout or a lost connection ends the turn and the engine is left alone.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final

from alerts.delivery import retry_after_seconds
from alerts.outgoing import Blocked, OutgoingError, Reply, TimedOut
from monitor.probes import prompt_logprobs, software
from monitor.probes.engine_metrics import Activity, activity, waiting_requests
from monitor.probes.engines import EngineKind, Replica
from monitor.probes.errors import ProbeFailed
from monitor.probes.own_tokens import spelling_fault
from monitor.probes.perplexity import Http, PerplexitySettings
from monitor.probes.prompt_logprobs import (
    NoPromptLogprobs,
    PerplexitySource,
    ProbeRequest,
    PromptTokens,
)
from monitor.probes.restraint import Keeper

_REFUSED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})
_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_MANY, _FEW = 20, 5
"""The most rivals that vLLM returns unless ``--max-logprobs`` is lower, and OpenAI's API."""
OTHERS: Final = 2
"""Ordinary requests run beside a probe that measures their effect."""
OTHERS_TOKENS: Final = 16
_FIRST_LOOK, _LAST_LOOK = 0.05, 0.5
"""Seconds between looks at an engine's metrics: doubling, since a long request stays long."""


class Stop(Exception):  # noqa: N818 - the end of a turn is not a fault of ours
    """Ask this engine nothing more now."""


class NoNumbers(Stop):
    """The engine answers for this model, but without log-probabilities."""


@dataclass(slots=True)
class OtherRequests:
    """Requests beside a probe: how many were answered by each model, and which ones failed."""

    answered: dict[str, int]
    failed: set[str] = field(default_factory=set)

    @property
    def silent(self) -> list[str]:
        """The models that answered none, or not to the end."""
        return [one for one, count in self.answered.items() if not count or one in self.failed]


class ProbedEngine:
    """One served model, and the way of asking that its engine understands."""

    def __init__(
        self,
        replica: Replica,
        *,
        model: str,
        http: Http,
        settings: PerplexitySettings,
        turn: Keeper,
    ) -> None:
        self._replica = replica
        self._model = model
        self._http = http
        self._settings = settings
        self._turn = turn
        self._ways = _ways(settings.source, replica.kind)
        self._most = _MANY
        self._proved = False

    @property
    def way(self) -> PerplexitySource | None:
        """The way of asking that the engine understood; None before the first answer."""
        return self._ways[0] if self._proved else None

    @property
    def spent(self) -> float:
        """Seconds of the engine's time used by the turn."""
        return self._turn.spent

    def about(self) -> tuple[str | None, str | None]:
        """Return the engine's name with its version, and its dtype, if it tells them."""
        if self._replica.kind is not EngineKind.SGLANG:
            return software.vllm(self._told("/version")), None
        # its answer holds the server's settings, keys among them: only two fields are read
        found = self._told("/get_server_info") or self._told("/server_info")
        dtype = found.get("dtype")
        return software.sglang(found), dtype[:32] if isinstance(dtype, str) else None

    def require_idle(self) -> None:
        """Stop if requests wait in the engine for longer than the settings' patience."""
        patience = self._settings.patience.total_seconds()
        until, looks = time.monotonic() + patience, _looks()
        while (waiting := waiting_requests(self._metrics())) > self._settings.max_waiting:
            if time.monotonic() >= until:
                so_long = f", for {patience:g} s now" if patience else ""
                raise Stop(f"the engine queues {waiting:.0f} requests{so_long}")
            time.sleep(next(looks))

    @contextmanager
    def others(self, texts: Sequence[str], *, of: Sequence[str] = ()) -> Iterator[OtherRequests]:
        """Make the engine answer ordinary requests meanwhile, of the same model or adapters ``of``.

        A batch's composition changes the last bits of all its results. These requests cost no more
        of the engine's time than the probe beside them, and end at the first fault.
        """
        models = of or (self._model,)
        ended, made = threading.Event(), OtherRequests(dict.fromkeys(models[:OTHERS], 0))
        asking = [
            threading.Thread(
                target=self._ask_on,
                args=(models[number % len(models)], texts[number:] or texts, ended, made),
            )
            for number in range(OTHERS)
        ]
        try:
            for one in asking:
                one.start()
            yield made
        finally:
            ended.set()
            for one in asking:
                if one.ident is not None:  # it was started
                    one.join()

    def _ask_on(
        self, model: str, texts: Sequence[str], ended: threading.Event, made: OtherRequests
    ) -> None:
        for number, text in enumerate(itertools.cycle(texts)):
            if number and ended.is_set():
                return
            question = prompt_logprobs.generating(
                self._ways[0],
                model=model,
                text=text,
                tokens=OTHERS_TOKENS,
                adapter=self._replica.parent is not None,
            )
            try:
                reply = self._sent(question)
            except OutgoingError:
                made.failed.add(model)
                return
            if _ok(reply):
                made.answered[model] += 1
            elif not _too_long(reply):
                made.failed.add(model)
                return

    def ask_alone(self, text: str, *, top: int = 0, until: float) -> PromptTokens | None:
        """Ask as :meth:`ask` does, at a moment without other requests if there is one.

        vLLM on a CPU computes a base model's tokens with an adapter's weights if both share a
        batch. ``until`` is on the monotonic clock: after it the text is read beside other requests,
        since an engine may never be idle, and the result says so.
        """
        while True:
            before = self._wait_for_quiet(until)
            tokens = self.ask(text, top=top)
            if before.alone_until(activity(self._metrics())):
                return tokens
            if time.monotonic() >= until:
                return None if tokens is None else replace(tokens, beside=True)

    def _wait_for_quiet(self, until: float) -> Activity:
        found, looks = activity(self._metrics()), _looks()
        while found.running and time.monotonic() < until:
            time.sleep(next(looks))
            found = activity(self._metrics())
        return found

    def _metrics(self) -> bytes:
        """Return the engine's metrics; empty if it has none."""
        try:
            reply = self._get("/metrics")
        except OutgoingError as error:
            raise self._lost(error) from error
        return reply.body_start if _ok(reply) else b""

    def ask(self, text: str, *, top: int = 0) -> PromptTokens | None:
        """Ask about one text by the first way that the engine understands.

        Returns
        -------
        PromptTokens or None
            None if the text is too long for the model or the answer, or if a later text's tokens do
            not spell it.

        Raises
        ------
        Stop
            The engine failed, refused the probe, has no prompt logprobs, or scored another text
            than it was sent.
        """
        problem = "the engine was not asked"
        for way, most in self._attempts(top):
            reply = self._post(way, text, top=most)
            if _too_long(reply) or reply.truncated:
                return None
            try:
                tokens = _read(way, reply, text=text, top=most)
            except NoPromptLogprobs as error:
                problem = str(error)
                continue
            self._ways, self._most = (way,), most
            return self._checked(tokens, text)
        raise NoNumbers(problem)

    def _attempts(self, top: int) -> list[tuple[PerplexitySource, int]]:
        """List ways and numbers of rivals to try, in order of preference."""
        tops = dict.fromkeys((min(top, self._most), min(top, _FEW)))
        return [(way, most) for most in tops for way in self._ways]

    def _checked(self, tokens: PromptTokens, text: str) -> PromptTokens | None:
        fault = spelling_fault(tokens.shown, text)
        if fault is not None and not self._proved:
            raise Stop(f"the engine scores another text than it was sent: {fault}")
        if fault is not None:
            return None
        self._proved = True
        self._turn.answered()
        return tokens

    def _post(self, way: PerplexitySource, text: str, *, top: int) -> Reply:
        question = prompt_logprobs.asking(
            way, model=self._model, text=text, top=top, adapter=self._replica.parent is not None
        )
        try:
            with self._turn.request(len(text.encode())) as request:
                reply = self._sent(question)
                request.answered = _ok(reply)
        except OutgoingError as error:
            raise self._lost(error) from error
        if not _ok(reply):
            self._judge(way, reply)
        return reply

    def _sent(self, question: ProbeRequest) -> Reply:
        return self._http.post(
            self._replica.url + question.path,
            body=json.dumps(question.body).encode(),
            headers={**self._settings.headers, "content-type": "application/json"},
            timeout=self._settings.timeout.total_seconds(),
        )

    def _judge(self, way: PerplexitySource, reply: Reply) -> None:
        """Stop unless the engine only refuses this way or this text."""
        said = f"HTTP {reply.status}"
        wait = retry_after_seconds(reply.headers.get("retry-after"), now=time.time())
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS or (reply.status in _BUSY and wait):
            self._turn.sent_away(said, seconds=wait)
        elif reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._turn.failed(said)
        elif reply.status in _REFUSED:
            return
        elif way is PerplexitySource.SGLANG and reply.status == HTTPStatus.NOT_FOUND:
            raise Stop("the engine has no /generate: it is no SGLang")
        raise Stop(f"the engine answered {said}")

    def _lost(self, error: OutgoingError) -> Exception:
        if isinstance(error, Blocked):
            return ProbeFailed(f"the engine may not be reached: {error}", permanent=True)
        self._turn.failed("no answer in time" if isinstance(error, TimedOut) else "no answer")
        return Stop(f"the engine gave no answer: {error}")

    def _told(self, path: str) -> dict[str, Any]:
        try:
            reply = self._get(path)
            found = json.loads(reply.body_start) if _ok(reply) else None
        except (OutgoingError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _get(self, path: str) -> Reply:
        timeout = self._settings.timeout.total_seconds()
        return self._http.get(
            self._replica.url + path, headers=self._settings.headers, timeout=timeout
        )


def _looks() -> Iterator[float]:
    """Yield the waits between looks."""
    wait = _FIRST_LOOK
    while True:
        yield wait
        wait = min(2 * wait, _LAST_LOOK)


def _ways(source: PerplexitySource, kind: EngineKind) -> tuple[PerplexitySource, ...]:
    if kind is EngineKind.LLAMA_CPP:
        # it answers 200 with its generated text
        reason = "llama.cpp cannot score prompts: echo is ignored in silence"
        raise ProbeFailed(reason, permanent=True, asked=False)
    match source:
        case PerplexitySource.AUTO if kind is EngineKind.SGLANG:
            return (PerplexitySource.SGLANG,)
        case PerplexitySource.AUTO:
            return PerplexitySource.PROMPT_LOGPROBS, PerplexitySource.ECHO
        case PerplexitySource.LOCAL:
            raise ValueError("a local source asks no engine")
        case _:
            return (source,)


def _read(way: PerplexitySource, reply: Reply, *, text: str, top: int) -> PromptTokens:
    if not _ok(reply):
        raise NoPromptLogprobs(f"the engine refuses {way.value} (HTTP {reply.status})")
    try:
        # the standard library, because engines write NaN and -Infinity
        answer = json.loads(reply.body_start)
    except (ValueError, RecursionError) as error:
        raise NoPromptLogprobs(f"the answer to {way.value} is not JSON") from error
    return prompt_logprobs.read(way, answer, text=text, top=top)


def _too_long(reply: Reply) -> bool:
    """True if the text exceeds the model's context, which is not the engine's fault."""
    return reply.status in _REFUSED and b"context length" in reply.body_start


def _ok(reply: Reply) -> bool:
    return reply.status == HTTPStatus.OK
