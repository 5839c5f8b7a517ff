"""The signals of records as columns, ready for the detectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.signals import FORMAT_SIGNALS, SignalKind, of_kind
from monitor.strata import Strata

Floats = npt.NDArray[np.float64]

CAST: Final = {
    SignalKind.NUMBER: "",
    SignalKind.INTEGER: "::float4",
    SignalKind.CODE: "::float4",
    SignalKind.FLAG: "::int::float4",
}
"""How a column of each kind becomes a number of four bytes."""

MEASURED: Final = of_kind(*CAST)
"""A window's signals as stored; flags are 0 or 1."""

COMPARED: Final = of_kind(SignalKind.PROMPT, SignalKind.ANSWER)
"""Signals from comparing the embeddings of prompt and answer with a reference."""

SIGNALS: Final = (*MEASURED, *of_kind(SignalKind.DERIVED), *COMPARED)
"""The columns of a window, one row a record; :func:`derived` says what is computed on reading.
NaN is "not measured for this record"."""

SERVER_ERRORS: Final = 500
FAILURES: Final = (0, 404, 408)
"""Statuses below 500 that are no fault of the client: no answer at all, a model that the
engine does not know (any more), a timeout."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordColumns:
    """Records of one version in time order; arrays of shape ``(n,)``.

    ``at`` and ``arrived`` are UTC epoch seconds. ``subjects`` are integer codes, -1 if none was
    given, or None if no record has one.
    """

    at: Floats
    arrived: Floats
    subjects: npt.NDArray[np.int64] | None
    signals: Mapping[str, Floats]
    strata: Strata

    def __len__(self) -> int:
        return int(self.at.size)


def derived(measured: Mapping[str, Floats], *, status: Floats) -> dict[str, Floats]:
    """Signals that are not stored but computed from what is; all arrays are ``(n,)``.

    ``log_length`` is ``log(1 + n_tokens)``, but of no record that is ``missing``: it is counted
    there, and left out of what is said of log-probabilities. ``error`` is 1 for a status that
    tells of the serving side (see :data:`FAILURES`), 0 for any other, and 0 without a status
    where the record has tokens: it was answered. ``latency_ms`` and ``ttft_ms`` are those of
    answers: how fast a request failed, or took for nothing, says nothing of how long answers
    take.
    """
    n_tokens = measured["n_tokens"]
    answered = n_tokens > 0
    failed = (status >= SERVER_ERRORS) | np.isin(status, FAILURES)
    unsaid = np.where(answered, 0.0, np.nan)
    return {
        "log_length": np.where(measured["missing"] > 0, np.nan, np.log1p(n_tokens)),
        "error": np.where(np.isnan(status), unsaid, failed),
        "latency_ms": np.where(answered, measured["latency_ms"], np.nan),
        "ttft_ms": np.where(answered, measured["ttft_ms"], np.nan),
        **_formats(measured["answer_format"]),
    }


def _formats(codes: Floats) -> dict[str, Floats]:
    return {
        name: np.where(np.isnan(codes), np.nan, (codes == place).astype(np.float64))
        for place, name in enumerate(FORMAT_SIGNALS)
    }


def subject_codes(subjects: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64] | None:
    """Number subjects by their hashes; hash 0 becomes -1. None if all hashes are 0."""
    known = subjects != 0
    if not known.any():
        return None
    _, codes = np.unique(subjects, return_inverse=True)
    return np.where(known, codes, -1).astype(np.int64)
