"""What is cut out of answers, whatever pieces they come in."""

import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.gateway.taps import StreamTap, WholeTap, cleaned, cleaned_events

TOKEN = {"token": 'a"\n{', "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1.0}]}


def chunk(text: str, *, logprobs: Any, index: int = 0) -> dict[str, Any]:
    choice = {"index": index, "delta": {"content": text}, "logprobs": logprobs}
    return {"id": "x", "choices": [choice | {"finish_reason": None}]}


def stream(ends: str, *chunks: dict[str, Any]) -> bytes:
    lines = [f"data: {json.dumps(one)}{ends}" for one in chunks]
    return "".join([f": hello{ends}", *lines, f"data: [DONE]{ends}"]).encode()


texts = st.lists(st.text(max_size=8), min_size=1, max_size=5)


@given(texts, st.sampled_from(["\n\n", "\r\n\r\n", "\r\r"]), st.integers(1, 40))
def test_a_stream_in_any_pieces_is_cleaned_alike(said: list[str], ends: str, size: int) -> None:
    asked = [chunk(text, logprobs={"content": [TOKEN]}) for text in said]
    plain = [chunk(text, logprobs=None) for text in said]
    body = stream(ends, *asked)
    cleaner, reader = StreamTap(strip=True), StreamTap(strip=False)
    pieces = [body[place : place + size] for place in range(0, len(body), size)]
    seen = b"".join(map(cleaner.feed, pieces)) + cleaner.close()
    untouched = b"".join(map(reader.feed, pieces)) + reader.close()
    assert untouched == body
    expected = stream(ends, *plain)
    if ends == "\n\n":
        assert seen == expected
    else:
        assert _documents(seen) == _documents(expected)
    for tap in (cleaner, reader):
        answer = tap.answer()["choices"][0]
        assert answer["message"]["content"] == "".join(said)
        assert answer["logprobs"]["content"] == [TOKEN] * len(said)


def _documents(body: bytes) -> list[Any]:
    lines = body.decode().replace("\r", "\n").split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


@given(st.text(), st.text())
def test_text_that_looks_like_log_probabilities_is_text(first: str, second: str) -> None:
    said = json.dumps({"logprobs": {"content": [TOKEN]}}) + first
    other = chunk(second, logprobs={"content": [TOKEN]}, index=1)
    document = chunk(said, logprobs={"content": [TOKEN]})
    document["choices"] += other["choices"]
    kept = json.loads(cleaned(json.dumps(document).encode()))
    assert [one["logprobs"] for one in kept["choices"]] == [None, None]
    assert [one["delta"]["content"] for one in kept["choices"]] == [said, second]


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b'{"error": {"logprobs": {"a": 1}}}', b"[1]", b'{"choices": 3}', b"\xff"],
)
def test_what_is_no_answer_passes_as_it_came(body: bytes) -> None:
    tap = WholeTap(strip=True)
    assert tap.feed(body) + tap.close() == body
    assert not tap.answer().get("choices") or body == b'{"choices": 3}'


def test_numbers_that_json_does_not_have_are_cut_out_too() -> None:
    body = b'{"choices": [{"text": "a", "logprobs": {"token_logprobs": [NaN]}}], "n": -Infinity}'
    assert json.loads(cleaned(body))["choices"] == [{"text": "a", "logprobs": None}]
    without = b'{"choices": [{"text":"a", "score": NaN}]}'
    assert cleaned(without) == without


@pytest.mark.parametrize(
    "other",
    [
        b": ping\n\n",
        b"event: error\ndata: [1]\n\n",
        b'data:{"choices":[{"logprobs":null}]}\n\n',
        b'data: {"choices": 3}\n\n',
    ],
)
def test_an_event_of_another_kind_leaves_its_neighbours_cleaned(other: bytes) -> None:
    said = stream("\n\n", chunk("a", logprobs={"content": [TOKEN]}))
    plain = stream("\n\n", chunk("a", logprobs=None))
    tap = StreamTap(strip=True)
    assert tap.feed(said + other + said) + tap.close() == plain + other + plain
    choice = tap.answer()["choices"][0]
    assert choice["message"]["content"] == "aa"
    assert choice["logprobs"]["content"] == [TOKEN, TOKEN]


def test_a_name_written_in_escapes_is_the_same_name() -> None:
    other = b'"logprobs":{"tokens":["b"]}}]}\n\n'
    escaped = b'data: {"choices":[{"log\\u0070robs":{"tokens":["a"]}},{' + other
    assert b"tokens" not in cleaned_events(escaped)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("last", ["finish_reason", "logprobs"])
def test_members_in_any_order_and_blanks_are_cleaned(
    separators: tuple[str, str], last: str
) -> None:
    said = '"logprobs"'

    def event(logprobs: Any) -> bytes:
        choices = []
        for found in (logprobs, None, logprobs):
            choice = {"delta": {"content": said}, "finish_reason": None, "logprobs": found}
            choice[last] = choice.pop(last)
            choices.append(choice)
        return b"data: %b\n\n" % json.dumps({"choices": choices}, separators=separators).encode()

    both = b"".join(map(event, [{"content": [TOKEN]}, None, {"content": [TOKEN]}]))
    assert cleaned_events(both) == event(None) * 3


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("ends", ["\n\n", "\r\n\r\n", "\r\r"])
@pytest.mark.parametrize("order", list(itertools.permutations(["delta", "end", "logprobs"])))
def test_nothing_is_cut_out_with_them_whatever_the_order_of_members(
    separators: tuple[str, str], ends: str, order: tuple[str, ...]
) -> None:
    def events(logprobs: Any) -> bytes:
        members = {
            "delta": ("delta", {"content": "a"}),
            "end": ("finish_reason", None),
            "logprobs": ("logprobs", logprobs),
        }
        asked = dict(members[name] for name in order)
        alone = {"choices": [asked]}
        two = {"choices": [asked, asked | {"logprobs": None}]}
        texts = [json.dumps(said, separators=separators) for said in (alone, two)]
        return "".join(f"data: {text}{ends}" for text in 2 * texts).encode()

    said = cleaned_events(events({"content": [TOKEN]}))
    # events that were read one by one end as OpenAI's do
    assert re.split(r"[\r\n]+", said.decode()) == re.split(r"[\r\n]+", events(None).decode())


def test_a_text_that_is_the_name_hides_no_log_probabilities() -> None:
    asked, plain = (chunk("logprobs", logprobs=found) for found in ({"content": [TOKEN]}, None))
    assert cleaned_events(stream("\n\n", asked)) == stream("\n\n", plain)
    mixed = b'data: {"choices":[{"logprobs" :  {"tokens":["a"]},"finish_reason":null}]}\n\n'
    assert b"tokens" not in cleaned_events(mixed + stream("\n\n", asked))


def test_calls_of_tools_are_put_together() -> None:
    parts = [
        {"index": 0, "function": {"name": "look", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"a":'}},
        {"index": 0, "function": {"arguments": " 1}"}},
    ]
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [part]}}]} for part in parts]
    tap = StreamTap(strip=False)
    tap.feed(stream("\n\n", *chunks))
    message = tap.answer()["choices"][0]["message"]
    assert message["tool_calls"] == [{"function": {"name": "look", "arguments": '{"a": 1}'}}]
    assert message["content"] is None
