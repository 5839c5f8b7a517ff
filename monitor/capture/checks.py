"""Check a record's fields together, and what JSON types cannot express."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final

import numpy as np
import numpy.typing as npt

from monitor.capture.packing import as_packed, unpack_f16
from monitor.capture.surrogates import whole
from monitor.capture.wire import Feedback, Record

AHEAD: Final = timedelta(minutes=10)
"""How far a sender's clock may run ahead."""

BEHIND: Final = timedelta(hours=1)
"""An older record was not sent when it was made: it is a backfill."""

MAX_TEXT: Final = 32_768
"""Characters of a text that are measured and kept for the probe; encoders read far less."""

PREFIX: Final = 64
"""Characters at the beginning of a request that are compared."""

ENTROPY_TOP: Final = 5
"""Top-k entries that count, so that entropies from k = 5 and k = 20 are the same number."""

_ABOVE_ZERO: Final = 1e-3  # a log-probability of 1 may come out a rounding error above 0
_RECORD_NAMES: Final = (
    "id",
    "adapter",
    "source",
    "version",
    "replica",
    "engine",
    "encoder",
    "finish_reason",
    "logprobs_mode",
)
_NAMES_OF: Final = attrgetter(*_RECORD_NAMES)

Floats32 = npt.NDArray[np.float32]


class RecordRefused(Exception):  # noqa: N818 (a refusal of one record, not an error of ours)
    """The record cannot be used; the text names the field and says why."""


class NotRegistered(RecordRefused):
    """The record's adapter or version is not registered, or not yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizon:
    """The accepted times: not in the future, and not older than the retention."""

    now: datetime
    retention: timedelta

    def check(self, at: datetime) -> None:
        """Raise ``RecordRefused`` for a time outside the horizon."""
        if at - self.now > AHEAD:
            raise RecordRefused(f"at: {at.isoformat()} is more than 10 minutes in the future")
        if self.now - at > self.retention:
            raise RecordRefused(
                f"at: {at.isoformat()} is older than the {self.retention.days} days kept"
            )

    def is_backfill(self, at: datetime) -> bool:
        """True if a record of this time says nothing about the current traffic."""
        return self.now - at > BEHIND


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokens:
    """Per-token numbers of one answer, each ``(n,)``, rounded to float16.

    The rounding makes signals equal whether the numbers came as lists or packed. NaN in ``logprob``
    is a value that was not finite; tokens without a value are left out. NaN in ``entropy`` and
    ``margin`` means "not measured for this token".
    """

    logprob: Floats32
    entropy: Floats32 | None = None
    margin: Floats32 | None = None


def check_record(record: Record, horizon: Horizon) -> None:
    """Raise ``RecordRefused`` with the field's name if the record breaks a rule."""
    horizon.check(record.at)
    if not "".join(filter(None, _NAMES_OF(record))).isprintable():
        _name_the_unprintable(record)
    for name, value in (record.feedback or {}).items():
        _check_named(name, value, f"feedback[{name[:60]!r}]")


def _name_the_unprintable(record: Record) -> None:
    for field in _RECORD_NAMES:
        value = getattr(record, field)
        if value is not None and not value.isprintable():
            raise RecordRefused(f"{field}: has characters that cannot be printed")


def check_feedback(item: Feedback, horizon: Horizon) -> None:
    """Raise ``RecordRefused`` if a feedback item breaks a rule."""
    horizon.check(item.at)
    for field in ("adapter", "id", "name"):
        if not getattr(item, field).isprintable():
            raise RecordRefused(f"{field}: has characters that cannot be printed")
    _check_named(item.name, item.value, "value")


def clean(text: str) -> str:
    """Replace what PostgreSQL cannot store: NUL and lone surrogates become U+FFFD.

    A failing model writes such text; its record is worth more than the exact bytes.
    """
    return str(whole(text)).replace("\0", "\N{REPLACEMENT CHARACTER}")


def legible(text: str | None) -> str | None:
    """Clean and shorten a text to the form that is measured and stored."""
    return None if text is None else clean(text[:MAX_TEXT])


def tokens_of(record: Record) -> Tokens | None:
    """Return a record's token numbers, or None if it has none.

    Raises ``RecordRefused`` if lists and packed fields are mixed, lengths differ, or a
    log-probability is above 0.
    """
    logprob = _logprobs(record)
    if logprob is None:
        _refuse_orphans(record)
        return None
    entropy, margin = _entropy_and_margin(record, logprob.size)
    _refuse_above_zero(logprob, record)
    if record.token_logprobs is not None and None in record.token_logprobs:
        logprob = logprob[[value is not None for value in record.token_logprobs]]
    return Tokens(logprob=logprob, entropy=entropy, margin=margin)


