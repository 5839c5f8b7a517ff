"""Driftline in a LiteLLM proxy: requests go where the route says, and answers are recorded.

Put this file beside LiteLLM's ``config.yaml`` and name it there::

    litellm_settings:
      callbacks: driftline_callback.handler

It needs nothing but Python. What LiteLLM is asked for by an adapter's name (``support``) is
sent to the served name of an arm (``support@v7``), which must be a ``model_name`` of the
proxy; every answer becomes a record with its log-probabilities, of streams too.

===================== ==================================================================
``DRIFTLINE_URL``     address of ``driftline serve``, such as ``http://driftline:8440``
``DRIFTLINE_KEY``     a key with the scopes ``read`` and ``ingest``
``DRIFTLINE_ROUTES``  file in which the last routes are kept; empty: none
``DRIFTLINE_TEXT``    ``0``: prompts and answers are not sent along
===================== ==================================================================
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import queue
import socket
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NoReturn

try:
    from litellm.integrations.custom_logger import (  # type: ignore[import-not-found]
        CustomLogger,
    )
except ImportError:  # read or tested without LiteLLM
    CustomLogger = object

LOG: Final = logging.getLogger("driftline")
WAIT: Final = 30
PAUSE: Final = 5.0
TOP_LOGPROBS: Final = 5
WAITING: Final = 10_000
"""Records that may wait to be sent; more are dropped, and the log says how many."""
BATCH: Final = 200
ASKED: Final = frozenset({"completion", "acompletion", "text_completion", "atext_completion"})
COUNTED: Final = "stream_options"
"""By which a stream tells its tokens at its end, as an answer that is none always does."""
LONGEST: Final = 1_000_000
"""Characters of an answer beyond which it is not judged whether it is JSON."""
NO_JSON: Final = object()
PLAN: Final = "driftline"
"""Where in a request's metadata stands what was decided about it."""


class Service:
    """``driftline serve`` over HTTP; no proxy of the environment stands between."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def ask(
        self, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Message, bytes]:
        """Send a request; every status is an answer. Raises OSError."""
        own = {"Authorization": f"Bearer {self._key}"}
        sent = own | dict(headers or {})
        request = urllib.request.Request(self._url + path, data=body, headers=sent)  # noqa: S310 - the operator's address
        try:
            with self._open(request, timeout=WAIT + 15) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.headers, b""


class Routes:
    """The last good routes by adapter; whether Driftline answers or not, expiry counts."""

    def __init__(self, kept: Path | None = None) -> None:
        self._kept = kept
        self._routes: dict[str, dict[str, Any]] = {}
        self.refused: dict[str, dict[str, Any]] = {}
        """What Driftline told last that is older than what is gone by, by adapter."""
        self.heard = threading.Event()
        self._ahead = timedelta()
        if kept is not None:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                self.update(json.loads(kept.read_text(encoding="utf-8")))

    def update(self, routes: list[dict[str, Any]]) -> None:
        """Take newer routes; an older one changes nothing, and is remembered as refused."""
        known, refused = dict(self._routes), {}
        for told in routes:
            name = told["adapter"]
            before = known.get(name)
            # a service that tells no epoch is an older one, and its table is the same
            route = told | {"epoch": told.get("epoch") or (before or {}).get("epoch", 0)}
            if before is None or edition(route) > edition(before):
                known[name] = route
            elif any(route[key] != before[key] for key in ("generation", "epoch", "arms")):
                refused[name] = route
        for name in refused.keys() - self.refused.keys():
            LOG.warning(
                "%s: goes by %s; driftline tells %s, which is older: if its database was put"
                " back: driftline route renew",
                *(name, edition(known[name]), edition(refused[name])),
            )
        changed, self._routes, self.refused = known != self._routes, known, refused
        if changed and self._kept is not None:
            try:
                new = self._kept.with_suffix(".new")
                new.write_text(json.dumps(list(known.values())), encoding="utf-8")
                new.replace(self._kept)
            except OSError as error:
                # they are in force all the same; only a restart without Driftline is poorer
                LOG.warning("routes cannot be kept in DRIFTLINE_ROUTES: %s", error.strerror)

    def find(self, name: object, now: datetime | None = None) -> dict[str, Any] | None:
        """Give the route of an adapter as it is now; None: that is no adapter."""
        route = self._routes.get(name) if isinstance(name, str) else None
        return route and effective(route, now or datetime.now(UTC) + self._ahead)

    def tell_time(self, told: str | None) -> None:
        """Go by the service's clock: by a wrong one here routes would end too soon or never."""
        with contextlib.suppress(ValueError, TypeError):
            self._ahead = datetime.fromisoformat(told or "") - datetime.now(UTC)

    def complain(self, service: Service, name: str) -> None:
        """Let Driftline know of every route that is not gone by; it forgets within minutes."""
        keys = ("adapter", "epoch", "generation")
        held = [
            {key: self._routes[adapter][key] for key in keys} | {"told_epoch": told["epoch"]}
            for adapter, told in self.refused.items()
        ]
        body = {"router": name, "held": held}
        kind = {"Content-Type": "application/json"}
        service.ask("/v1/routes/refusals", body=json.dumps(body).encode(), headers=kind)

    def follow(self, service: Service, stop: threading.Event) -> None:
        """Long-poll until told to stop; what is wrong is said, and asked again after a pause."""
        tag, complained = "", False
        me = f"litellm {socket.gethostname()[:64]}, process {os.getpid()}"
        while not stop.is_set():
            wrong: str | None = None
            try:
                wait = f"?wait={WAIT}" if tag else ""
                known = {"If-None-Match": tag} if tag else {}
                status, headers, body = service.ask(f"/v1/routes{wait}", headers=known)
                if status == HTTPStatus.OK:
                    self.update(json.loads(body)["items"])
                    tag = headers.get("ETag", "")
                    self.tell_time(headers.get("Driftline-Time"))
                    self.heard.set()
                if status not in {HTTPStatus.OK, HTTPStatus.NOT_MODIFIED} or not tag:
                    wrong = f"status {status}, ETag {tag!r}"
                elif self.refused or complained:
                    self.complain(service, me)
                    complained = bool(self.refused)
                    stop.wait(1.0)  # two databases behind one address would answer in turns
            except (OSError, ValueError, KeyError, TypeError) as error:
                wrong = type(error).__name__
            if wrong is not None and not stop.is_set():
                LOG.warning("driftline does not tell routes as it should: %s", wrong)
                stop.wait(PAUSE)


