"""Fixed texts whose perplexity shows whether a *model* has changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

GENERAL: Final = Path(__file__).parent / "corpora" / "general.jsonl"
MOST_DOCUMENTS: Final = 2_000
LONGEST_DOCUMENT: Final = 32 * 1024


class CorpusInvalid(ValueError):  # noqa: N818 - reads better where it is caught
    """The corpus file is unusable; the message names the line."""


class CorpusRole(StrEnum):
    """``domain`` texts test an adapter's skill, ``general`` ones what it forgot."""

    GENERAL = "general"
    DOMAIN = "domain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text of a corpus.

    ``answer_at`` is the number of characters before its answer, of which alone the tokens are
    scored; 0: all of it is.
    """

    id: str
    text: str
    answer_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Named documents; two corpora with the same :attr:`id` hold the same texts."""

    name: str
    documents: tuple[Document, ...]
    role: CorpusRole = CorpusRole.GENERAL

    @property
    def id(self) -> str:
        """``general:1a2b3c4d5e6f``: name and SHA-256 prefix of ids and texts in order."""
        total = hashlib.sha256()
        for document in self.documents:
            told = [document.id, document.text]
            if document.answer_at:
                told.append(str(document.answer_at))
            total.update(json.dumps(told).encode())
        return f"{self.name}:{total.hexdigest()[:12]}"


def load_corpus(path: Path | None = None, *, role: CorpusRole = CorpusRole.GENERAL) -> Corpus:
    """Read a JSONL file of ``{"id", "text"}``; None reads the built-in general English one.

    Raises
    ------
    CorpusInvalid
        Not such a file, a duplicate id, an empty or too long text, or too many documents.
    """
    source = path or GENERAL
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusInvalid(f"corpus {source}: {unreadable(error)}") from error
    return Corpus(name=source.stem, documents=tuple(_documents(source, lines)), role=role)


def unreadable(error: OSError | UnicodeDecodeError) -> str:
    """Say why a file of texts could not be read, without quoting it."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "it is not text in UTF-8"


def _documents(source: Path, lines: Iterable[str]) -> list[Document]:
    found: dict[str, Document] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            document = _document(line, taken=found.keys())
        except ValueError as error:
            raise CorpusInvalid(f"corpus {source}, line {number}: {error}") from error
        found[document.id] = document
    if not 0 < len(found) <= MOST_DOCUMENTS:
        raise CorpusInvalid(
            f"corpus {source}: {len(found)} documents, 1 to {MOST_DOCUMENTS} are possible"
        )
    return list(found.values())


def _document(line: str, *, taken: Collection[str]) -> Document:
    try:
        raw = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg}") from error
    except RecursionError:
        raise ValueError("not JSON that can be read: nested too deeply") from None
    if not isinstance(raw, dict):
        raise ValueError("not an object")  # noqa: TRY004 - one kind of error for a bad line
    name, text = raw.get("id"), raw.get("text")
    if not isinstance(name, str) or not 0 < len(name) <= 128:  # noqa: PLR2004 - ids everywhere
        raise ValueError('"id" must be a string of 1 to 128 characters')
    if not isinstance(text, str) or not 0 < len(text.encode()) <= LONGEST_DOCUMENT:
        raise ValueError(f'"text" must be a string of 1 to {LONGEST_DOCUMENT} bytes')
    if name in taken:
        raise ValueError(f"id {name!r} stands twice")
    return Document(id=name, text=text)
