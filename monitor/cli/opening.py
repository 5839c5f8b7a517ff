"""``driftline open``: the page of what is asked about, in the browser."""

from __future__ import annotations

import os
import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from monitor.cli import options, screen
from monitor.cli.client import place
from monitor.cli.failures import CommandFailed


def open_page(
    what: Annotated[
        str | None, typer.Argument(help="An adapter, or `incident`; the fleet when left out.")
    ] = None,
    number: Annotated[
        int | None, typer.Argument(min=1, help="Number of the incident; the inbox when left out.")
    ] = None,
    config: options.Config = None,
    *,
    only_print: Annotated[
        bool, typer.Option("--print", help="Print the address instead of opening it.")
    ] = False,
) -> None:
    """Open the page of the fleet, an adapter or an incident in the browser."""
    if number is not None and what != "incident":
        raise typer.BadParameter("a number follows `incident`")
    url = _without_secrets(options.pages_url(config)) + _path(what, number)
    if only_print or not _opened(url):
        screen.say(url)
    else:
        screen.note(f"opened {url}")


def _opened(url: str) -> bool:
    """Open a browser that has a window of its own; one in the terminal would take it."""
    windows = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    if sys.platform == "linux" and not any(os.environ.get(one) for one in windows):
        return False
    import webbrowser

    return webbrowser.open(url)


def _path(what: str | None, number: int | None) -> str:
    if what is None:
        return "/"
    if what != "incident":
        return place("adapters", what)
    return "/incidents" if number is None else place("incidents", number)


def _without_secrets(url: str) -> str:
    """Leave out a name and password: what is opened stays in the browser's history."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise CommandFailed("the address of the service begins with http:// or https://")
    where = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{where}{parts.path}".rstrip("/")
