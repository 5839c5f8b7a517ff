"""Parse bytes to records, one by one: a bad record is named and does not affect the others.

The whole body is decoded at once, and taken apart only if that fails. JSON as Python writes it
(``NaN``, ``Infinity``, lone surrogates in texts) is read too: a failing model sends exactly these,
and its records must not be lost with the request.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Raw, Struct

from monitor.capture.errors import Malformed, TooLarge, Unsupported
from monitor.capture.surrogates import is_whole, whole
from monitor.capture.wire import Feedback, Record

T = TypeVar("T", Record, Feedback)

MAX_RECORDS: Final = 1_000

_JSON: Final = "application/json"
_LINES: Final = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
_SAID: Final = frozenset({"prompt", "output", "subject"})
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A refused record: its place in the request, and the reason."""

    index: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed(Generic[T]):
    """The good items with their places, and the bad ones with their errors."""

    items: Sequence[tuple[int, T]]
    rejected: Sequence[Rejected]


class _Records(Struct, forbid_unknown_fields=True):
    records: list[Record]


class _RawRecords(Struct, forbid_unknown_fields=True):
    records: list[Raw]


class _Feedbacks(Struct, forbid_unknown_fields=True):
    feedback: list[Feedback]


class _RawFeedbacks(Struct, forbid_unknown_fields=True):
    feedback: list[Raw]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format(Generic[T]):
    """The envelope and decoders of one kind of item."""

    field: str
    item: type[T]
    whole: Callable[[bytes], Any]
    raw: Callable[[bytes], Any]
    one: Callable[[bytes | Raw], T]
    lines: Callable[[bytes], list[T]]


def _format(field: str, item: type[T], whole: type[Struct], raw: type[Struct]) -> Format[T]:
    decoder = msgspec.json.Decoder(item)
    return Format(
        field=field,
        item=item,
        whole=msgspec.json.Decoder(whole).decode,
        raw=msgspec.json.Decoder(raw).decode,
        one=decoder.decode,
        lines=decoder.decode_lines,
    )


RECORDS: Final = _format("records", Record, _Records, _RawRecords)
FEEDBACK: Final = _format("feedback", Feedback, _Feedbacks, _RawFeedbacks)


def parse(body: bytes, form: Format[T], *, content_type: str) -> Parsed[T]:
    """Read a plain body of ``application/json`` or ``application/x-ndjson``.

    Raises ``Malformed`` if the items cannot be separated, ``TooLarge`` for more than 1,000 items,
    ``Unsupported`` for another content type.
    """
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind in _LINES:
            return _parse_lines(body, form)
        if kind == _JSON:
            return _parse_envelope(body, form)
    except RecursionError as error:
        raise Malformed("the JSON is nested too deeply") from error
    raise Unsupported(f"content type {kind[:_SHOWN]!r} is not read; use {_JSON} or NDJSON")


def _parse_envelope(body: bytes, form: Format[T]) -> Parsed[T]:
    try:
        items = getattr(form.whole(body), form.field)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _parse_imperfect(body, form)
    _refuse_too_many(len(items))
    return Parsed(items=list(enumerate(items)), rejected=())


def _parse_imperfect(body: bytes, form: Format[T]) -> Parsed[T]:
    try:
        raw = getattr(form.raw(body), form.field)
    except msgspec.ValidationError as error:
        raise Malformed(f'expected {{"{form.field}": [...]}}: {error}'[:300]) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _take_apart(_lenient_items(body, form, error), form, _converter(form))
    return _take_apart(raw, form, lambda item: _read_one(item, form))


def _parse_lines(body: bytes, form: Format[T]) -> Parsed[T]:
    try:
        items = form.lines(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        lines = [line for line in body.split(b"\n") if line.strip()]
        return _take_apart(lines, form, lambda line: _read_one(line, form))
    _refuse_too_many(len(items))
    return Parsed(items=list(enumerate(items)), rejected=())


def _lenient_items(body: bytes, form: Format[T], cause: Exception) -> list[object]:
    try:
        envelope = json.loads(body)
    except ValueError:
        raise Malformed(f"the body is not JSON: {cause}"[:300]) from cause
    if not isinstance(envelope, dict) or set(envelope) != {form.field}:
        raise Malformed(f'expected {{"{form.field}": [...]}}') from cause
    items = envelope[form.field]
    if not isinstance(items, list):
        raise Malformed(f"{form.field}: expected a list") from cause
    return items


def _read_one(item: bytes | Raw, form: Format[T]) -> T:
    try:
        return form.one(item)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        try:
            value = json.loads(bytes(item))
        except ValueError:
            raise msgspec.ValidationError(f"not JSON: {error}") from error
        return _converter(form)(value)


def _converter(form: Format[T]) -> Callable[[object], T]:
    return lambda value: msgspec.convert(_mended(value), form.item)


def _mended(value: object) -> object:
    """Replace lone surrogates in texts of people and models; refuse them in names."""
    if not isinstance(value, dict):
        raise msgspec.ValidationError(f"Expected `object`, got `{type(value).__name__}`")
    for name, item in value.items():
        if not is_whole(name):
            raise msgspec.ValidationError("a field's name has characters that cannot be printed")
        if name not in _SAID and not is_whole(item):
            raise msgspec.ValidationError(f"Has characters that cannot be printed - at `$.{name}`")
    return {name: whole(item) if name in _SAID else item for name, item in value.items()}


def _take_apart(raw: Sequence[Any], form: Format[T], read: Callable[[Any], T]) -> Parsed[T]:
    _refuse_too_many(len(raw))
    items: list[tuple[int, T]] = []
    rejected: list[Rejected] = []
    for index, one in enumerate(raw):
        try:
            items.append((index, read(one)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = explain(str(error), f"{form.field}[{index}]", form.item)
            rejected.append(Rejected(index=index, error=reason))
    return Parsed(items=items, rejected=rejected)


def _refuse_too_many(count: int) -> None:
    if count > MAX_RECORDS:
        raise TooLarge(f"{count} items in one request; at most {MAX_RECORDS} are read")


_AT: Final = re.compile(r" - at `(?:key in )?\$(?P<path>[^`]*)`$")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>[^`]*)`")


def explain(message: str, place: str, item: type[Struct]) -> str:
    """Rewrite msgspec's error as ``records[3].token_logprobs[17]: expected float, got str``."""
    at = _AT.search(message)
    said = message[: at.start()] if at else message
    if unknown := _UNKNOWN.search(said):
        name = unknown["name"]
        near = difflib.get_close_matches(name[:_SHOWN], item.__struct_fields__, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{place}: unknown field {name[:_SHOWN]!r}{hint}"
    if missing := _MISSING.search(said):
        return f"{place}.{missing['name']}: required, but absent"
    path = at["path"] if at else ""
    plain = said.replace("`", "")[:200]
    return f"{place}{path}: {plain[:1].lower()}{plain[1:]}"
