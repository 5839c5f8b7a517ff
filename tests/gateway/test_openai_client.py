"""The ``openai`` package as applications use it, with nothing changed but the address."""

from collections import deque
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.gateway.conftest import Stage, Start, route
from tests.gateway.stub_engine import WORDS

SAID = "".join(WORDS)
ASKED: Any = [{"role": "user", "content": "When?"}]


@pytest.fixture
def stage(start: Start) -> Stage:
    return start([route(stable=0.5, canary=0.5)])


@pytest.fixture
def client(stage: Stage) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{stage.url}/v1", api_key="k", max_retries=0) as made:
        yield made


def test_chat_and_completions(client: openai.OpenAI) -> None:
    chat = client.chat.completions.create(model="support", messages=ASKED)
    assert chat.choices[0].message.content == SAID
    plain = client.completions.create(model="support", prompt="When?", logprobs=2)
    assert plain.choices[0].text == SAID
    logprobs = plain.choices[0].logprobs
    assert logprobs
    assert logprobs.top_logprobs
    assert len(logprobs.top_logprobs[0]) == 2


def test_streams_with_log_probabilities(client: openai.OpenAI) -> None:
    stream: Any = client.chat.completions.create(
        model="support",
        messages=ASKED,
        stream=True,
        logprobs=True,
        top_logprobs=3,
    )
    chunks = [chunk.choices[0] for chunk in stream]
    assert "".join(chunk.delta.content or "" for chunk in chunks) == SAID
    told = [chunk.logprobs.content for chunk in chunks if chunk.logprobs]
    assert [len(content[0].top_logprobs) for content in told if content] == [3] * len(WORDS)


def test_models_errors_and_headers(client: openai.OpenAI, stage: Stage) -> None:
    assert [model.id for model in client.models.list()] == [
        "support",
        *sorted(stage.engine.models),
    ]
    assert client.models.retrieve("support").id == "support"
    with pytest.raises(openai.NotFoundError, match="nobody"):
        client.completions.create(model="nobody", prompt="x")
    stage.engine.failures = {name: deque([429, 429]) for name in stage.engine.models}
    with pytest.raises(openai.RateLimitError):
        client.completions.create(model="support", prompt="x")
    stage.engine.failures = {}
    raw = client.completions.with_raw_response.create(model="support", prompt="x", user="u")
    assert raw.headers["x-driftline-version"] in {"v1", "v2"}


def test_a_stream_that_is_closed_ends_at_the_engine(client: openai.OpenAI, stage: Stage) -> None:
    stage.engine.pause = 0.2
    answer: Any = client.chat.completions.create(model="support", messages=ASKED, stream=True)
    with answer as stream:
        next(iter(stream))
    assert stage.engine.hung_up.wait(30)
