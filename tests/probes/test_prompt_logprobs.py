import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.probes.prompt_logprobs import (
    NoPromptLogprobs,
    PerplexitySource,
    PromptTokens,
    asking,
    read,
    total,
)
from tests.probes.fake_engine import FakeEngine, tokens_of

WAYS = [PerplexitySource.PROMPT_LOGPROBS, PerplexitySource.ECHO, PerplexitySource.SGLANG]


def answered(way: PerplexitySource, text: str, *, top: int = 0) -> Any:
    question = asking(way, model="support@v7", text=text, top=top)
    engine = FakeEngine(owner="sglang" if way is PerplexitySource.SGLANG else "vllm")
    status, body = engine.complete(question.path, dict(question.body))
    assert status == 200
    return json.loads(body)


@pytest.mark.parametrize("way", WAYS)
def test_every_token_but_the_first_is_told_with_its_text(way: PerplexitySource) -> None:
    tokens = read(way, answered(way, "a fox, é"), text="a fox, é")
    assert tokens == PromptTokens(shown=("a", " fox,", " é"), logprobs=(-0.5, -0.5, -0.5))


@pytest.mark.parametrize("way", WAYS)
def test_rivals_stand_best_first(way: PerplexitySource) -> None:
    tokens = read(way, answered(way, "a fox", top=4), text="a fox", top=4)
    for rivals in tokens.rivals:
        values = [value for _, value in rivals]
        assert values == sorted(values, reverse=True)
        assert len({token for token, _ in rivals}) == len(rivals) == 4


@pytest.mark.parametrize("way", [PerplexitySource.AUTO, PerplexitySource.LOCAL])
def test_some_sources_are_no_way_to_ask_an_engine(way: PerplexitySource) -> None:
    with pytest.raises(ValueError, match="no way to ask"):
        asking(way, model="m", text="x")


def test_the_prompts_own_token_is_looked_up_by_its_id() -> None:
    places = [
        None,
        {
            "9": {"logprob": -0.1, "decoded_token": "no"},
            "7": {"logprob": -2.0, "decoded_token": "a"},
        },
    ]
    choice = {"prompt_logprobs": places, "prompt_token_ids": [1, 7]}
    tokens = read(PerplexitySource.PROMPT_LOGPROBS, {"choices": [choice]}, text="a", top=1)
    assert (tokens.shown, tokens.logprobs, tokens.rivals) == (("a",), (-2.0,), (((9, -0.1),),))


def test_without_ids_the_first_entry_is_the_prompts_own_as_vllm_writes_it() -> None:
    place = {
        "7": {"logprob": -2.0, "decoded_token": "a"},
        "9": {"logprob": -0.1, "decoded_token": "no"},
    }
    answer = {"choices": [{"prompt_logprobs": [None, place]}]}
    assert read(PerplexitySource.PROMPT_LOGPROBS, answer, text="a").shown == ("a",)


def test_an_engine_that_names_no_tokens_tells_nothing() -> None:
    answer = {"choices": [{"prompt_logprobs": [None, {"7": {"logprob": -1.0}}]}]}
    with pytest.raises(NoPromptLogprobs):
        read(PerplexitySource.PROMPT_LOGPROBS, answer, text="a")


def echoed(**more: Any) -> dict[str, Any]:
    logprobs = {
        "tokens": ["<s>", "ab", "cd", " no"],
        "token_logprobs": [None, -1.0, -1.0, -5.0],
        "text_offset": [0, 3, 5, 7],
    }
    return {"choices": [{"logprobs": logprobs}], **more}


def test_a_token_generated_after_the_echo_does_not_count() -> None:
    tokens = read(PerplexitySource.ECHO, echoed(usage={"prompt_tokens": 3}), text="abcd")
    assert (tokens.shown, tokens.logprobs) == (("ab", "cd"), (-1.0, -1.0))


def test_without_usage_the_echo_ends_where_the_text_does() -> None:
    tokens = read(PerplexitySource.ECHO, echoed(), text="<s>abcd")
    assert tokens.shown == ("ab", "cd")


# --- numbers --------------------------------------------------------------------------------


def scored(text: str) -> Any:
    """Score what an engine wrote, NaN and -Infinity included."""
    places = [{"7": {"logprob": value, "decoded_token": "x"}} for value in json.loads(text)]
    answer = {"choices": [{"prompt_logprobs": [None, *places]}]}
    return total(read(PerplexitySource.PROMPT_LOGPROBS, answer, text="x"))


def test_nan_is_left_out_and_minus_infinity_is_thirty_nats() -> None:
    score = scored("[-1.0, NaN, -Infinity, -9999.0, -2.0, null]")
    assert (score.sum_nll, score.tokens, score.non_finite) == (1.0 + 30.0 + 30.0 + 2.0, 4, 4)


def test_a_text_of_nan_only_is_not_scored() -> None:
    score = scored("[NaN]")
    assert math.isnan(score.sum_nll)
    assert (score.tokens, score.non_finite) == (0, 1)


def test_sglang_writes_null_for_what_is_not_finite() -> None:
    meta = {"input_token_logprobs": [[None, 1, "<s>"], [None, 5, "a"], [-1.5, 6, "b"]]}
    score = total(read(PerplexitySource.SGLANG, {"meta_info": meta}, text="ab"))
    assert (score.sum_nll, score.tokens, score.non_finite) == (1.5, 1, 1)


# --- anything -------------------------------------------------------------------------------

KEYS = [
    "choices",
    "prompt_logprobs",
    "prompt_token_ids",
    "logprobs",
    "tokens",
    "token_logprobs",
    "top_logprobs",
    "text_offset",
    "usage",
    "prompt_tokens",
    "logprob",
    "decoded_token",
    "meta_info",
    "input_token_logprobs",
    "input_top_logprobs",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=25,
)


@given(JSON, st.sampled_from(WAYS), st.sampled_from([0, 20]))
def test_any_answer_is_a_score_or_no_score(answer: object, way: PerplexitySource, top: int) -> None:
    try:
        tokens = read(way, answer, text="some text", top=top)
    except NoPromptLogprobs:
        return
    assert len(tokens.shown) == len(tokens.logprobs)
    assert total(tokens).tokens >= 0


@given(st.text(max_size=60), st.sampled_from(WAYS))
def test_what_an_engine_tells_spells_the_text(text: str, way: PerplexitySource) -> None:
    if not tokens_of(text):
        return
    assert "".join(read(way, answered(way, text), text=text).shown) == text
