import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.parity import TopLogprobs
from monitor.probes import inputs
from monitor.probes.asking import Target
from monitor.probes.comparing import AT_ONCE, document_scores, joined, read_all
from monitor.probes.corpus import Corpus, CorpusInvalid, Document, load_corpus

CORPUS = Corpus(
    name="tiny",
    documents=(
        Document(id="a", text="The first sentence is long. The second one is long as well. No."),
        Document(id="b", text="Only one sentence stands here, however long it may be."),
    ),
)


@given(items=st.lists(st.integers(), max_size=50, unique=True), count=st.integers(0, 60))
def test_a_spread_is_in_order_and_repeats_nothing(items: list[int], count: int) -> None:
    taken = inputs.spread(items, count)
    assert len(taken) == min(len(items), count)
    assert taken == [item for item in items if item in taken]


def test_sentences_leave_out_what_a_model_reads_in_the_document_too() -> None:
    assert [(one.label, one.text) for one in inputs.sentences(CORPUS, 9)] == [
        ("a, sentence 2", "The second one is long as well.")
    ]


def test_a_small_corpus_is_filled_up_with_its_sentences() -> None:
    assert [one.label for one in inputs.general(CORPUS, 3)] == ["a", "b", "a, sentence 2"]


def test_the_built_in_corpus_is_enough_without_a_file() -> None:
    taken = inputs.general(load_corpus(), 200)
    assert len(taken) == len({one.text for one in taken}) == 200
    assert not any(one.real for one in taken)


def test_prompts_are_read_from_json_and_from_plain_lines(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    lines = [
        json.dumps({"prompt": "one"}),
        "",
        json.dumps({"text": "two"}),
        "three {plain}",
        json.dumps({"prompt": "one"}),
        "x" * (inputs.LONGEST + 1),
    ]
    file.write_text("\n".join(lines))
    found = inputs.prompts(file, 10)
    assert [one.text for one in found[:3]] == ["one", "two", "three {plain}"]
    assert len(found[3].text) == inputs.LONGEST
    assert len(found) == 4
    assert found[1].label == "log.jsonl:3"
    assert all(one.real for one in found)


def test_a_completion_is_the_answer_that_its_text_ends_with(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    long = "q" * inputs.LONGEST
    lines = [
        json.dumps({"prompt": "one?", "completion": " two"}),
        json.dumps({"prompt": "one?"}),
        json.dumps({"prompt": long, "completion": " two"}),
        "plain",
    ]
    file.write_text("\n".join(lines))
    found = inputs.examples(file, 10)
    assert [one.text[one.answer_at :] for one in found] == [" two", "one?", " two", "plain"]
    assert found[2].text == long[4:] + " two", "a long question loses its beginning"
    assert [one.text for one in inputs.prompts(file, 10)] == ["one?", long, "plain"]


@pytest.mark.parametrize(
    "line",
    [
        '{"prompt": null}',
        '{"prompt": "  "}',
        "{}",
        "{",
        '{"prompt": ["a"]}',
        pytest.param('{"prompt": ' + "[" * 100_000, id="nested"),
    ],
)
def test_a_line_that_is_no_prompt_is_named_and_not_quoted(tmp_path: Path, line: str) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text(f"fine\n{line}\n")
    with pytest.raises(CorpusInvalid, match="line 2: ") as told:
        inputs.prompts(file, 10)
    assert line not in str(told.value).partition("line 2")[2]


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "log.gz"
    file.write_bytes(b"\x1f\x8b\xff\xff")
    with pytest.raises(CorpusInvalid, match=r"log\.gz: it is not text in UTF-8"):
        inputs.prompts(file, 10)
    with pytest.raises(CorpusInvalid, match="nowhere: No such file or directory"):
        inputs.prompts(tmp_path / "nowhere", 10)


class Echo:
    """Reads a text of n words as n tokens of -1 nat; every other call knows a rival less."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def read(self, target: Target, texts: Sequence[str]) -> TopLogprobs:
        assert target.model == "m"
        self.calls.append(len(texts))
        document = np.repeat(np.arange(len(texts)), [len(text.split()) for text in texts])
        k = 3 - len(self.calls) % 2
        return TopLogprobs(
            chosen=np.full(document.size, -1.0),
            tokens=np.tile(np.arange(k), (document.size, 1)),
            logprobs=np.tile(-1.0 - np.arange(k), (document.size, 1)),
            document=document,
        )


def test_texts_are_read_few_at_a_time_and_put_together() -> None:
    texts = ["a b c"] * AT_ONCE + ["", "d e"]
    probe, done = Echo(), [0]

    def tick(count: int) -> None:
        done[0] += count

    read = read_all(probe, Target(model="m"), texts, tick=tick)
    assert (probe.calls, done) == ([AT_ONCE, 2], [len(texts)])
    assert read.tokens.shape == read.logprobs.shape == (3 * AT_ONCE + 2, 3)
    assert (read.tokens[0, -1], read.logprobs[0, -1]) == (-1, -np.inf)
    scores = document_scores(read, texts)
    assert scores.tokens.tolist() == [3.0] * AT_ONCE + [0.0, 2.0]
    assert scores.sum_nll[:AT_ONCE].tolist() == [3.0] * AT_ONCE
    assert np.isnan(scores.sum_nll[AT_ONCE])
    assert scores.size_bytes[-1] == 3.0


def test_joining_one_reading_changes_nothing() -> None:
    read = Echo().read(Target(model="m"), ["a b"])
    assert np.array_equal(joined([read]).logprobs, read.logprobs)