def edition(route: Mapping[str, Any]) -> tuple[int, int]:
    """Tell older from newer: generations begin again where a database was put back."""
    return route.get("epoch", 0), route["generation"]


def effective(route: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Apply the route's expiry."""
    until = route["valid_until"]
    if until is None or now < datetime.fromisoformat(until):
        return route
    kinds = {arm["arm"] for arm in route["arms"]}
    heir = route["on_expiry"] if route["on_expiry"] in kinds else "stable"
    arms = [arm | {"weight": float(arm["arm"] == heir)} for arm in route["arms"]]
    return {**route, "arms": arms}


def choose(route: dict[str, Any], subject: str) -> dict[str, Any] | None:
    """Choose an arm by weight, the same for the same subject: as Driftline's gateway does."""
    trial = next((arm["version"] for arm in route["arms"] if arm["arm"] == "canary"), "")
    name = f"{route['adapter']}\0{trial}\0{subject}".encode("utf-8", "surrogatepass")
    point = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") / 2**64
    serving: list[dict[str, Any]] = [
        arm
        for kind in ("canary", "fallback", "stable")
        for arm in route["arms"]
        if arm["arm"] == kind and arm["weight"] > 0
    ]
    left = point * sum(arm["weight"] for arm in serving)
    for arm in serving:
        left -= arm["weight"]
        if left < 0:
            return arm
    return serving[-1] if serving else None


class Records:
    """Records that wait to be sent; sending never delays an answer."""

    def __init__(self) -> None:
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue(WAITING)
        self.dropped = 0

    def add(self, record: dict[str, Any]) -> None:
        """Let it wait, or drop and count it."""
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def send(self, service: Service, stop: threading.Event) -> None:
        """Send until told to stop, up to a batch at a time; what fails is sent again."""
        while not stop.is_set():
            batch: list[dict[str, Any]] = []
            with contextlib.suppress(queue.Empty):
                while len(batch) < BATCH:
                    batch.append(self._queue.get(timeout=0.2))
            pause = 1.0
            while batch and not stop.is_set() and not self._sent(service, batch):
                stop.wait(pause)
                pause = min(30.0, 2 * pause)

    def _sent(self, service: Service, batch: list[dict[str, Any]]) -> bool:
        body = json.dumps({"records": batch}).encode()
        try:
            kind = {"Content-Type": "application/json"}
            status, _, _ = service.ask("/v1/records", body=body, headers=kind)
        except OSError as error:
            LOG.warning("driftline takes no records: %s", type(error).__name__)
            return False
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            LOG.warning("driftline takes no records: status %d", status)
            return False
        if status >= HTTPStatus.BAD_REQUEST:
            self.dropped += len(batch)
            LOG.error("driftline refuses records: status %d, %d dropped", status, self.dropped)
        return True


class Driftline(CustomLogger):  # type: ignore[misc]  # LiteLLM's class, where it is there
    """The hooks that LiteLLM calls; none of them raises for Driftline's sake."""

    def __init__(self, routes: Routes, records: Records, *, send_text: bool = True) -> None:
        super().__init__()
        self.stop = threading.Event()
        self.routes = routes
        self.records = records
        self._send_text = send_text

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """Send the request to an arm of the route, and ask for log-probabilities."""
        del user_api_key_dict, cache
        route = self.routes.find(data.get("model"))
        arm = route and choose(route, subject_of(data))
        if route is None or arm is None:
            return data
        data["model"] = arm["model"]
        plan = {
            "id": uuid.uuid4().hex,
            "adapter": route["adapter"],
            "version": arm["version"],
            "arm": arm["arm"],
            "began": time.time(),
            "hides": call_type in ASKED and wants_no_logprobs(data),
            "uncounts": call_type in ASKED and bool(data.get("stream")) and not data.get(COUNTED),
        }
        if plan["hides"]:
            chat = {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
            data |= chat if "messages" in data else {"logprobs": TOP_LOGPROBS}
        if plan["uncounts"]:
            data[COUNTED] = {"include_usage": True}
        data["metadata"] = (data.get("metadata") or {}) | {PLAN: plan}
        return data

    async def async_post_call_success_hook(
        self, data: dict[str, Any], user_api_key_dict: Any, response: Any
    ) -> Any:
        """Record a whole answer, and take out what the client did not ask for."""
        del user_api_key_dict
        plan = plan_of(data)
        if plan is None:
            return response
        with harmless():
            self._record(plan, data, as_json(response))
        if plan["hides"]:
            for choice in getattr(response, "choices", None) or []:
                if getattr(choice, "logprobs", None) is not None:
                    choice.logprobs = None
        return response

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: Any, response: Any, request_data: dict[str, Any]
    ) -> AsyncIterator[Any]:
        """Pass a stream on as it comes, and record what it said once it is over."""
        del user_api_key_dict
        plan = plan_of(request_data)
        heard = Heard()
        async for chunk in response:
            if plan is not None:
                said: Any = {}
                with harmless():
                    said = as_json(chunk)
                    heard.take(said)
                if plan["uncounts"] and only_counts(said):
                    continue
                if plan["hides"]:
                    for choice in getattr(chunk, "choices", None) or []:
                        if getattr(choice, "logprobs", None) is not None:
                            choice.logprobs = None
            yield chunk
        if plan is not None:
            with harmless():
                first = heard.first and round(1e3 * (heard.first - plan["began"]), 1)
                self._record(plan, request_data, heard.answer(), ttft_ms=first)

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: Any,
        traceback_str: str | None = None,
    ) -> None:
        """Record that the arm could not answer."""
        del user_api_key_dict, traceback_str
        plan = plan_of(request_data)
        status = getattr(original_exception, "status_code", None)
        if plan is not None and status is not None:
            with harmless():
                self._record(plan, request_data, {}, status=int(status))

    def _record(
        self, plan: dict[str, Any], request: Mapping[str, Any], answer: Any, **more: Any
    ) -> None:
        record = {
            "id": plan["id"],
            "adapter": plan["adapter"],
            "version": plan["version"],
            "arm": plan["arm"],
            "at": datetime.fromtimestamp(plan["began"], UTC).isoformat(),
            "source": "litellm",
            "latency_ms": round(1e3 * (time.time() - plan["began"]), 1),
            "status": 200,
            **fields(request, answer),
            **more,
        }
        if not self._send_text:
            texts = {"prompt", "system", "output"}
            record = {key: one for key, one in record.items() if key not in texts}
        self.records.add({key: one for key, one in record.items() if one is not None})


