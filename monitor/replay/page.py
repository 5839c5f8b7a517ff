"""The story as one HTML file that needs no server and no network."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from monitor.replay.body import body_of, words_of
from monitor.replay.replaying import ReplayOutcome

TEMPLATES: Final = Path(__file__).parent / "templates"


def page_of(outcome: ReplayOutcome, *, script: str) -> str:
    """Return the page.

    Parameters
    ----------
    script
        plotly's JavaScript, put into the page as it is.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["words"] = words_of
    body = body_of(outcome, points=True)
    series = [_series(story) for story in body["versions"]]
    return environment.get_template("replay.html").render(
        body=body, script=script, series=_inside_a_script(series)
    )


def _series(story: dict[str, Any]) -> dict[str, Any]:
    """Return the data of one version's charts."""
    return {
        "detectors": [
            {"name": one["name"], "points": one["points"]}
            for one in story["detectors"]
            if one["points"]
        ],
        "transitions": [{"at": one["at"], "after": one["after"]} for one in story["transitions"]],
    }


def _inside_a_script(value: object) -> str:
    """Return JSON that cannot end its script element."""
    written = json.dumps(value, allow_nan=False)
    for character in "<>&\u2028\u2029":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return written


def plotly_script() -> Path:
    """Find the JavaScript that the installed plotly package carries.

    By its folder: importing the package costs seconds and tens of megabytes.
    """
    found = importlib.util.find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("the package plotly is not installed: the charts need it")
    return Path(found.submodule_search_locations[0]) / "package_data" / "plotly.min.js"
