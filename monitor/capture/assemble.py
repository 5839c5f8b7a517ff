"""Lay out checked records in columns, with their signals measured."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final, NamedTuple

import numpy as np

from detectors.signals import FORMATS
from monitor.capture import refusal, signals, subjects
from monitor.capture.checks import PREFIX, Tokens, clean, legible
from monitor.capture.directory import Resolved
from monitor.capture.shingles import TrainingShingles
from monitor.capture.wire import Record
from monitor.domain import VersionId
from monitor.store.pgarray import Floats
from monitor.store.records.contexts import Context
from monitor.store.records.ingest import (
    NUMBERS,
    FeedbackRow,
    RecordBatch,
    TextRow,
    TokenRow,
    microseconds,
)

_COPIED: Final = ("prompt_tokens", "output_tokens", "latency_ms", "ttft_ms", "status")


class Admitted(NamedTuple):
    """A sampled record that passed every check, with its resolved and measured values."""

    record: Record
    resolved: Resolved
    sample_prob: float
    tokens: Tokens | None
    embedding: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFields:
    """The settings for what is stored beside the aggregates, and what answers are compared with."""

    subject_key: bytes
    prompts: bool
    outputs: bool
    tokens_for: timedelta
    refuses: refusal.Refuses = refusal.refuses
    training_of: Callable[[VersionId | None], TrainingShingles | None] = lambda _: None
    """The training texts of a version, if its answers are compared with them."""


def context_of(record: Record, resolved: Resolved) -> Context:
    """Return the facts that a record shares with many others."""
    return Context(
        source=record.source,
        arm=resolved.arm or "",
        replica=record.replica or "",
        engine=record.engine or "",
        stratum=stratum_of(record),
    )


SETTINGS: Final = attrgetter(
    "source", "replica", "engine", "temperature", "top_p", "max_tokens", "stop", "logprobs_mode"
)
"""The fields of a record that :func:`context_of` reads; equal fields give equal contexts."""

_SAMPLED_PLAINLY: Final = 1.0
"""OpenAI's default of ``temperature`` and ``top_p``, and vLLM's if the model sets none."""
_RAW: Final = "raw_logprobs"
"""vLLM's default of ``logprobs_mode``."""


def stratum_of(record: Record) -> str:
    """Write a record's settings as stable text, equal for equivalent requests.

    Settings that were not given are left out, and so are defaults: a client that sends ``top_p: 1``
    asks for the same as one that omits it. ``max_tokens`` is rounded up to a power of two, since a
    client that computes it would otherwise make a stratum per request. Of the texts at which an
    answer is to end only a number of two digits stands here, so that clients that make them up make
    256 strata at most. The number of top
    log-probabilities does not count: entropy uses five of them in any case, and an empty answer,
    which has none, must stay with the others. Neither does ``source``.

    >>> from datetime import UTC
    >>> at = datetime(2026, 1, 1, tzinfo=UTC)
    >>> stratum_of(Record(id="1", adapter="a", at=at, temperature=0.70, top_p=1, max_tokens=200))
    'temperature=0.7 max_tokens<=256'
    >>> stratum_of(Record(id="1", adapter="a", at=at, stop=("User:", "###")))
    'stop=d8'
    >>> stratum_of(Record(id="1", adapter="a", at=at))
    ''
    """
    parts = [
        f"{name}={settled:g}"
        for name, value in (("temperature", record.temperature), ("top_p", record.top_p))
        if value is not None and (settled := abs(round(value, 2))) != _SAMPLED_PLAINLY
    ]
    if record.max_tokens is not None:
        parts.append(f"max_tokens<={1 << max(record.max_tokens - 1, 0).bit_length()}")
    if record.stop:
        said = "\0".join(sorted(set(record.stop))).encode(errors="surrogatepass")
        parts.append(f"stop={hashlib.blake2s(said, digest_size=1).hexdigest()}")
    if record.logprobs_mode not in {None, "", _RAW}:
        parts.append(f"logprobs={record.logprobs_mode}")
    return " ".join(parts)