def unit_vector(record: Record) -> bytes | None:
    """Return a record's own embedding as float16 bytes of unit length."""
    if record.embedding is None:
        return None
    if record.encoder is None:
        raise RecordRefused(
            "encoder: required beside embedding, to know what it can be compared with"
        )
    vector = np.array(record.embedding, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        length = float(np.sqrt(np.square(vector).sum()))
    if not math.isfinite(length):
        raise RecordRefused("embedding: has values that are not finite")
    if length == 0.0:
        raise RecordRefused("embedding: all its values are 0")
    return (vector / length).astype("<f2").tobytes()


def _check_named(name: str, value: float, place: str) -> None:
    if not name.isprintable():
        raise RecordRefused("feedback: a name has characters that cannot be printed")
    if not math.isfinite(value):
        raise RecordRefused(f"{place}: {value} is not a finite number")


def _logprobs(record: Record) -> Floats32 | None:
    if record.token_logprobs is None:
        return _unpack(record.token_logprobs_f16, "token_logprobs_f16")
    if record.token_logprobs_f16 is not None:
        raise RecordRefused("token_logprobs_f16: give token_logprobs or this, not both")
    return as_packed(record.token_logprobs)


def _entropy_and_margin(record: Record, size: int) -> tuple[Floats32 | None, Floats32 | None]:
    entropy = _unpack(record.token_entropy_f16, "token_entropy_f16")
    margin = _unpack(record.token_margin_f16, "token_margin_f16")
    if record.top_logprobs is not None:
        if entropy is not None or margin is not None:
            raise RecordRefused(
                "top_logprobs: give this or the packed entropy and margin, not both"
            )
        _same_length("top_logprobs", len(record.top_logprobs), size)
        best, second = top_statistics(record.top_logprobs)
        return as_packed(best), as_packed(second)
    for field, values in (("token_entropy_f16", entropy), ("token_margin_f16", margin)):
        if values is None:
            continue
        _same_length(field, values.size, size)
        if np.fmin.reduce(values, initial=0.0) < -_ABOVE_ZERO:
            raise RecordRefused(f"{field}[{int(np.argmax(values < -_ABOVE_ZERO))}]: is below 0")
    return entropy, margin


def top_statistics(top: Sequence[Sequence[float | None] | None]) -> tuple[Floats32, Floats32]:
    """Compute entropy and margin per token, in nats, from the best log-probabilities.

    The entropy is that of the best five and of all the rest as one more outcome: a lower bound of
    the true entropy. The margin is the best minus the second best; NaN below two entries.
    """
    best = _best(top)
    with np.errstate(invalid="ignore", over="ignore"):
        if (best > _ABOVE_ZERO).any():
            token = int(np.argmax((best > _ABOVE_ZERO).any(axis=1)))
            raise RecordRefused(f"top_logprobs[{token}]: a log-probability is above 0")
        share = np.exp(np.minimum(best, 0.0))
        rest = np.clip(1.0 - np.nansum(share, axis=1), 0.0, 1.0)
        terms = np.where(share > 0, share * np.minimum(best, 0.0), 0.0)
        entropy = -np.nansum(terms, axis=1) - rest * np.log(np.where(rest > 0, rest, 1.0))
        margin = np.clip(best[:, 0] - best[:, 1], 0.0, 30.0)
    entropy[np.isnan(best).all(axis=1)] = np.nan
    return entropy.astype(np.float32), margin.astype(np.float32)


def _best(top: Sequence[Sequence[float | None] | None]) -> npt.NDArray[np.float64]:
    """Return the best five of each token, largest first, padded with NaN: ``(n, 5)``."""
    widths = {0 if row is None else len(row) for row in top}
    if len(widths) == 1 and 0 not in widths:
        matrix = np.array(top, dtype=np.float64)
    else:
        matrix = np.full((len(top), max(widths, default=0)), np.nan)
        for place, row in enumerate(top):
            matrix[place, : len(row or ())] = row or ()
    ordered = -np.sort(-matrix, axis=1)[:, :ENTROPY_TOP]
    padding = np.full((len(top), max(0, ENTROPY_TOP - ordered.shape[1])), np.nan)
    return np.hstack([ordered, padding])


def _unpack(body: bytes | None, field: str) -> Floats32 | None:
    if body is None:
        return None
    try:
        return unpack_f16(body)
    except ValueError as error:
        raise RecordRefused(f"{field}: {error}") from error


def _same_length(field: str, given: int, expected: int) -> None:
    if given != expected:
        raise RecordRefused(f"{field}: has {given} values for {expected} tokens")


def _refuse_above_zero(logprob: Floats32, record: Record) -> None:
    if np.fmax.reduce(logprob, initial=-np.inf) <= _ABOVE_ZERO:
        return  # the usual case, in one pass; NaN is skipped, +inf is not
    above = np.isfinite(logprob) & (logprob > _ABOVE_ZERO)
    if above.any():
        field = "token_logprobs_f16" if record.token_logprobs is None else "token_logprobs"
        place = int(np.argmax(above))
        given = (record.token_logprobs or logprob)[place]
        raise RecordRefused(f"{field}[{place}]: {given:.4g} is above 0, no log-probability")


def _refuse_orphans(record: Record) -> None:
    for field in ("top_logprobs", "token_entropy_f16", "token_margin_f16"):
        if getattr(record, field) is not None:
            raise RecordRefused(f"{field}: needs token_logprobs or token_logprobs_f16 beside it")
