"""Command that writes Evidently's report about an adapter's signals."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli import options, screen
from monitor.cli.failures import CommandFailed, failing


def report(
    adapter: options.Adapter,
    out: Annotated[
        Path, typer.Option(dir_okay=False, help="HTML file to write; replaced if it exists.")
    ],
    version: options.VersionOption = None,
    hours: Annotated[
        float, typer.Option(min=0.01, help="Compare the records of the last hours.")
    ] = 24.0,
    snapshot: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="JSON file for Evidently's own UI to write as well."),
    ] = None,
    config: options.Config = None,
) -> None:
    """Write Evidently's data-drift and text report of live records against the reference.

    It reads the database; the service need not run. The tests in it are Evidently's own:
    they do not follow Driftline's budget of false pages.
    """
    from monitor.domain import Interval
    from monitor.report.building import build_report
    from monitor.report.errors import ReportError
    from monitor.store.registry import versions
    from monitor.store.traffic import fleet

    for path in filter(None, (out, snapshot)):
        if not os.access(folder := path.absolute().parent, os.W_OK):
            raise CommandFailed(f"{folder}: there is no such folder that can be written")
    now = datetime.now(tz=UTC)
    span = Interval(start=now - timedelta(hours=hours), end=now)
    with screen.ERR.status("Evidently draws the report"), options.database(config) as database:
        of = database.run(
            lambda tx: (
                versions.fetch(tx, adapter=adapter, name=version)
                if version
                else fleet.in_charge(tx, adapter)
            )
        )
        if of is None:
            label = f"{adapter}@{version}" if version else adapter
            raise CommandFailed(f"{label} is not registered")
        with failing(ReportError):
            built = build_report(database, of, span=span)
    _replace(out, built.drawn.page)
    if snapshot:
        _replace(snapshot, built.drawn.snapshot)
    screen.say(
        f"{out}: {built.version} against reference generation {built.generation},"
        f" {len(built.signals)} signals, {built.n_window:,} records."
        " Its tests are Evidently's own and do not follow Driftline's budget."
    )


def _replace(path: Path, packed: bytes) -> None:
    """Write a file whole, or not at all."""
    written = path.with_name(f".{path.name}.{os.getpid()}")
    written.write_bytes(gzip.decompress(packed))
    written.replace(path)
