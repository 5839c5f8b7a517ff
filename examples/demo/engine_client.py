"""Speak to the engine as any OpenAI client does, with vLLM's calls for adapters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import httpx2

from examples.demo.processes import FRESH

TEMPERATURE: Final = 0.7
MAX_TOKENS: Final = 64
TOP_LOGPROBS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer with its token statistics; log-probabilities in nats.

    ``top_logprobs`` has the best `TOP_LOGPROBS` of each token, largest first.
    """

    text: str
    token_logprobs: list[float]
    top_logprobs: list[list[float]]
    finish_reason: str


def completion_request(model: str, prompts: Sequence[str]) -> dict[str, Any]:
    """Body of ``POST /v1/completions`` that answers each prompt once."""
    return {
        "model": model,
        "prompt": [f"User:\n{prompt}\nAssistant:\n" for prompt in prompts],
        "temperature": TEMPERATURE,
        "max_tokens": MAX_TOKENS,
        "logprobs": TOP_LOGPROBS,
    }


def chat_request(model: str, prompt: str, *, user: str) -> dict[str, Any]:
    """Body of ``POST /v1/chat/completions`` for the same question, as a client asks it.

    The model's template makes of it the very text that :func:`completion_request` writes.
    """
    return {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "temperature": TEMPERATURE,
        "max_tokens": MAX_TOKENS,
        "user": user,
    }


def read_replies(body: Mapping[str, Any]) -> list[Reply]:
    """Read the choices of a completion, in the order of its prompts."""
    choices = sorted(body["choices"], key=lambda choice: choice["index"])
    return [_reply(choice) for choice in choices]


class EngineClient:
    """A blocking client; safe to use from several threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx2.Client(base_url=url, timeout=300.0, limits=FRESH)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def answer(self, model: str, prompts: Sequence[str]) -> list[Reply]:
        """Answer a batch of prompts; raises httpx2.HTTPError."""
        reply = self._http.post("/v1/completions", json=completion_request(model, prompts))
        reply.raise_for_status()
        return read_replies(reply.json())

    def read(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        """Return the NLL in nats of each token of each text, given those before it."""
        body = {"model": model, "prompt": list(texts), "max_tokens": 1, "prompt_logprobs": 0}
        reply = self._http.post("/v1/completions", json=body)
        reply.raise_for_status()
        choices = sorted(reply.json()["choices"], key=lambda choice: choice["index"])
        return [
            [
                -float(next(iter(one.values()))["logprob"])
                for one in choice["prompt_logprobs"]
                if one
            ]
            for choice in choices
        ]

    def load(self, name: str, folder: Path) -> None:
        """Serve weights under a new name; raises httpx2.HTTPError."""
        body = {"lora_name": name, "lora_path": str(folder)}
        self._http.post("/v1/load_lora_adapter", json=body).raise_for_status()

    def replace(self, name: str, folder: Path) -> None:
        """Serve other weights under a name that is served already; raises httpx2.HTTPError."""
        body = {"lora_name": name, "lora_path": str(folder), "load_inplace": True}
        self._http.post("/v1/load_lora_adapter", json=body).raise_for_status()


def _reply(choice: Mapping[str, Any]) -> Reply:
    found = choice["logprobs"]
    return Reply(
        text=choice["text"].strip(),
        token_logprobs=found["token_logprobs"],
        # The chosen token is listed even where it is not among the best.
        top_logprobs=[
            sorted(top.values(), reverse=True)[:TOP_LOGPROBS] for top in found["top_logprobs"]
        ],
        finish_reason=choice["finish_reason"],
    )
