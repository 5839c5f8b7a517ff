"""Check one line of a reference upload; errors say what to change. Pure."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct

from monitor.capture.checks import (
    Horizon,
    RecordRefused,
    check_record,
    legible,
    tokens_of,
    unit_vector,
)
from monitor.capture.parse import explain
from monitor.capture.surrogates import whole
from monitor.capture.wire import Name, Record

T = TypeVar("T", bound=Struct)

_OWN: Final = ("adapter", "version")


class TrainingText(Struct, forbid_unknown_fields=True, kw_only=True):
    """A text the adapter was trained on, or its embedding.

    An ``embedding`` needs its ``encoder``; a ``text`` beside it only serves to find overlaps.
    ``completion`` is the answer that was learned to it, where ``text`` is only the prompt.
    """

    role: Literal["training"]
    text: Annotated[str, Meta(min_length=1, max_length=1_000_000)] | None = None
    completion: Annotated[str, Meta(min_length=1, max_length=1_000_000)] | None = None
    embedding: Annotated[list[float], Meta(min_length=1, max_length=8192)] | None = None
    encoder: Name | None = None
    subject: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    id: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLine:
    """A checked training line.

    ``learned`` is what an answer may repeat: the completion, else the text. ``vector`` is float16
    of unit length, if given.
    """

    text: str | None
    learned: str | None
    vector: bytes | None
    encoder: str | None
    subject: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineLine:
    """A checked baseline line."""

    record: Record
    vector: bytes | None


Line = TrainingLine | BaselineLine


def read_line(line: bytes, *, adapter: str, version: str, horizon: Horizon) -> Line:
    """Read one line.

    Raises
    ------
    Refused
        Names the field and its fault, and never quotes a text.
    """
    fields = read_object(line, such_as='{"role": "training", "text": ...}')
    role = fields.get("role")
    match role:
        case "training":
            return _training(fields)
        case "baseline":
            own = {"adapter": adapter, "version": version}
            return _baseline(fields, own=own, horizon=horizon)
        case None:
            raise RecordRefused('role: required, "training" or "baseline"')
        case _:
            raise RecordRefused('role: must be "training" or "baseline"')


def text_hash(text: str, *, key: bytes) -> bytes:
    """Hash a text as people compare texts: ignoring case, width and white space."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.blake2b(plain.encode("utf-8", "replace"), key=key, digest_size=16).digest()


def read_object(line: bytes, *, such_as: str) -> dict[str, Any]:
    """Decode an object, NaN and Infinity included; raises Refused."""
    try:
        value = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = _as_python_writes_it(line)
    if not isinstance(value, dict):
        raise RecordRefused(f"expected an object, such as {such_as}")
    return value


def _as_python_writes_it(line: bytes) -> object:
    """Parse JSON with NaN and Infinity, as logprobs of a broken model are written."""
    try:
        return whole(json.loads(line.decode("utf-8-sig")))
    except json.JSONDecodeError as error:
        # its message quotes nothing
        raise RecordRefused(f"not JSON: {error.msg} (character {error.pos + 1})") from error
    except UnicodeDecodeError as error:
        raise RecordRefused("not JSON: it is not text in UTF-8") from error
    except RecursionError as error:
        raise RecordRefused("not JSON: it is nested too deeply") from error
    except ValueError as error:
        raise RecordRefused("not JSON: it has a number of too many digits") from error


def _training(fields: dict[str, Any]) -> TrainingLine:
    line = _convert(fields, TrainingText, "training")
    if line.text is None and line.embedding is None:
        raise RecordRefused("training: give text or embedding")
    if line.embedding is None:
        if line.encoder is not None:
            raise RecordRefused("encoder: only beside embedding; texts are embedded here")
        if line.text is not None and not line.text.strip():
            raise RecordRefused("text: is blank")
        vector = None
    else:
        vector = _unit(line)
    return TrainingLine(
        text=legible(line.text),
        learned=legible(line.completion or line.text),
        vector=vector,
        encoder=line.encoder,
        subject=line.subject,
    )


def _unit(line: TrainingText) -> bytes:
    if line.encoder is None:
        raise RecordRefused(
            "encoder: required beside embedding, to know what it can be compared with"
        )
    values = np.array(line.embedding, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        length = float(np.sqrt(np.square(values).sum()))
    if not np.isfinite(length) or length == 0.0:
        raise RecordRefused("embedding: its length must be finite and above 0")
    return (values / length).astype("<f2").tobytes()


def _baseline(fields: dict[str, Any], *, own: dict[str, str], horizon: Horizon) -> BaselineLine:
    for name in _OWN:
        if fields.get(name, own[name]) != own[name]:
            raise RecordRefused(
                f"{name}: this reference belongs to {own[name]!r}; leave the field out"
            )
    record_fields = {name: value for name, value in fields.items() if name != "role"} | own
    record = _convert(record_fields, Record, "baseline")
    check_record(record, horizon)
    tokens_of(record)
    return BaselineLine(record=record, vector=unit_vector(record))


# met here once: alerts/message.py says why
msgspec.json.Decoder(TrainingText)


def _convert(fields: dict[str, Any], kind: type[T], place: str) -> T:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise RecordRefused(explain(str(error), place, kind)) from error
