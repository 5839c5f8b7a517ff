"""Texts to compare models on: real prompts from a file, then a fixed corpus."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from monitor.probes.corpus import Corpus, CorpusInvalid, unreadable

T = TypeVar("T")

MOST_LINES: Final = 20_000
"""The most lines read of a file of prompts."""
LONGEST: Final = 4_000
"""Characters of a prompt that are read: about 1,000 tokens."""
SHORTEST_SENTENCE: Final = 20
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")


class AnsweredText(msgspec.Struct, frozen=True):
    """A question and its answer, of which only the answer counts.

    ``answer_at`` is the number of characters before the answer.
    """

    text: str
    answer_at: int


GivenText = str | AnsweredText
"""A text of which everything counts, or an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One text, and its source: ``prompts.jsonl:17`` or ``general-03``.

    ``answer_at`` is the number of characters before its answer; 0: it has none.
    """

    label: str
    text: str
    real: bool = False
    answer_at: int = 0


def spread(items: Sequence[T], count: int) -> list[T]:
    """Take ``count`` items evenly over a sequence; all of them if there are fewer.

    >>> spread("abcdefgh", 3)
    ['a', 'c', 'f']
    """
    if len(items) <= count:
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def general(corpus: Corpus, count: int) -> list[Input]:
    """Take documents of a corpus, then single sentences if there are too few."""
    whole = documents(corpus, count)
    return [*whole, *sentences(corpus, count - len(whole))]


def documents(corpus: Corpus, count: int) -> list[Input]:
    """Take ``count`` documents, or all of them."""
    chosen = spread(corpus.documents, count)
    return [Input(label=document.id, text=document.text) for document in chosen]


def sentences(corpus: Corpus, count: int) -> list[Input]:
    """Take single sentences, without the text before them.

    Never a document's first one, which a model reads as it does the document itself.
    """
    return spread(list(_later_sentences(corpus)), count)


def prompts(path: Path, count: int) -> list[Input]:
    """Take ``count`` different prompts evenly over a file of lines.

    A line is JSON with ``"prompt"`` or ``"text"``, or the prompt itself; prompts are cut to 4,000
    characters.

    Raises
    ------
    CorpusInvalid
        The file cannot be read or a line is not a prompt; the message names the line and never
        quotes it.
    """
    return _spread(path, count, _prompt)


def examples(path: Path, count: int) -> list[Input]:
    """Take ``count`` different texts evenly over a file of lines, each with its answer.

    A line is as for :func:`prompts`; ``"completion"`` beside ``"prompt"`` is its answer, which the
    text ends with. Raises CorpusInvalid.
    """
    return _spread(path, count, _example)


def shortened(text: str, answer_at: int) -> tuple[str, int]:
    """Cut a text to what is read: the beginning of its question first, then the end.

    >>> shortened("q" * 4_000 + "answer", 4_000)[1]
    3994
    """
    cut = min(answer_at, max(0, len(text) - LONGEST))
    return text[cut:][:LONGEST], answer_at - cut


def _spread(path: Path, count: int, read: Callable[[str], tuple[str, int]]) -> list[Input]:
    try:
        with path.open(encoding="utf-8") as lines:
            found = {one.text: one for one in _read(path, lines, read)}
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusInvalid(f"prompts {path}: {unreadable(error)}") from error
    if not found:
        raise CorpusInvalid(f"prompts {path}: no prompt in it")
    return spread(list(found.values()), count)


def _later_sentences(corpus: Corpus) -> Iterator[Input]:
    for document in corpus.documents:
        for number, text in enumerate(_SENTENCE_END.split(document.text)[1:], start=2):
            if len(text) >= SHORTEST_SENTENCE:
                yield Input(label=f"{document.id}, sentence {number}", text=text)


def _read(
    path: Path, lines: Iterable[str], read: Callable[[str], tuple[str, int]]
) -> Iterator[Input]:
    for number, line in zip(range(1, MOST_LINES + 1), lines, strict=False):
        if not line.strip():
            continue
        try:
            text, answer_at = read(line.strip())
        except ValueError as error:
            raise CorpusInvalid(f"prompts {path}, line {number}: {error}") from None
        text, answer_at = shortened(text, answer_at)
        yield Input(label=f"{path.name}:{number}", text=text, real=True, answer_at=answer_at)


def _example(line: str) -> tuple[str, int]:
    """Return prompt and completion in one, and where the latter begins."""
    raw = _raw(line)
    prompt, completion = raw.get("prompt"), raw.get("completion")
    if isinstance(prompt, str) and isinstance(completion, str) and completion.strip():
        return prompt + completion, len(prompt)
    return _prompt(line)


def _prompt(line: str) -> tuple[str, int]:
    raw = _raw(line)
    text = raw.get("prompt", raw.get("text"))
    if not isinstance(text, str) or not text.strip():
        raise ValueError('neither "prompt" nor "text" is a text')
    return text, 0


def _raw(line: str) -> dict[str, Any]:
    if not line.startswith("{"):
        return {"text": line}
    try:
        raw: dict[str, Any] = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError("not JSON that can be read: nested too deeply") from None
    return raw
