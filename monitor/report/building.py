"""Read the data of a report, and have it drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection

from detectors import rank_reference
from detectors.rank_reference import RankReference
from detectors.types import Window
from monitor.domain import Interval, Reference, Version
from monitor.evaluate.calibrated import Calibrated
from monitor.evaluate.loading import Calibrations
from monitor.reference import kept
from monitor.report import tables
from monitor.report.errors import ReportError
from monitor.report.process import Drawn, GoOn, draw
from monitor.report.tables import Floats, ReportTexts, Tables
from monitor.store.database import Database
from monitor.store.records import records, samples
from monitor.store.records.columns import RecordColumns
from monitor.store.references import reference_baselines, references
from monitor.store.references.references import ReferenceSource

READ_AT_MOST: Final = 100_000
"""The most recent records that the sample is drawn from: 30 MB."""
MOST_TEXTS: Final = 2_000
NO_MEASURE: Final = frozenset({"prompt_prefix", "answer_format"})
"""Codes: their values are equal or not, and no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A drawn report, and what was compared; ``left_out`` are signals that were not measured."""

    drawn: Drawn
    version: str
    generation: int
    signals: tuple[str, ...]
    rates: tuple[str, ...]
    texts: tuple[str, ...]
    left_out: tuple[str, ...]
    n_window: int
    n_reference: int

    @property
    def facts(self) -> dict[str, Any]:
        """The facts of what was compared, as JSON."""
        return {
            "generation": self.generation,
            "signals": self.signals,
            "rates": self.rates,
            "texts": self.texts,
            "left_out": self.left_out,
            "n_window": self.n_window,
            "n_reference": self.n_reference,
        }


def build_report(
    database: Database, version: Version, *, span: Interval, go_on: GoOn = lambda _share: True
) -> Built:
    """Have Evidently's data-drift and text presets drawn of one adapter version.

    Question: what does a general-purpose drift report say about what the detectors watch? It is
    for a second look; it follows no budget of false pages and no verdict follows from it. The
    page says so itself.

    What is compared: the records of ``span`` in the reference's settings strata with the
    **baseline** of the reference in force. Of signals that are ranked, the values that the
    reference froze, without the daily and weekly rhythm, as the detectors see them; of rates
    (loops, refusals, errors) and other signals, the baseline's own values. Where the texts of
    both sides are stored, Evidently's descriptors of them: length, words, sentences, share of
    other characters than letters; the texts themselves are not in the report. One signal at a
    time is compared, on at most 10,000 values of each side and 2,000 texts, drawn with the
    reference's id as seed; of a span with more than 100,000 records the newest 100,000.

    Cost: a process of its own with 360 MB for some 5 s of CPU; the page has 4 MB, holds its own
    JavaScript and loads nothing.

    Raises
    ------
    ReportError
        No ready reference, no records in ``span``, no signal that both sides measured, or Evidently
        failed.
    ReportStopped
        ``go_on`` said so.
    """
    reference, found, texts = database.run(lambda tx: _read(tx, version, span))
    before, after = tables.sampled(found.reference, found.window, seed=int(reference.id))
    shown = tables.comparable(before, after)
    if not shown:
        raise ReportError(
            f"{version.label}: no signal of its reference was measured in {_said(span)};"
            " does the source send token logprobs?"
        )
    left_out = tuple(name for name in before if name not in shown)
    rates = tuple(name for name in shown if _is_rate(before[name], after[name]))
    chosen = Tables(
        reference={name: before[name] for name in shown},
        window={name: after[name] for name in shown},
        rates=rates,
        texts=texts,
        notice=(*_notice(version, reference, span), *_missing(left_out, texts)),
        name=f"{version.label}, {_said(span)}",
    )
    return Built(
        drawn=draw(chosen, go_on=go_on),
        version=version.label,
        generation=reference.generation,
        signals=shown,
        rates=rates,
        texts=tuple(texts.window),
        left_out=left_out,
        n_window=max(column.size for column in chosen.window.values()),
        n_reference=max(column.size for column in chosen.reference.values()),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    reference: Mapping[str, Floats]
    window: Mapping[str, Floats]


def _read(
    tx: Connection, version: Version, span: Interval
) -> tuple[Reference, _Found, ReportTexts]:
    calibrated = Calibrations().current(tx, [version.id]).get(version.id)
    if calibrated is None:
        raise ReportError(f"{version.label} has no ready reference to compare with")
    reference = calibrated.reference
    columns = records.newest_since(
        tx,
        version_id=version.id,
        adapter_id=version.adapter_id,
        since=span.start,
        limit=READ_AT_MOST,
        strata=list(reference.strata),
        reference_id=reference.id,
    )
    window = _window(columns, span)
    if not len(window):
        raise ReportError(
            f"{version.label} has no records of its reference's settings in {_said(span)}"
        )
    body = reference_baselines.read(tx, reference.id)
    baseline = kept.unpack(body) if body is not None else None
    found = _found(calibrated, window, baseline)
    return reference, found, _texts(tx, version, reference, span, baseline)


def _window(columns: RecordColumns, span: Interval) -> Window:
    inside = columns.at < span.end.timestamp()
    return Window(
        start=span.start.timestamp(),
        end=span.end.timestamp(),
        at=columns.at[inside],
        signals={name: column[inside] for name, column in columns.signals.items()},
    )


def _found(calibrated: Calibrated, window: Window, baseline: Window | None) -> _Found:
    before: dict[str, Floats] = {}
    after: dict[str, Floats] = {}
    for reference in calibrated.by_detector.values():
        if isinstance(reference, RankReference):
            placed = rank_reference.place(reference, window)
            before |= dict(zip(reference.signals, reference.ordered, strict=True))
            after |= dict(zip(reference.signals, placed.values.T, strict=True))
    if baseline is not None:
        plain = baseline.signals.keys() & window.signals.keys() - before.keys() - NO_MEASURE
        for name in sorted(plain):
            before[name], after[name] = baseline.signals[name], window.signals[name]
    return _Found(reference=before, window=after)


def _is_rate(*sides: Floats) -> bool:
    return all(np.isin(side[~np.isnan(side)], (0.0, 1.0)).all() for side in sides)


def _texts(
    tx: Connection, version: Version, reference: Reference, span: Interval, baseline: Window | None
) -> ReportTexts:
    """Read the stored texts of both sides; those of an upload are not stored."""
    source = references.details(tx, reference.id).source
    if baseline is None or source is ReferenceSource.UPLOAD:
        return ReportTexts(reference={}, window={})
    first, end = (datetime.fromtimestamp(at, UTC) for at in (baseline.start, baseline.end))
    sides = [
        samples.texts(tx, version, one, strata=reference.strata, limit=MOST_TEXTS)
        for one in (Interval(start=first, end=end), span)
    ]
    before, after = (
        {
            "prompt": [one.prompt for one in side if one.prompt is not None],
            "answer": [one.output for one in side if one.output is not None],
        }
        for side in sides
    )
    told = [
        name for name in before if min(len(before[name]), len(after[name])) >= tables.FEWEST_VALUES
    ]
    return ReportTexts(
        reference={name: before[name] for name in told}, window={name: after[name] for name in told}
    )


def _said(span: Interval) -> str:
    return f"{span.start:%Y-%m-%d %H:%M} to {span.end:%Y-%m-%d %H:%M} UTC"


def _notice(version: Version, reference: Reference, span: Interval) -> tuple[str, ...]:
    state = "provisional" if reference.provisional else "approved"
    return (
        (
            f"{version.label}: records of {_said(span)} compared with the baseline of its"
            f" reference, generation {reference.generation} ({state})."
        ),
        (
            "The tests and thresholds on this page are Evidently's own. They do not follow"
            " Driftline's budget of false pages, and no verdict, ticket, page or action follows"
            " from them: looked at often enough, they show drift where there is none."
        ),
        (
            "Daily and weekly rhythm is removed from both sides of signals that the detectors"
            " rank. Each signal is compared by itself, on at most"
            f" {tables.MOST_ROWS:,} values of each side."
        ),
    )


def _missing(left_out: tuple[str, ...], texts: ReportTexts) -> tuple[str, ...]:
    unmeasured = f"Not measured in these records: {', '.join(left_out)}." if left_out else ""
    untold = "" if texts.window else "Texts are not described: those of both sides are not stored."
    return tuple(filter(None, (unmeasured, untold)))
