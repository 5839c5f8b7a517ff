"""Commands that back a service up into a folder, and restore it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monitor.cli import options, screen
from monitor.cli.failures import failing
from monitor.loading import loading

Folder = Annotated[Path, typer.Argument(help="The backup: a folder.")]


def backup(folder: Folder, config: options.Config = None) -> None:
    """Copy database and keys into a new folder; safe beside a running service."""
    with loading():
        settings = options.settings(config)
        from monitor.daemon import logs
        from monitor.daemon.backups import BackupFailed, back_up
    logs.configure("warning")
    with failing(BackupFailed), options.told():
        made = back_up(settings, folder)
    screen.say(f"{folder}: {made.total:,} rows in {len(made.rows)} tables, schema {made.schema}")


def restore(folder: Folder, config: options.Config = None) -> None:
    """Fill an empty database and data folder from a backup; routers take its routes."""
    with loading():
        settings = options.settings(config)
        from monitor.daemon import logs
        from monitor.daemon.backups import BackupFailed
        from monitor.daemon.backups import restore as restored
    logs.configure("error")
    with failing(BackupFailed), options.told():
        found, epoch = restored(settings, folder)
    screen.say(
        f"{found.total:,} rows in {len(found.rows)} tables, as they were at"
        f" {found.taken_at:%Y-%m-%d %H:%M:%S} UTC; routes are of epoch {epoch} now"
    )