class Heard:
    """A stream's chunks, put together to the answer that they are of."""

    def __init__(self) -> None:
        self.first: float | None = None
        self._texts: dict[str, str] = {}
        self._calls: dict[int, dict[str, str]] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._ending: str | None = None
        self._usage: Any = None
        self._others: list[Any] = []
        self._begun = False

    def take(self, chunk: Any) -> None:
        """Take one chunk as JSON."""
        self._usage = chunk.get("usage") or self._usage
        for choice in chunk.get("choices") or []:
            if choice.get("index", 0) == 0:
                self._take_choice(choice, choice.get("delta") or {})
            else:
                self._others = [{"index": 1}]

    def _take_choice(self, choice: Mapping[str, Any], delta: Mapping[str, Any]) -> None:
        self._begun = True
        said = {"text": choice.get("text")} | {
            one: delta.get(one) for one in ("content", "refusal")
        }
        for name, text in said.items():
            if isinstance(text, str):
                self._texts[name] = self._texts.get(name, "") + text
                if text and self.first is None:
                    self.first = time.time()
        for part in delta.get("tool_calls") or []:
            call = self._calls.setdefault(part.get("index", 0), {"name": "", "arguments": ""})
            for name in call:
                call[name] += (part.get("function") or {}).get(name) or ""
        for name, values in (choice.get("logprobs") or {}).items():
            if isinstance(values, list):
                self._logprobs.setdefault(name, []).extend(values)
        self._ending = choice.get("finish_reason") or self._ending

    def answer(self) -> dict[str, Any]:
        """Give it in the shape of an answer that is no stream; empty: it said nothing."""
        if not self._begun:
            return {}
        choice: dict[str, Any] = {"finish_reason": self._ending, "logprobs": self._logprobs}
        if "text" in self._texts:
            choice["text"] = self._texts["text"]
        else:
            calls = [{"function": call} for call in self._calls.values()]
            choice["message"] = {
                "content": self._texts.get("content") or (None if calls else ""),
                "refusal": self._texts.get("refusal"),
                "tool_calls": calls,
            }
        return {"choices": [choice, *self._others], "usage": self._usage}


