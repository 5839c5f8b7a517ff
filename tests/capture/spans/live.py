"""Be an application that traces its calls, and sends the spans to Driftline as they end.

It runs in the environment that has the instrumentations, ``.venv-spans``, as told by a JSON object
on standard input: ``kind``, ``model``, ``question``, ``engine``, ``into`` and ``key``. The kind
``sdk`` is an application without instrumentation, which writes its spans itself.
"""

import json
import sys
from importlib import import_module
from typing import Any

from tests.capture.spans.record import MODULES, ask, asked, exporting, instrumented


def main() -> None:
    told = json.load(sys.stdin)
    model, question = told["model"], told["question"]
    provider = exporting(
        f"{told['into']}/v1/traces",
        processor="BatchSpanProcessor",
        authorization=f"Bearer {told['key']}",
    )
    made = instrumented(told["kind"]) if told["kind"] in MODULES else import_module("openai").OpenAI
    client = made(base_url=f"{told['engine']}/v1", api_key="none", max_retries=0)
    if told["kind"] in MODULES:
        ask(client, model=model, **question)
    else:
        by_hand(client, provider.get_tracer("shop"), model, asked(**question))
    assert provider.force_flush(), "the spans were not sent"


def by_hand(client: Any, tracer: Any, model: str, request: dict[str, Any]) -> None:
    """Trace one call as the semantic conventions have it, and Driftline's page on telemetry."""
    with tracer.start_as_current_span("chat") as span:
        answer = client.chat.completions.create(model=model, **request)
        choice = answer.choices[0]
        scored = choice.logprobs.content
        messages = [(one["role"], one["content"]) for one in request["messages"]]
        span.set_attributes(
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": model,
                "gen_ai.response.model": answer.model,
                "gen_ai.response.id": answer.id,
                "gen_ai.input.messages": _written(*messages),
                "gen_ai.output.messages": _written(("assistant", choice.message.content)),
                "gen_ai.response.finish_reasons": [choice.finish_reason],
                "gen_ai.request.temperature": request["temperature"],
                "gen_ai.request.max_tokens": request["max_tokens"],
                "gen_ai.usage.input_tokens": answer.usage.prompt_tokens,
                "gen_ai.usage.output_tokens": answer.usage.completion_tokens,
                "driftline.token_logprobs": [one.logprob for one in scored],
                "driftline.top_logprobs": json.dumps(
                    [[top.logprob for top in one.top_logprobs] for one in scored]
                ),
            }
        )


def _written(*messages: tuple[str, str]) -> str:
    parts = [(role, {"type": "text", "content": text}) for role, text in messages]
    return json.dumps([{"role": role, "parts": [part]} for role, part in parts])


if __name__ == "__main__":
    main()
