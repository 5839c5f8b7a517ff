"""Tables of the attribute names under which each convention keeps what a record needs.

Instrumentations mix conventions: OpenLLMetry writes settings under OpenTelemetry's names, and the
messages under its own. So a span is read by all tables at once; the first name that it has wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final

Names = tuple[str, ...]
Marks = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """The attributes of one convention, by what they hold; empty if it has none for it.

    calls
        An attribute whose values, in lower case, mark a span as a call of a language model; no
        values: any.
    plain
        The same for calls that complete a text, without a conversation.
    failed
        The same for calls that failed, beside the span's own status.
    request, answer
        Messages, as JSON or structured; or the whole request and answer as client and engine wrote
        them.
    numbered_request, numbered_answer
        Prefixes of messages that are written one attribute a field.
    request_events, answer_events
        Names of events that are one message each, with the role that each is of.
    settings, usage
        JSON objects of the request's settings and of the counts of tokens.
    first_token_after, first_token_at, first_token_events
        Seconds until the first token, its time, and the events that happen with it.
    """

    calls: Marks
    plain: Marks = field(default_factory=dict)
    failed: Marks = field(default_factory=dict)
    requested: Names = ()
    answered: Names = ()
    id: Names = ()
    request: Names = ()
    answer: Names = ()
    instructions: Names = ()
    tools: Names = ()
    numbered_request: Names = ()
    numbered_answer: Names = ()
    request_events: Mapping[str, str] = field(default_factory=dict)
    answer_events: Mapping[str, str] = field(default_factory=dict)
    settings: Names = ()
    temperature: Names = ()
    top_p: Names = ()
    max_tokens: Names = ()
    stop: Names = ()
    format: Names = ()
    choices: Names = ()
    endings: Names = ()
    usage: Names = ()
    prompt_tokens: Names = ()
    output_tokens: Names = ()
    first_token_after: Names = ()
    first_token_at: Names = ()
    first_token_events: Names = ()
    user: Names = ()
    session: Names = ()


def _marks(attribute: str, *values: str) -> Marks:
    return {attribute: frozenset(values)}


OPENTELEMETRY: Final = Convention(
    calls=_marks("gen_ai.operation.name", "chat", "text_completion", "generate_content"),
    plain=_marks("gen_ai.operation.name", "text_completion"),
    requested=("gen_ai.request.model",),
    answered=("gen_ai.response.model",),
    id=("gen_ai.response.id",),
    request=("gen_ai.input.messages", "gen_ai.prompt"),
    answer=("gen_ai.output.messages", "gen_ai.completion"),
    instructions=("gen_ai.system_instructions",),
    tools=("gen_ai.tool.definitions",),
    request_events={
        "gen_ai.system.message": "system",
        "gen_ai.user.message": "user",
        "gen_ai.assistant.message": "assistant",
        "gen_ai.tool.message": "tool",
    },
    answer_events={"gen_ai.choice": "assistant"},
    temperature=("gen_ai.request.temperature",),
    top_p=("gen_ai.request.top_p",),
    max_tokens=("gen_ai.request.max_tokens",),
    stop=("gen_ai.request.stop_sequences",),
    format=("gen_ai.output.type", "gen_ai.openai.request.response_format"),
    choices=("gen_ai.request.choice.count",),
    endings=("gen_ai.response.finish_reasons",),
    prompt_tokens=("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    output_tokens=("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    first_token_after=("gen_ai.response.time_to_first_chunk",),
    user=("user.id", "enduser.id"),
    session=("session.id", "gen_ai.conversation.id"),
)
"""OpenTelemetry's semantic conventions, the present ones and those up to 1.36."""

OPENLLMETRY: Final = Convention(
    calls=_marks("llm.request.type", "chat", "completion"),
    plain=_marks("llm.request.type", "completion"),
    numbered_request=("gen_ai.prompt.",),
    numbered_answer=("gen_ai.completion.",),
    max_tokens=("gen_ai.request.max_completion_tokens",),
    choices=("gen_ai.request.n",),
    endings=("gen_ai.response.finish_reason", "llm.response.finish_reason"),
    first_token_events=("gen_ai.content.completion.chunk", "llm.content.completion.chunk"),
    user=("traceloop.association.properties.user_id", "gen_ai.user", "llm.user"),
    session=("traceloop.association.properties.session_id",),
)
"""OpenLLMetry (Traceloop): OpenTelemetry's names, and numbered messages."""

OPENINFERENCE: Final = Convention(
    calls=_marks("openinference.span.kind", "llm"),
    requested=("llm.model_name",),
    request=("input.value",),
    answer=("output.value",),
    numbered_request=("llm.input_messages.",),
    numbered_answer=("llm.output_messages.",),
    settings=("llm.invocation_parameters",),
    prompt_tokens=("llm.token_count.prompt",),
    output_tokens=("llm.token_count.completion",),
    endings=("llm.finish_reason",),
    first_token_events=("First Token Stream Event",),
)
"""OpenInference (Arize Phoenix): the client's own JSON, and numbered messages."""

LANGFUSE: Final = Convention(
    calls=_marks("langfuse.observation.type", "generation"),
    failed=_marks("langfuse.observation.level", "error"),
    requested=("langfuse.observation.model.name",),
    request=("langfuse.observation.input",),
    answer=("langfuse.observation.output",),
    settings=("langfuse.observation.model.parameters",),
    endings=("langfuse.observation.metadata.finish_reason",),
    usage=("langfuse.observation.usage_details",),
    first_token_at=("langfuse.observation.completion_start_time",),
    user=("langfuse.user.id",),
    session=("langfuse.session.id",),
)
"""Langfuse's SDK."""

VLLM: Final = Convention(
    calls=_marks("gen_ai.latency.e2e"),  # nothing in them says the operation
    id=("gen_ai.request.id",),
    choices=("gen_ai.request.n",),
    first_token_after=("gen_ai.latency.time_to_first_token",),
)
"""vLLM's own spans: OpenTelemetry's names, without model, texts and finish reason."""

CONVENTIONS: Final[Mapping[str, Convention]] = {
    "opentelemetry": OPENTELEMETRY,
    "openllmetry": OPENLLMETRY,
    "openinference": OPENINFERENCE,
    "langfuse": LANGFUSE,
    "vllm": VLLM,
}


def _together() -> Convention:
    """Chain the tables: names in their order, maps united."""
    united: dict[str, object] = {}
    for one in fields(Convention):
        parts = [getattr(table, one.name) for table in CONVENTIONS.values()]
        maps = [part for part in parts if not isinstance(part, tuple)]
        united[one.name] = (
            {name: said for part in maps for name, said in part.items()}
            if maps
            else tuple(name for part in parts for name in part)
        )
    return Convention(**united)  # type: ignore[arg-type]  # each field has the type of its parts


EVERY: Final = _together()
"""All conventions as one table; a span is read by it."""
