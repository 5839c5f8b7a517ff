"""Ask models an owner's few prompts, for a person to read. Nothing is stored.

These are ordinary requests as clients send them, a handful when somebody asks, so the limits on
probes (whose requests may break an engine) do not apply.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from alerts.outgoing import OutgoingError
from monitor.probes.corpus import Document
from monitor.probes.engines import Engines
from monitor.probes.errors import ProbeError
from monitor.probes.perplexity import Http

MOST_PROMPTS: Final = 10
MOST_TOKENS: Final = 200
LONGEST_TEXT: Final = 2_000
"""Characters of an answer that are shown."""
NO_CHAT: Final = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY}
)
"""Engines' status codes for a model without a chat template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokeAnswer:
    """A model's answer to a prompt, or why there is none."""

    text: str | None = None
    why_not: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Questioner:
    """Asks models through the engines that serve them, with greedy, short answers.

    timeout
        For one answer.
    """

    engines: Engines
    http: Http
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: timedelta = timedelta(seconds=20)

    def answers(
        self, model: str, prompts: Sequence[Document], *, until: float
    ) -> list[SmokeAnswer]:
        """Return an answer to each prompt, in order; never raises for an engine's faults.

        Parameters
        ----------
        until
            On the monotonic clock: prompts not reached by then are not asked.
        """
        try:
            url = self.engines.holding(model)[0].url
        except ProbeError as error:
            return [SmokeAnswer(why_not=str(error))] * len(prompts)
        return [self._answer(url, model, prompt.text, until=until) for prompt in prompts]

    def _answer(self, url: str, model: str, prompt: str, *, until: float) -> SmokeAnswer:
        left = until - time.monotonic()
        if left <= 0:
            return SmokeAnswer(why_not="not asked: the time was over")
        chat = {"messages": [{"role": "user", "content": prompt}]}
        try:
            status, said = self._post(f"{url}/v1/chat/completions", model, chat, left=left)
            if status in NO_CHAT:
                left = max(0.1, until - time.monotonic())
                asked = {"prompt": prompt}
                status, said = self._post(f"{url}/v1/completions", model, asked, left=left)
        except OutgoingError as error:
            return SmokeAnswer(why_not=f"no answer: {error}")
        if status != HTTPStatus.OK:
            return SmokeAnswer(why_not=f"the engine answered HTTP {status}")
        if said is None:
            return SmokeAnswer(why_not="the engine's answer was not understood")
        return SmokeAnswer(text=said[:LONGEST_TEXT])

    def _post(
        self, url: str, model: str, asked: Mapping[str, Any], *, left: float
    ) -> tuple[int, str | None]:
        body = {"model": model, **asked, "temperature": 0, "max_tokens": MOST_TOKENS}
        reply = self.http.post(
            url,
            body=json.dumps(body).encode(),
            headers={**self.headers, "content-type": "application/json"},
            timeout=min(left, self.timeout.total_seconds()),
        )
        return reply.status, _said(reply.body_start)


def _said(body: bytes) -> str | None:
    """Read the first choice of a chat or a plain completion."""
    try:
        choice = json.loads(body)["choices"][0]
        said = choice["message"]["content"] if "message" in choice else choice["text"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return said if isinstance(said, str) else None
