"""Run the service, prepare its database, check its config."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from monitor.cli import options, screen
from monitor.cli.failures import CommandFailed


class Role(StrEnum):
    """Which parts of the service this process runs."""

    ALL = "all"
    API = "api"
    WORKER = "worker"


def serve(
    config: options.Config = None,
    role: Annotated[
        Role, typer.Option(help="api: HTTP only; worker: evaluation and delivery only.")
    ] = Role.ALL,
) -> None:
    """Run the service: API, dashboard, schedule and delivery."""
    from monitor.config import ConfigError, load
    from monitor.daemon import run

    try:
        settings = load(config)
    except ConfigError as error:
        raise CommandFailed(str(error)) from None
    run(settings, api=role is not Role.WORKER, worker=role is not Role.API)


def migrate(config: options.Config = None) -> None:
    """Bring the database's schema to this release; safe beside running services."""
    from monitor.daemon import opened_database

    with opened_database(config):
        screen.OUT.print("the schema is at head", markup=False)


def check_config(config: options.Config = None) -> None:
    """Read the config as `serve` would, and say everything that is wrong with it."""
    from monitor.config import ConfigError, load

    try:
        settings = load(config)
    except ConfigError as error:
        raise CommandFailed(
            "\n".join([f"{len(error.problems)} problem(s):", *error.problems])
        ) from None
    channels = ", ".join(channel.name for channel in settings.channels) or "none"
    screen.OUT.print(f"{settings.source}: fine; channels: {channels}", markup=False)
