"""Read the data of a report, and have it drawn."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from detectors import rank_reference
from detectors.rank_reference import RankReference
from detectors.types import Window
from monitor.domain import Reference, Version
from monitor.evaluate.loading import Calibrations
from monitor.report import tables
from monitor.report.errors import ReportError
from monitor.report.tables import Floats, Tables
from monitor.store.database import Database
from monitor.store.records import records
from monitor.store.registry import versions
from monitor.store.traffic import fleet

READ_AT_MOST: Final = 100_000
"""The most recent records that the sample is drawn from: 30 MB."""
PATIENCE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSpan:
    """The half-open ``[start, end)`` whose records are compared, in aware UTC."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A written report: its subject, its size, and what it leaves out."""

    path: Path
    version: str
    generation: int
    signals: tuple[str, ...]
    left_out: tuple[str, ...]
    n_window: int
    n_reference: int


def build_report(
    database: Database, adapter: str, *, version: str | None, span: ReportSpan, out: Path
) -> Built:
    """Write Evidently's data-drift preset of one adapter version as one HTML file.

    Question: what does a general-purpose drift report say about the signals that the rank
    detectors watch? It is for a second look; it follows no budget of false pages and no
    verdict follows from it. The page says so itself.

    What is compared: the values that the reference in force froze of its **baseline**, per
    signal, with the records of ``span`` in the reference's settings strata; the daily and
    weekly rhythm is removed from both, as the detectors do. The reference keeps each
    signal's values sorted by themselves, so only one signal at a time can be compared;
    nothing is said about how signals move together. At most 10,000 values of each side,
    drawn with the reference's id as seed; of a span with more than 100,000 records the
    newest 100,000. Rates (empty, loops, missing) are not in it: their references are
    rates, not values.

    Cost: a process of its own with 360 MB for 4 s of CPU; the file has 4 MB,
    holds its own JavaScript and loads nothing.

    Parameters
    ----------
    version
        One of the adapter's versions; None means the version in charge.
    out
        Replaced as a whole if it exists.

    Raises
    ------
    ReportError
        Unknown adapter or version, no ready reference, no records in ``span``, no signal that both
        sides measured, or Evidently failed.
    """
    subject, reference, found = database.run(lambda tx: _read(tx, adapter, version, span))
    before, after = tables.sampled(found.reference, found.window, seed=int(reference.id))
    shown = tables.comparable(before, after)
    if not shown:
        raise ReportError(
            f"{subject.label}: no signal of its reference was measured in {span};"
            " does the source send token logprobs?"
        )
    left_out = tuple(name for name in before if name not in shown)
    chosen = Tables(
        reference={name: before[name] for name in shown},
        window={name: after[name] for name in shown},
        notice=(*_notice(subject, reference, span), *_missing(left_out)),
    )
    _draw(chosen, out)
    return Built(
        path=out,
        version=subject.label,
        generation=reference.generation,
        signals=shown,
        left_out=left_out,
        n_window=max(column.size for column in chosen.window.values()),
        n_reference=max(column.size for column in chosen.reference.values()),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    reference: Mapping[str, Floats]
    window: Mapping[str, Floats]


def _read(
    tx: Connection, adapter: str, name: str | None, span: ReportSpan
) -> tuple[Version, Reference, _Found]:
    version = _version(tx, adapter, name)
    calibrated = Calibrations().current(tx, version.id)
    if calibrated is None:
        raise ReportError(f"{version.label} has no ready reference to compare with")
    columns = records.newest_since(
        tx,
        version_id=version.id,
        adapter_id=version.adapter_id,
        since=span.start,
        limit=READ_AT_MOST,
        strata=list(calibrated.reference.strata),
        reference_id=calibrated.reference.id,
    )
    window = _window(columns, span)
    if not len(window):
        raise ReportError(f"{version.label} has no records of its reference's settings in {span}")
    return version, calibrated.reference, _found(calibrated.by_detector, window)


def _version(tx: Connection, adapter: str, name: str | None) -> Version:
    if name is None:
        found = fleet.in_charge(tx, adapter)
    else:
        found = versions.fetch(tx, adapter=adapter, name=name)
    if found is None:
        label = adapter if name is None else f"{adapter}@{name}"
        raise ReportError(f"{label} is not registered")
    return found


def _window(columns: records.RecordColumns, span: ReportSpan) -> Window:
    inside = columns.at < span.end.timestamp()
    return Window(
        start=span.start.timestamp(),
        end=span.end.timestamp(),
        at=columns.at[inside],
        signals={name: column[inside] for name, column in columns.signals.items()},
    )


def _found(by_detector: Mapping[str, Any], window: Window) -> _Found:
    before: dict[str, Floats] = {}
    after: dict[str, Floats] = {}
    for reference in by_detector.values():
        if isinstance(reference, RankReference):
            placed = rank_reference.place(reference, window)
            before |= dict(zip(reference.signals, reference.ordered, strict=True))
            after |= dict(zip(reference.signals, placed.values.T, strict=True))
    return _Found(reference=before, window=after)


def _notice(version: Version, reference: Reference, span: ReportSpan) -> tuple[str, ...]:
    state = "provisional" if reference.provisional else "approved"
    return (
        (
            f"{version.label}: records of {span} compared with the baseline of its reference,"
            f" generation {reference.generation} ({state})."
        ),
        (
            "The tests and thresholds on this page are Evidently's own. They do not follow"
            " Driftline's budget of false pages, and no verdict, ticket, page or action follows"
            " from them: looked at often enough, they show drift where there is none."
        ),
        (
            "Daily and weekly rhythm is removed from both sides. Each signal is compared by"
            f" itself, on at most {tables.MOST_ROWS:,} values of each side."
        ),
    )


def _missing(left_out: tuple[str, ...]) -> tuple[str, ...]:
    return (f"Not measured in these records: {', '.join(left_out)}.",) if left_out else ()


def _draw(chosen: Tables, out: Path) -> None:
    """Draw the page with Evidently in another process; move it into place once complete."""
    if find_spec("evidently") is None:
        raise ReportError("evidently is not installed: pip install 'driftline[report]'")
    with tempfile.TemporaryDirectory(prefix="driftline-report-", dir=out.parent) as folder:
        given, page = Path(folder) / "tables.npz", Path(folder) / "report.html"
        tables.save(given, chosen)
        try:
            subprocess.run(  # noqa: S603 - our own module
                [sys.executable, "-m", "monitor.report.render", str(given), str(page)],
                env={**os.environ, "DO_NOT_TRACK": "1"},
                capture_output=True,
                text=True,
                check=True,
                timeout=PATIENCE.total_seconds(),
            )
        except subprocess.CalledProcessError as error:
            last = error.stderr.strip().rpartition("\n")[2]
            raise ReportError(f"Evidently could not draw the report: {last}") from None
        except subprocess.TimeoutExpired:
            raise ReportError(f"Evidently took longer than {PATIENCE}; gave up") from None
        page.replace(out)
