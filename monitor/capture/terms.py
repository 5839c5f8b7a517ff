"""Extract the terms of a prompt as keyed hashes, to compare texts that are not stored.

A term is a word or two consecutive words. Numbers, addresses and ids are not terms, and text masked
by :mod:`monitor.capture.redact` is not read. :mod:`monitor.store.records.terms` keeps the word
behind a hash once enough people used it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from monitor.capture.redact import redact

LONGEST_TEXT: Final = 4_000
"""Characters of a prompt that are read, from its beginning, as the encoder reads it."""
MOST_TERMS: Final = 32
"""Terms per record; of more, those with the smallest hashes are kept, alike in every record."""
HASH_BYTES: Final = 8

_SHORTEST: Final = 2
_LONGEST: Final = 24
"""Letters of a word; longer ones are more often hashes and encodings."""
_MASK: Final = re.compile(r"\[[a-z]+\]")
_SENTENCE: Final = re.compile(r"[.!?;:\u3002\uff01\uff1f\u0964]+(?=\s|$)|[\n\r\u2028\u2029\u3002]+")
UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts without spaces between words, as ranges of a regular expression."""
_UNSPACED: Final = re.compile(f"[{UNSPACED}]+")
"""Pairs of their characters stand for words."""
_ODD: Final = re.compile(r"[\d@_/\\=#&%<>{}\[\]|~^$+*`.:]")
"""A letter on either side of one of these is part of a number, an address, a path or code."""
_EDGES: Final = re.compile(
    r"^[!-/:-@\[-`{-~\u2010-\u203a\u00ab\u00bb\u00bf\u00a1]+|[!-/:-@\[-`{-~\u2010-\u203a\u00ab\u00bb]+$"
)
_MIXED: Final = re.compile("[a-z][A-Z]")
_APOSTROPHES: Final = str.maketrans({"\u2019": "'", "\u02bc": "'"})

Redact = Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TermHashes:
    """Maps a prompt to the hashes of its terms, under the key of subjects."""

    key: bytes = field(repr=False)
    redact: Redact = redact

    def __call__(self, prompt: str) -> dict[bytes, str]:
        """Return at most 32 terms of 8 bytes, in order of their hashes, each with its words.

        Without the key a hash reveals nothing; with it a guess can be tested.
        """
        read = unicodedata.normalize("NFKC", prompt[:LONGEST_TEXT])
        hashed = {self._hash(term): term for term in terms_of(self.redact(read))}
        return dict(sorted(hashed.items())[:MOST_TERMS])

    def _hash(self, term: str) -> bytes:
        # the person keeps a term's hash apart from a subject's of the same name
        return hashlib.blake2b(
            term.encode("utf-8", "surrogatepass"),
            key=self.key,
            digest_size=HASH_BYTES,
            person=b"term",
        ).digest()


def terms_of(text: str) -> set[str]:
    """Return the words of a redacted text and the pairs of consecutive words.

    >>> sorted(terms_of("My card [card] is LOST; order A-1234 too"))
    ['card', 'is', 'is lost', 'lost', 'my', 'my card', 'order', 'too']
    >>> sorted(terms_of("see ann@example.org or https://evil.test/x?y=1"))
    ['or', 'see']
    """
    found: set[str] = set()
    for sentence in _SENTENCE.split(_MASK.sub("\n", text.translate(_APOSTROPHES))):
        before: str | None = None
        for word in _words(sentence):
            if word is not None:
                found.add(word)
                if before is not None:
                    found.add(f"{before} {word}")
            before = word
        for run in _UNSPACED.findall(sentence):
            found |= {run[i : i + 2] for i in range(len(run) - 1)}
    return found


def _words(sentence: str) -> Iterator[str | None]:
    """Yield words in order, and None where a non-word separates two."""
    for chunk in _UNSPACED.sub(" - ", sentence).split():
        # invisible characters must not split a word, or hide what it is
        seen = "".join(c for c in chunk if c.isalnum() or unicodedata.category(c)[0] != "C")
        core = _EDGES.sub("", seen)
        if not core or _ODD.search(core) or _MIXED.search(core):
            yield None
            continue
        for piece in "".join(c if _of_a_word(c) else " " for c in core).split():
            word = piece.strip("'").lower()
            yield word if _is_word(word) else None


def _of_a_word(character: str) -> bool:
    """True for a letter, a combining mark or an apostrophe."""
    return (
        character.isalpha() or character == "'" or unicodedata.category(character).startswith("M")
    )


def _is_word(word: str) -> bool:
    return sum(map(str.isalpha, word)) >= _SHORTEST and len(word) <= _LONGEST
