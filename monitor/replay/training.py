"""The texts an adapter was trained on, as an index in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.formats.answers import first, last_request
from monitor.capture.checks import RecordRefused, legible
from monitor.capture.shingles import TrainingShingles, kept
from monitor.probes.embedding import Embedder
from monitor.reference.baseline import ANY_TIME
from monitor.reference.lines import TrainingLine, read_line, read_object, text_hash
from monitor.replay.errors import ReplayFailed
from monitor.replay.files import lines
from monitor.replay.watch import Watch

MOST_TEXTS: Final = 200_000
"""Texts of an index: 384 numbers each are 150 MB."""
_BATCH: Final = 512
_SUCH_AS: Final = '{"role": "training", "text": ...}'

Index = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Training:
    """Unit vectors ``(n, d)`` of the training texts, and hashes under a key.

    ``hashes`` are of whole texts, ``learned`` of runs of words that answers may repeat.
    """

    index: Index
    encoder: str
    hashes: frozenset[bytes]
    learned: TrainingShingles


def read_training(
    path: Path, embed: Embedder, *, key: bytes, watch: Watch, only_role: bool = False
) -> Training | None:
    """Embed the training texts of a file; None where it has none.

    A line is a text, ``{"role": "training", …}`` as in references, or an object with
    ``text``, ``prompt`` or ``messages``; baseline lines are skipped. ``only_role`` takes
    only lines with ``"role": "training"``.

    Raises
    ------
    ReplayFailed
        The file cannot be read or one of its lines is no training text.
    """
    vectors: list[Index] = []
    hashes: set[bytes] = set()
    encoders: set[str] = set()
    learned: list[bytes] = []
    count = 0
    found = _texts(path, watch, only_role=only_role)
    while batch := [line for line, _ in zip(found, range(_BATCH), strict=False)]:
        count += len(batch)
        if count > MOST_TEXTS:
            raise ReplayFailed(f"{path.name}: more than {MOST_TEXTS:,} training texts")
        hashes |= {text_hash(line.text, key=key) for line in batch if line.text}
        encoders |= {line.encoder or embed.encoder for line in batch}
        learned.append(kept((line.learned or "" for line in batch), key=key))
        vectors.append(_embedded(batch, embed))
    if not vectors:
        return None
    if len(encoders) > 1 or len({one.shape[1] for one in vectors}) > 1:
        raise ReplayFailed(f"{path.name}: texts and embeddings of several encoders; use one")
    return Training(
        index=np.concatenate(vectors),
        encoder=encoders.pop(),
        hashes=frozenset(hashes),
        learned=TrainingShingles(learned, key=key),
    )


def _texts(path: Path, watch: Watch, *, only_role: bool) -> Iterator[TrainingLine]:
    for number, line in lines(path, watch, stage=f"embedding {path.name}"):
        try:
            read = _line(line, only_role=only_role)
        except RecordRefused as refused:
            raise ReplayFailed(f"{path.name}, line {number}: {refused}") from None
        if read is not None:
            yield read


def _line(line: bytes | None, *, only_role: bool) -> TrainingLine | None:
    if only_role:
        return _of_role(line)
    if line is None:
        raise RecordRefused("the line is too long")
    if not line.lstrip().startswith(b"{"):
        return _of_text(line.decode("utf-8", "replace").strip())
    fields = read_object(line, such_as=_SUCH_AS)
    role = fields.get("role")
    if role == "training":
        read = read_line(line, adapter="", version="", horizon=ANY_TIME)
        return read if isinstance(read, TrainingLine) else None
    if role == "baseline":
        return None
    completion = first(fields, "completion", "output", "response", "answer")
    return _of_text(_text_of(fields), completion if isinstance(completion, str) else None)


def _of_role(line: bytes | None) -> TrainingLine | None:
    """Read a training line among others; unreadable lines are counted with the log's."""
    try:
        role = read_object(line or b"", such_as=_SUCH_AS).get("role")
    except RecordRefused:
        return None
    return _line(line, only_role=False) if role == "training" else None


def _text_of(fields: dict[str, Any]) -> str:
    text = first(fields, "text", "prompt", "instruction", "question")
    text = text if isinstance(text, str) else last_request(fields.get("messages"))
    if not text or not text.strip():
        raise RecordRefused("no text, prompt or messages in it")
    return text


def _of_text(text: str, completion: str | None = None) -> TrainingLine:
    return TrainingLine(
        text=legible(text),
        learned=legible(completion or text),
        vector=None,
        encoder=None,
        subject=None,
    )


def _embedded(batch: list[TrainingLine], embed: Embedder) -> Index:
    """Return the vectors of a batch; a batch of both kinds is refused by its encoders."""
    if all(line.vector is not None for line in batch):
        lengths = {len(line.vector or b"") for line in batch}
        if len(lengths) > 1:
            raise ReplayFailed("training embeddings of several lengths")
        given = b"".join(line.vector or b"" for line in batch)
        return np.frombuffer(given, dtype="<f2").reshape(len(batch), -1)
    return embed.embed([line.text or "" for line in batch]).astype("<f2")
