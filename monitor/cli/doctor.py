"""Command that looks at an installation and says what to do about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Final

import typer

from monitor.cli import options, screen
from monitor.cli.failures import ExitCode
from monitor.loading import loading

STYLES: Final = {"fine": "green", "note": "yellow", "fault": "bold red"}
MARGIN: Final = 20
"""Columns before the finding: its health, and the part."""


def doctor(
    config: options.Config = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Look at data folder, database, cluster, engines, encoder, channels, login and processes.

    Changes nothing and sends no message. Exit code 0 is no fault, 1 that there is one.
    """
    settings = options.settings(config)
    with loading():
        from monitor.daemon.checkup import checkup
        from monitor.daemon.checkup.diagnosis import Health
    screen.without_logs()
    found = []
    for one in checkup(settings):
        found.append(one)
        if not as_json:
            told = f"{one.part:<13} {one.found}"
            screen.marked(f"{one.health:<6}", told, style=STYLES[one.health], hanging=MARGIN)
            if one.advice:
                screen.say(f"{'':<{MARGIN}}{one.advice}", hanging=MARGIN)
    if as_json:
        screen.as_json({"findings": [asdict(one) for one in found]})
    if any(one.health is Health.FAULT for one in found):
        raise typer.Exit(ExitCode.FAILED)
