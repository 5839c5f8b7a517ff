"""Histograms of signals: the live records of a time beside the baseline of the reference."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.signals import SIGNALS
from detectors.words import name_words
from monitor.domain import Interval, Version
from monitor.reference import kept
from monitor.store.records import records
from monitor.store.records.columns import RecordColumns
from monitor.store.references import reference_baselines, references
from monitor.views.histogram import HistogramBody, HistogramSide

BINS: Final = 24
LONGEST: Final = timedelta(days=7)
"""Of a longer time its end is compared: a week of 4,000 requests a day takes .1 s to read."""
_TAIL: Final = 0.005
"""Share of the values at either end that share the outermost bins."""
_UNITS: Final = {
    "mean_nll": "nats a token; more is less certain",
    "p95_nll": "nats; more is more surprising",
    "near_certain": "share of tokens",
    "log_length": "log of 1 + tokens",
    "entropy": "nats; more is more diffuse",
    "margin": "nats between first and second token",
    "latency_ms": "ms",
    "ttft_ms": "ms",
    "prompt_tokens": "tokens",
    "output_tokens": "tokens",
    "similarity": "cosine; 1 is a training example",
}
Floats = npt.NDArray[np.float64]


class NoHistogram(LookupError):  # noqa: N818 - it is a fact about the version, not a fault
    """There is nothing to compare; the message is the reason."""


def signals(tx: Connection, of: Version) -> dict[str, str]:
    """Return the signals that the reference in force keeps values of, with their words."""
    return {name: words(name) for name in baseline_of(tx, of)}


def read(tx: Connection, of: Version, signal: str, shown: Interval) -> HistogramBody:
    """Compare the records of a time, at most its last week, with the baseline.

    Raises
    ------
    NoHistogram
        There is no reference, it keeps no values, or none of this signal.
    """
    baseline = baseline_of(tx, of)
    if signal not in baseline:
        raise NoHistogram(f"the reference of {of.label} has no signal of that name")
    found = compared(tx, of, shown)
    live = found.signals.get(signal, np.full(len(found), np.nan))
    return histogram(signal, live=live, reference=baseline[signal])


def compared(tx: Connection, of: Version, shown: Interval) -> RecordColumns:
    """Read the records of a time, at most its last week, that the reference is compared with."""
    reference = references.current(tx, of.id)
    return records.read_window(
        tx,
        version_id=of.id,
        adapter_id=of.adapter_id,
        start=max(shown.start, shown.end - LONGEST),
        end=shown.end,
        strata=list(reference.strata) if reference and reference.strata else None,
        reference_id=reference.id if reference else None,
    )


def histogram(signal: str, *, live: Floats, reference: Floats) -> HistogramBody:
    """Count both sides in the same bins; rates have two, for no and yes."""
    live, reference = live[np.isfinite(live)], reference[np.isfinite(reference)]
    edges = _edges(np.concatenate([live, reference]))
    return HistogramBody(
        signal=signal,
        words=words(signal),
        unit="no or yes" if len(edges) == _RATE else _UNITS.get(signal, ""),
        edges=edges.tolist(),
        live=_side(live, edges),
        reference=_side(reference, edges),
    )


def words(signal: str) -> str:
    """Name a signal in plain words."""
    known = SIGNALS[signal].words if signal in SIGNALS else None
    return known.name if known else name_words(_detector_of(signal))


def _detector_of(signal: str) -> str:
    """Return the detector that is about the signal, else the signal's own name."""
    return next((name for name, one in DETECTORS.items() if one.signals[:1] == (signal,)), signal)


_RATE: Final = 3
"""Edges of a signal that is no or yes."""


def _edges(values: Floats) -> Floats:
    if not values.size or np.isin(values, (0.0, 1.0)).all():
        return np.array([-0.5, 0.5, 1.5])
    low, high = np.quantile(values, [_TAIL, 1.0 - _TAIL])
    if low == high:
        low, high = values.min(), values.max()
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


def _side(values: Floats, edges: Floats) -> HistogramSide:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    n = int(values.size)
    return HistogramSide(
        n=n, shares=(counts / max(1, n)).tolist(), median=float(np.median(values)) if n else None
    )


def baseline_of(tx: Connection, of: Version) -> dict[str, Floats]:
    """Return the values that the reference in force keeps, by signal; raises NoHistogram."""
    reference = references.current(tx, of.id)
    if reference is None:
        raise NoHistogram(f"{of.label} has no reference yet")
    body = reference_baselines.read(tx, reference.id)
    if body is None:
        raise NoHistogram("its reference keeps no single values; rebuild it to see them")
    return {
        name: values
        for name, values in kept.unpack(body).signals.items()
        if np.isfinite(values).any()
    }
