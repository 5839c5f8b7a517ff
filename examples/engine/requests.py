"""Request bodies. A field that the engine does not honour is refused, never ignored."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_TopK = Annotated[int, Field(ge=0, le=20)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StreamOptions(_Body):
    """What a stream adds at its end."""

    include_usage: bool = False


class AnswerRequest(_Body):
    """What completions and chat completions have in common."""

    model: str
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int | None = None
    stop: str | list[str] | None = None
    n: Literal[1] = 1
    ignore_eos: bool = False
    user: str | None = None
    metadata: dict[str, Any] | None = None
    prompt_logprobs: _TopK | None = None

    @property
    def stops(self) -> list[str]:
        """Stop strings; none are given as an empty list."""
        return [self.stop] if isinstance(self.stop, str) else [s for s in self.stop or [] if s]


class CompletionRequest(AnswerRequest):
    """Body of ``POST /v1/completions``."""

    prompt: str | list[str]
    max_tokens: Annotated[int, Field(ge=0)] = 16
    echo: bool = False
    logprobs: _TopK | None = None
    return_token_ids: bool = False
    stream: Literal[False] = False

    @property
    def prompts(self) -> list[str]:
        """Prompts, one choice each."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    @property
    def scored(self) -> int | None:
        """Rivals to report for each prompt token, None when prompts need no scores."""
        echoed = self.logprobs if self.echo else None
        wanted = [k for k in (self.prompt_logprobs, echoed) if k is not None]
        return max(wanted, default=None)

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if not self.prompts:
            raise ValueError("Either prompt or prompt_embeds must be provided and non-empty.")
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens must be at least 1, or 0 together with echo.")
        return self


class Message(_Body):
    """One turn of a conversation."""

    role: str
    content: str
    name: str | None = None


class ChatRequest(AnswerRequest):
    """Body of ``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: _TopK | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None

    @property
    def limit(self) -> int | None:
        """Most tokens to answer with, or None for what the context leaves."""
        return self.max_completion_tokens or self.max_tokens

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("when using `top_logprobs`, `logprobs` must be set to true.")
        if self.prompt_logprobs is not None and self.stream:
            raise ValueError("`prompt_logprobs` are not available when `stream=True`.")
        return self


class LoadRequest(_Body):
    """Body of ``POST /v1/load_lora_adapter``."""

    lora_name: str = ""
    lora_path: str = ""
    load_inplace: bool = False
    is_3d_lora_weight: Literal[False] = False


class UnloadRequest(_Body):
    """Body of ``POST /v1/unload_lora_adapter``."""

    lora_name: str = ""
    lora_int_id: int | None = None