def assemble(
    admitted: Sequence[Admitted], context_ids: Sequence[int], *, keeping: KeptFields, now: datetime
) -> RecordBatch:
    """Measure the signals of admitted records and lay everything out in columns."""
    records = [one.record for one in admitted]
    return RecordBatch(
        adapter_id=np.array([one.resolved.adapter_id for one in admitted], dtype=np.int64),
        at=np.array([microseconds(record.at) for record in records], dtype=np.int64),
        id=[record.id for record in records],
        numbers=_numbers(admitted, records, context_ids, keeping=keeping),
        finish_reason=[record.finish_reason for record in records],
        subject=[
            None if r.subject is None else subjects.digest(keeping.subject_key, r.subject)
            for r in records
        ],
        tokens=_token_rows(admitted, since=now - keeping.tokens_for) if keeping.tokens_for else (),
        texts=_text_rows(admitted, keeping),
        feedback=[row for one in admitted if one.record.feedback for row in _feedback_rows(one)],
    )


def _numbers(
    admitted: Sequence[Admitted],
    records: Sequence[Record],
    context_ids: Sequence[int],
    *,
    keeping: KeptFields,
) -> dict[str, Floats]:
    columns = {name: np.full(len(admitted), np.nan) for name in NUMBERS}
    columns |= {name: _optional(records, name) for name in _COPIED}
    columns["version_id"] = np.array([one.resolved.version_id for one in admitted], dtype=float)
    columns["context_id"] = np.array(context_ids, dtype=float)
    columns["sample_prob"] = np.array([one.sample_prob for one in admitted])
    columns["n_tokens"] = columns["output_tokens"].copy()
    columns["truncated"] = np.array(
        [None if r.finish_reason is None else r.finish_reason == "length" for r in records],
        dtype=float,
    )
    columns["prompt_prefix"] = np.array(
        [_prefix(record, keeping.subject_key) for record in records], dtype=float
    )
    said = [legible(record.output) for record in records]
    columns["empty"] = np.array(list(map(_empty, records, said)), dtype=float)
    columns["refusal"] = np.array(
        [_refusal(*one, keeping.refuses) for one in zip(records, said, strict=True)], dtype=float
    )
    columns["invalid"] = np.array(
        [None if r.valid is None else not r.valid for r in records], dtype=float
    )
    columns["training_text"] = np.array(_repeating(admitted, said, keeping), dtype=float)
    _add_token_signals(columns, admitted)
    _add_text_signals(columns, said)
    return columns


def _add_token_signals(columns: dict[str, Floats], admitted: Sequence[Admitted]) -> None:
    measured = [place for place, one in enumerate(admitted) if one.tokens is not None]
    if not measured:
        return
    tokens = [one.tokens for one in admitted if one.tokens is not None]
    for name, values in signals.token_signals(tokens).items():
        columns[name][measured] = values
    counted = columns["n_tokens"]
    came = np.array([one.logprob.size for one in tokens], dtype=float)
    counted[measured] = np.where(np.isnan(counted[measured]), came, counted[measured])


def _add_text_signals(columns: dict[str, Floats], said: Sequence[str | None]) -> None:
    present = [place for place, text in enumerate(said) if text is not None]
    if not present:
        return
    found = np.array([signals.text_signals(text) for text in said if text is not None])
    for place, name in enumerate(signals.TextSignals._fields):
        columns[name][present] = found[:, place]
    columns["answer_format"][present] = [answer_format(text) for text in said if text is not None]


def _prefix(record: Record, key: bytes) -> int | None:
    """Hash how a request begins: its system prompt, or its prompt if none is given."""
    text = record.prompt if record.system is None else record.system
    return None if text is None else subjects.prefix_code(key, clean(text[:PREFIX]))


def _optional(records: Sequence[Record], name: str) -> Floats:
    return np.array(list(map(attrgetter(name), records)), dtype=float)