def only_counts(chunk: Any) -> bool:
    """Whether a chunk says nothing but how many tokens there were."""
    choices = chunk.get("choices") or []
    said = [(one.get("delta") or {}).get("content") or one.get("text") for one in choices]
    ended = any(one.get("finish_reason") for one in choices)
    return bool(chunk.get("usage")) and not ended and not any(said)


def wants_no_logprobs(request: Mapping[str, Any]) -> bool:
    """Whether they may be asked for without the client's knowing; as Driftline's gateway does."""
    if "messages" in request:
        return not request.get("logprobs") and request.get("top_logprobs") is None
    # with `echo` the prompt's tokens would come too, computed for nobody
    return request.get("logprobs") is None and not request.get("echo")


def fields(request: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of a request in OpenAI's shape and its answer.

    The same as :mod:`driftline.formats` reads of them, which a test compares.
    """
    choices = answer.get("choices") or []
    choice: Mapping[str, Any] = next(iter(choices), {})
    message = choice.get("message") or {}
    # of several answers the usage counts all, and says nothing of the first
    usage = (answer.get("usage") or {}) if len(choices) < 2 else {}  # noqa: PLR2004
    output = _output(choice)
    most, stop = request.get("max_completion_tokens"), request.get("stop")
    return {
        "prompt": _question(request),
        "system": _system(request),
        "output": output,
        "valid": _valid(request, choice, output),
        "temperature": request.get("temperature"),
        "top_p": request.get("top_p"),
        "max_tokens": request.get("max_tokens") if most is None else most,
        "stop": [stop] if stop and isinstance(stop, str) else stop or None,
        "subject": request.get("user") or None,
        "prompt_tokens": usage.get("prompt_tokens"),
        "output_tokens": usage.get("completion_tokens"),
        "finish_reason": "refusal" if message.get("refusal") else choice.get("finish_reason"),
        **_logprobs(choice.get("logprobs") or {}, usage),
    }


def subject_of(data: Mapping[str, Any]) -> str:
    """Whose arm stays the same: the user's, else that of the conversation's beginning."""
    if data.get("user"):
        return str(data["user"])
    messages = data.get("messages") or [data.get("prompt")]
    first = next(
        (
            n
            for n, one in enumerate(messages)
            if isinstance(one, dict) and one.get("role") == "user"
        ),
        0,
    )
    return json.dumps(messages[: first + 1], sort_keys=True, default=str)


def plan_of(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was decided about the request, if it is of an adapter."""
    plan: dict[str, Any] | None = (data.get("metadata") or {}).get(PLAN)
    return plan


def as_json(said: Any) -> Any:
    """LiteLLM's answers and chunks are pydantic models."""
    return said.model_dump(mode="json") if hasattr(said, "model_dump") else said


@contextlib.contextmanager
def harmless() -> Iterator[None]:
    """Let no answer fail for a record's sake."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - shapes are LiteLLM's, and it changes them
        LOG.warning("driftline could not record an answer: %s", type(error).__name__)


def _question(request: Mapping[str, Any]) -> str | None:
    prompt = request.get("prompt")
    if isinstance(prompt, list):
        prompt = next((one for one in prompt if isinstance(one, str)), None)
    if isinstance(prompt, str):
        return prompt
    messages = [one for one in request.get("messages") or [] if isinstance(one, dict)]
    asked = [one for one in messages if one.get("role") == "user"] or messages
    return _text(asked[-1].get("content")) if asked else None


def _system(request: Mapping[str, Any]) -> str | None:
    """What the client put before the conversation, empty where nothing; None of a completion."""
    messages = request.get("messages")
    if not isinstance(messages, list):
        return None
    said = [_text(request.get("instructions"))]
    for one in messages:
        if not isinstance(one, dict) or one.get("role") not in {"system", "developer"}:
            break
        said.append(_text(one.get("content")))
    return "\n".join(text for text in said if text)


def _output(choice: Mapping[str, Any]) -> str | None:
    """Blank where the answer is; None where it is no text at all but a call of a tool."""
    if choice.get("text") is not None:
        return _text(choice["text"])
    message = choice.get("message")
    if not isinstance(message, dict):
        return None
    said = message.get("content")
    said = message.get("refusal") if said is None else said
    if said is None:
        return None if message.get("tool_calls") or message.get("function_call") else ""
    return _text(said)


def _text(content: Any) -> str | None:
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        found = [text for text in texts if isinstance(text, str)]
        return "\n".join(found) if found else None
    return content if isinstance(content, str) else None


def _valid(
    request: Mapping[str, Any], choice: Mapping[str, Any], output: str | None
) -> bool | None:
    """Whether JSON or a call of a tool is what was asked for; None where neither was."""
    message = choice.get("message") or {}
    if not choice or message.get("refusal") or choice.get("finish_reason") == "content_filter":
        return None
    calls = [message["function_call"]] if message.get("function_call") else []
    calls = calls or [
        one.get("function") or one.get("custom") or {} for one in message.get("tool_calls") or []
    ]
    if calls:
        offered = {
            (tool.get("function") or tool.get("custom") or tool).get("name")
            for tool in [*(request.get("tools") or []), *(request.get("functions") or [])]
        }
        return all(_callable(call, offered - {None}) for call in calls)
    demanded = request.get("tool_choice", request.get("function_call"))
    if (isinstance(demanded, dict) and demanded) or demanded in ("required", "any"):
        return False
    form = (request.get("response_format") or {}).get("type")
    if output is None or len(output) > LONGEST or form not in {"json_object", "json_schema"}:
        return None
    found = _parsed(output)
    return isinstance(found, dict) if form == "json_object" else found is not NO_JSON


def _callable(call: Mapping[str, Any], offered: set[str]) -> bool:
    name, arguments = call.get("name"), call.get("arguments")
    if not isinstance(name, str) or (offered and name not in offered):
        return False
    if isinstance(arguments, str):
        arguments = _parsed(arguments)
    return "input" in call or isinstance(arguments, dict)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return NO_JSON


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _logprobs(found: Mapping[str, Any], usage: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(found.get("content"), list):
        tokens = found["content"]
        top = [[one["logprob"] for one in token.get("top_logprobs") or []] for token in tokens]
        chosen = [token["logprob"] for token in tokens]
    elif isinstance(found.get("token_logprobs"), list):
        chosen = found["token_logprobs"]
        top = [list((one or {}).values()) for one in found.get("top_logprobs") or []]
        # with `echo` the prompt's tokens come first
        begin = max(0, len(chosen) - usage.get("completion_tokens", len(chosen)))
        chosen, top = chosen[begin:], top[begin:]
    else:
        return {}
    return {"token_logprobs": chosen} | ({"top_logprobs": top} if any(top) else {})


def started(environ: Mapping[str, str]) -> Driftline:
    """Start following routes and sending records, as the environment says."""
    service = Service(environ["DRIFTLINE_URL"], environ["DRIFTLINE_KEY"])
    kept = environ.get("DRIFTLINE_ROUTES")
    routes, records = Routes(Path(kept) if kept else None), Records()
    made = Driftline(routes, records, send_text=environ.get("DRIFTLINE_TEXT") != "0")
    for work in (routes.follow, records.send):
        threading.Thread(target=work, args=(service, made.stop), daemon=True).start()
    if not routes.heard.wait(10):
        LOG.warning("driftline has told no routes yet; the last ones hold")
    return made


def __getattr__(name: str) -> Driftline:
    """Make ``handler`` when LiteLLM asks for it: importing alone starts nothing."""
    if name != "handler":
        raise AttributeError(name)
    globals()["handler"] = made = started(os.environ)
    return made
