"""Command that writes Evidently's report about an adapter's signals."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli import options, screen
from monitor.cli.failures import CommandFailed


def report(
    adapter: options.Adapter,
    out: Annotated[
        Path, typer.Option(dir_okay=False, help="HTML file to write; replaced if it exists.")
    ],
    version: Annotated[
        str | None, typer.Option(help="The version in charge when left out.")
    ] = None,
    hours: Annotated[
        float, typer.Option(min=0.01, help="Compare the records of the last hours.")
    ] = 24.0,
    config: options.Config = None,
) -> None:
    """Write Evidently's data-drift report of live records against the reference.

    It reads the database; the service need not run. The tests in it are Evidently's own:
    they do not follow Driftline's budget of false pages.
    """
    from monitor.report import ReportError, ReportSpan, build_report

    if not os.access(out.absolute().parent, os.W_OK):
        raise CommandFailed(f"{out.absolute().parent}: there is no such folder that can be written")
    now = datetime.now(tz=UTC)
    span = ReportSpan(start=now - timedelta(hours=hours), end=now)
    try:
        with screen.ERR.status("Evidently draws the report"), options.database(config) as database:
            built = build_report(database, adapter, version=version, span=span, out=out.absolute())
    except ReportError as error:
        raise CommandFailed(str(error)) from None
    screen.say(
        f"{out}: {built.version} against reference generation {built.generation},"
        f" {len(built.signals)} signals, {built.n_window:,} records."
        " Its tests are Evidently's own and do not follow Driftline's budget."
    )
