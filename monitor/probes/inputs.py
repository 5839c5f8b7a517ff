"""Texts to compare models on: real prompts from a file, then a fixed corpus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from monitor.probes.corpus import Corpus, CorpusInvalid, unreadable

T = TypeVar("T")

MOST_LINES: Final = 20_000
"""The most lines read of a file of prompts."""
LONGEST: Final = 4_000
"""Characters of a prompt that are read: about 1,000 tokens."""
SHORTEST_SENTENCE: Final = 20
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One text, and its source: ``prompts.jsonl:17`` or ``general-03``."""

    label: str
    text: str
    real: bool = False


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
    try:
        with path.open(encoding="utf-8") as lines:
            found = dict(_prompts(path, lines))
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusInvalid(f"prompts {path}: {unreadable(error)}") from error
    if not found:
        raise CorpusInvalid(f"prompts {path}: no prompt in it")
    return [
        Input(label=f"{path.name}:{number}", text=text, real=True)
        for text, number in spread(list(found.items()), count)
    ]


def _later_sentences(corpus: Corpus) -> Iterator[Input]:
    for document in corpus.documents:
        for number, text in enumerate(_SENTENCE_END.split(document.text)[1:], start=2):
            if len(text) >= SHORTEST_SENTENCE:
                yield Input(label=f"{document.id}, sentence {number}", text=text)


def _prompts(path: Path, lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    for number, line in zip(range(1, MOST_LINES + 1), lines, strict=False):
        if not line.strip():
            continue
        try:
            text = _prompt(line.strip())
        except ValueError as error:
            raise CorpusInvalid(f"prompts {path}, line {number}: {error}") from None
        yield text[:LONGEST], number


def _prompt(line: str) -> str:
    if not line.startswith("{"):
        return line
    try:
        raw = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError("not JSON that can be read: nested too deeply") from None
    text = raw.get("prompt", raw.get("text"))
    if not isinstance(text, str) or not text.strip():
        raise ValueError('neither "prompt" nor "text" is a text')
    return text