def _empty(record: Record, said: str | None) -> bool | None:
    """True for an answer that is blank or has no tokens; None if nothing is known."""
    if record.output_tokens == 0:
        return True
    if said is not None:
        return not said or said.isspace()
    return None if record.output_tokens is None else False


def _refusal(record: Record, said: str | None, refuses: refusal.Refuses) -> bool | None:
    """True for an answer that refuses; None if its text did not come.

    Without text, only refusals could be told, never their absence: their rate would be 1.
    """
    if said is None:
        return None
    return record.finish_reason in refusal.ENDINGS or refuses(said)


def _repeating(
    admitted: Sequence[Admitted], said: Sequence[str | None], keeping: KeptFields
) -> list[bool | None]:
    """Tell which answers repeat a training text of their version; None where that is unknown."""
    versions = [one.resolved.version_id for one in admitted]
    training = {version: keeping.training_of(version) for version in set(versions)}
    return [
        None if text is None or known is None else known.repeated_in(text)
        for text, known in zip(said, map(training.get, versions), strict=True)
    ]


def _token_rows(admitted: Sequence[Admitted], *, since: datetime) -> list[TokenRow]:
    chosen = [
        (place, one.tokens)
        for place, one in enumerate(admitted)
        if one.tokens is not None and one.record.at > since
    ]
    kept = signals.kept_arrays([tokens for _, tokens in chosen])
    return [TokenRow(place, *arrays) for (place, _), arrays in zip(chosen, kept, strict=True)]


def _text_rows(admitted: Sequence[Admitted], keeping: KeptFields) -> list[TextRow]:
    rows = []
    for place, (record, _, _, _, embedding) in enumerate(admitted):
        prompt = record.prompt if keeping.prompts else None
        output = record.output if keeping.outputs else None
        if not prompt and not output and embedding is None:
            continue
        rows.append(
            TextRow(
                place,
                legible(prompt) or None,
                legible(output) or None,
                record.encoder if embedding is not None else None,
                embedding,
            )
        )
    return rows


def _feedback_rows(one: Admitted) -> list[FeedbackRow]:
    record = one.record
    at = microseconds(record.at)
    return [
        FeedbackRow(one.resolved.adapter_id, at, record.id, name, value)
        for name, value in (record.feedback or {}).items()
    ]


LOOKED_AT: Final = 4_096
"""The characters of an answer that are read."""
HALF: Final = 0.5
FEWEST: Final = 2
"""The fewest lines of code or of a list that count as one."""

_JSON: Final = re.compile(r"(?:```(?:json)?\s*)?(?:\{\s*[\"}]|\[\s*(?:[\[\]{\"]|-?[\d.]+\s*,))")
_CODE: Final = re.compile(
    r"(?:def|class|import|from|return|async|public|private|static|func|fn|const|let|var|if|for|"
    r"while|#include|SELECT|INSERT|CREATE)\b.*[:;{}()=,]$|.*[;{}]$"
)
_ITEM: Final = re.compile(r"(?:[-*+•|]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s?\S")


def answer_format(text: str) -> float:
    r"""Return the index of an answer's format in ``FORMATS``; NaN if the answer is blank.

    A truncated answer keeps its format: its beginning tells JSON, most of its lines tell code and
    lists.

    >>> [FORMATS[int(answer_format(text))] for text in (
    ...     '{"size": "XL"', "def f(x):\n    return x;", "- tea\n- milk", "Good morning!")]
    ['json', 'code', 'list', 'prose']
    """
    text = text[:LOOKED_AT].strip()
    if not text:
        return float("nan")
    return float(FORMATS.index(_form(text)))


def _form(text: str) -> str:
    if _JSON.match(text):
        return "json"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if "```" in text or _most(_CODE, lines):
        return "code"
    return "list" if _most(_ITEM, lines) else "prose"


def _most(pattern: re.Pattern[str], lines: list[str]) -> bool:
    """True if at least two lines, and half of all, match."""
    if len(lines) < FEWEST:
        return False
    found = sum(pattern.match(line) is not None for line in lines)
    return found >= FEWEST and found >= HALF * len(lines)
