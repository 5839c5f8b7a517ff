"""Reply bodies, with the fields of vLLM 0.32."""

import time
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any
from uuid import uuid4

from examples.engine.answer import Answer, Piece
from examples.engine.generation import Token
from examples.engine.requests import CompletionRequest
from examples.engine.shelf import Served
from examples.engine.vocabulary import Vocabulary

Json = dict[str, Any]


def model_list(served: Iterable[Served]) -> Json:
    """``GET /v1/models``: the base model has no parent, adapters have it as theirs."""
    return {"object": "list", "data": [_model_card(model) for model in served]}


def completion(request: CompletionRequest, answers: Sequence[Answer]) -> Json:
    """``POST /v1/completions``: one choice per prompt."""
    choices = [
        _completion_choice(request, answer, index=index) for index, answer in enumerate(answers)
    ]
    return _envelope("cmpl", "text_completion", request.model) | {
        "choices": choices,
        "usage": usage(answers),
        "kv_transfer_params": None,
    }


def chat_completion(model: str, answer: Answer, *, logprobs: bool) -> Json:
    """``POST /v1/chat/completions`` without a stream."""
    choice = {
        "index": 0,
        "message": {
            "role": "assistant",
            "content": answer.text,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "tool_calls": [],
            "reasoning": None,
        },
        "logprobs": _chat_logprobs(answer.vocabulary, answer.tokens) if logprobs else None,
        "finish_reason": answer.finish_reason,
        "stop_reason": answer.stream.stopped_by,
        "token_ids": None,
    }
    return _envelope("chatcmpl", "chat.completion", model) | {
        "choices": [choice],
        "usage": usage([answer]),
        "prompt_logprobs": prompt_logprobs(answer) if answer.prompt else None,
        "prompt_token_ids": None,
        "kv_transfer_params": None,
    }


class ChatChunks:
    """Chunks of one streamed chat answer; all carry one id."""

    def __init__(self, model: str, vocabulary: Vocabulary, *, logprobs: bool) -> None:
        self._envelope = _envelope("chatcmpl", "chat.completion.chunk", model)
        self._vocabulary = vocabulary
        self._logprobs = logprobs

    def first(self) -> Json:
        """Name the role before any text."""
        return self._chunk({"role": "assistant", "content": ""}, logprobs=None, ended=None)

    def piece(self, piece: Piece, answer: Answer) -> Json:
        """Carry one token; the last one says why the answer ended."""
        logprobs = _chat_logprobs(self._vocabulary, [piece.token]) if self._logprobs else None
        return self._chunk(
            {"content": piece.text}, logprobs=logprobs, ended=answer if piece.last else None
        )

    def usage(self, answer: Answer) -> Json:
        """Count tokens in a chunk without choices."""
        return self._envelope | {"choices": [], "usage": usage([answer])}

    def _chunk(self, delta: Json, *, logprobs: Json | None, ended: Answer | None) -> Json:
        choice: Json = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": None}
        if ended is not None:
            choice["finish_reason"] = ended.finish_reason
            choice["stop_reason"] = ended.stream.stopped_by
        return self._envelope | {"choices": [choice | {"token_ids": None}]}


def usage(answers: Sequence[Answer]) -> Json:
    """Count tokens; the end token counts as written."""
    read = sum(len(answer.prompt_ids) for answer in answers)
    written = sum(len(answer.tokens) for answer in answers)
    return {
        "prompt_tokens": read,
        "total_tokens": read + written,
        "completion_tokens": written,
        "prompt_tokens_details": None,
    }


def prompt_logprobs(answer: Answer) -> list[Json | None]:
    """Score each prompt token by id; the first has nothing before it: null."""
    return [None, *(_by_id(answer.vocabulary, token) for token in answer.prompt)]


def _completion_choice(request: CompletionRequest, answer: Answer, *, index: int) -> Json:
    echo = request.echo
    scored = request.prompt_logprobs is not None
    wanted = request.logprobs is not None
    shown = "".join(map(answer.vocabulary.shown, answer.prompt_ids[1:])) if echo else ""
    return {
        "index": index,
        "text": shown + answer.text,
        "logprobs": _completion_logprobs(answer, echo=echo) if wanted else None,
        "finish_reason": answer.finish_reason,
        "stop_reason": answer.stream.stopped_by,
        "token_ids": [token.id for token in answer.tokens] if request.return_token_ids else None,
        "prompt_logprobs": prompt_logprobs(answer) if scored else None,
        "prompt_token_ids": answer.prompt_ids if request.return_token_ids else None,
    }


def _completion_logprobs(answer: Answer, *, echo: bool) -> Json:
    vocabulary = answer.vocabulary
    scored = [*answer.prompt, *answer.tokens] if echo else answer.tokens
    first = answer.prompt_ids[:1] if echo else []
    shown = [vocabulary.shown(i) for i in [*first, *(token.id for token in scored)]]
    unscored: list[None] = [None] * len(first)
    return {
        "text_offset": [0, *accumulate(map(len, shown[:-1]))][: len(shown)],
        "token_logprobs": [*unscored, *(token.logprob for token in scored)],
        "tokens": shown,
        "top_logprobs": [*unscored, *(_by_text(vocabulary, token) for token in scored)],
    }


def _chat_logprobs(vocabulary: Vocabulary, tokens: Sequence[Token]) -> Json:
    return {
        "content": [
            _chat_token(vocabulary, token.id, token.logprob)
            | {"top_logprobs": [_chat_token(vocabulary, *rival) for rival in token.top]}
            for token in tokens
        ]
    }


def _chat_token(vocabulary: Vocabulary, token: int, logprob: float) -> Json:
    return {
        "token": vocabulary.shown(token),
        "logprob": logprob,
        "bytes": list(vocabulary.raw(token)),
    }


def _by_text(vocabulary: Vocabulary, token: Token) -> dict[str, float]:
    return {vocabulary.shown(i): value for i, value in ((token.id, token.logprob), *token.top)}


def _by_id(vocabulary: Vocabulary, token: Token) -> Json:
    ranked = [(token.id, token.logprob, token.rank)]
    ranked += [
        (i, value, rank) for rank, (i, value) in enumerate(token.top, start=1) if i != token.id
    ]
    return {
        str(i): {"logprob": value, "rank": rank, "decoded_token": vocabulary.shown(i)}
        for i, value, rank in ranked
    }


def _model_card(served: Served) -> Json:
    return {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "driftline-demo",
        "root": str(served.root),
        "parent": served.parent,
        "max_model_len": None if served.parent else served.model.config.max_position_embeddings,
        "permission": [],
    }


def _envelope(prefix: str, kind: str, model: str) -> Json:
    return {
        "id": f"{prefix}-{uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }
