"""From a request to a queued job: tokens, limits, and the answer that collects the result."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from random import Random

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from examples.engine.answer import Answer, Piece
from examples.engine.errors import RefusalError
from examples.engine.generation import Ask, Sampling
from examples.engine.requests import AnswerRequest, ChatRequest, CompletionRequest
from examples.engine.shelf import Served, Shelf
from examples.engine.vocabulary import TextStream, Vocabulary
from examples.engine.worker import Job, Worker


class Desk:
    """Takes requests for the models of a shelf and has a worker answer them."""

    def __init__(self, shelf: Shelf, tokenizer: PreTrainedTokenizerFast) -> None:
        self.shelf = shelf
        self.vocabulary = Vocabulary(tokenizer)
        self.worker = Worker()
        self._tokenizer = tokenizer
        self._context: int = shelf.base.model.config.max_position_embeddings

    async def complete(self, request: CompletionRequest) -> list[Answer]:
        """Answer every prompt of a completion request, together."""
        served = self.shelf.find(request.model)
        asked = [
            self._ask(
                request,
                served,
                ids=self._encode(prompt, special=True),
                limit=request.max_tokens,
                scored=request.scored,
                top=request.logprobs or 0,
                on_piece=None,
            )
            for prompt in request.prompts
        ]
        for _, job in asked:
            self.worker.submit(job)
        await asyncio.gather(*(asyncio.wrap_future(job.done) for _, job in asked))
        return [answer for answer, _ in asked]

    def chat(
        self, request: ChatRequest, on_piece: Callable[[Piece], None] | None = None
    ) -> tuple[Answer, Future[None]]:
        """Queue a chat request; the future resolves when the answer is whole."""
        served = self.shelf.find(request.model)
        answer, job = self._ask(
            request,
            served,
            ids=self._conversation(request),
            limit=request.limit,
            scored=request.prompt_logprobs,
            top=request.top_logprobs or 0,
            on_piece=on_piece,
        )
        self.worker.submit(job)
        return answer, job.done

    def _conversation(self, request: ChatRequest) -> list[int]:
        turns = [{"role": turn.role, "content": turn.content} for turn in request.messages]
        try:
            text = self._tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, tokenize=False
            )
        except TemplateError as error:
            raise RefusalError(message=str(error)) from error
        return self._encode(str(text), special=False)

    def _encode(self, text: str, *, special: bool) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=special, verbose=False)[
            "input_ids"
        ]
        return ids

    def _ask(
        self,
        request: AnswerRequest,
        served: Served,
        *,
        ids: list[int],
        limit: int | None,
        scored: int | None,
        top: int,
        on_piece: Callable[[Piece], None] | None,
    ) -> tuple[Answer, Job]:
        max_tokens = self._room(len(ids), limit)
        answer = Answer(
            vocabulary=self.vocabulary,
            stream=TextStream(request.stops),
            max_tokens=max_tokens,
            ends=frozenset(() if request.ignore_eos else (self._tokenizer.eos_token_id,)),
            prompt_ids=ids,
            on_piece=on_piece,
        )
        sampling = Sampling(
            max_tokens=max_tokens,
            temperature=request.temperature,
            top_p=request.top_p,
            top_logprobs=top,
            prompt_logprobs=scored,
        )
        ask = Ask(
            ids=ids,
            sampling=sampling,
            on_prompt=answer.take_prompt,
            on_token=answer.take,
            random=Random(request.seed),  # noqa: S311 - draws words, not secrets
        )
        return answer, Job(served=served, ask=ask)

    def _room(self, prompt: int, limit: int | None) -> int:
        left = self._context - prompt
        if left < (1 if limit is None else limit):
            wanted = 1 if limit is None else limit
            raise RefusalError(
                message=f"This model's maximum context length is {self._context} tokens. However, "
                f"you requested {wanted} output tokens and your prompt contains {prompt} input "
                f"tokens, for a total of {wanted + prompt} tokens."
            )
        return left if limit is None else limit
