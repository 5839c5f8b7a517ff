"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.client import Service, local_key

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="DRIFTLINE_CONFIG",
        help="The config file; ./config.toml where there is one, else the defaults.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the service's JSON.")]
Adapter = Annotated[str, typer.Argument(help="Name of the adapter, as clients ask for it.")]
Version = Annotated[str, typer.Argument(help="Name of the version, such as v7.")]


def service(config: Path | None) -> Service:
    """The service of the config, or of ``DRIFTLINE_URL`` and ``DRIFTLINE_KEY``."""
    from monitor.config import load

    settings = load(config)
    url = os.environ.get("DRIFTLINE_URL") or f"http://{settings.server.host}:{settings.server.port}"
    key = os.environ.get("DRIFTLINE_KEY") or local_key(settings.service.data_dir)
    return Service(url, key)
