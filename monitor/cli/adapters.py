"""How adapters are: status, evaluate."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from monitor.cli import changes, options, screen
from monitor.cli.client import Service, place
from monitor.cli.failures import ExitCode
from monitor.cli.retention import say_withheld

LARGEST_PAGE = 1000


def status(
    adapter: Annotated[
        str | None, typer.Argument(help="One adapter; the fleet when left out.")
    ] = None,
    config: options.Config = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Show verdicts, worst first. Exit code 0 is calm, 3 drifting or blind, 4 critical."""
    with options.service(config) as service:
        if adapter is None:
            fleet = service.get("/adapters", limit=LARGEST_PAGE)
            _print_fleet(fleet, as_json=as_json)
            if not as_json:
                changes.say_under_way(_under_the_models(service))
                _say_fleet_incidents(service)
                say_withheld(service.get("/retention"))
            words = [item["verdict"] for item in fleet["items"]]
        else:
            found = service.get(place("adapters", adapter))
            _print_adapter(found, as_json=as_json)
            words = [found["verdict"]]
    raise typer.Exit(_exit_code(words))


def _under_the_models(service: Service) -> list[dict[str, Any]]:
    """The open changes of engine or base."""
    found = service.get("/changes", open="true", limit=LARGEST_PAGE)["items"]
    return [one for one in found if one["kind"] in {"engine", "base"}]


def _say_fleet_incidents(service: Service) -> None:
    """Say which bases have moved as a whole: their adapters tell of it once."""
    for one in service.pages("/incidents", open="true", limit=LARGEST_PAGE):
        if one["base_model"] is not None:
            screen.say(f"fleet incident {one['incident']} ({one['severity']}): {one['summary']}")


def evaluate(
    adapter: options.Adapter,
    config: options.Config = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the result.")] = 60.0,
    *,
    as_json: options.Json = False,
) -> None:
    """Evaluate now, and show the scores. Exit codes as for status."""
    with options.service(config) as service, screen.ERR.status("evaluating …"):
        done = service.post(place("adapters", adapter, "evaluations"), wait=wait)
    if as_json:
        screen.as_json(done)
    elif "scores" in done:
        _print_scores(f"{adapter}: {done['verdict']}", done["scores"])
        screen.say(done["reason"])
        _say_coverage("compared in this window", done["coverage"])
    else:
        screen.say(
            "not done in time: a window is read `schedule.live_lag` after its end;"
            " see `driftline status` in a while"
        )
    raise typer.Exit(_exit_code([done.get("verdict")]))


def _exit_code(words: list[str | None]) -> int:
    if "critical" in words:
        return ExitCode.CRITICAL
    return ExitCode.DRIFTING if {"drifting", "blind"} & set(words) else ExitCode.OK


def _print_fleet(fleet: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        screen.as_json(fleet)
        return
    if not fleet["items"]:
        screen.say('no adapter is registered yet; see the README, "Connect a vLLM"')
        return
    screen.table(
        "adapters, worst first",
        ["adapter", "verdict", "compared", "drift score", "blame", "route", "reference"],
        [
            [
                item["adapter"],
                screen.verdict(item["verdict"]),
                _least_covered(item["least_covered"]),
                screen.number(item.get("drift_score"), digits=0),
                item.get("blame") or "-",
                _route(item.get("route")),
                _reference(item.get("reference")),
            ]
            for item in fleet["items"]
        ],
    )


def _print_adapter(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        screen.as_json(found)
        return
    _print_scores(f"{found['adapter']}: {found['verdict']}", found["scores"])
    if found.get("reason"):
        screen.say(found["reason"])
    _say_coverage("compared of the newest requests", found["coverage"])
    if found["mend"]:
        screen.say(f"to have them compared: {found['mend']}")
    if found["sampling"]["text"]:
        screen.say(f"in the last 24 h {found['sampling']['text']}")
    changes.say_under_way([found["change_under_way"]] if found["change_under_way"] else [])
    screen.say(f"route {_route(found.get('route'))} · reference {_reference(found['reference'])}")
    if found["reference"]["learning"]:
        screen.say(found["reference"]["learning"]["text"])
    _say_probe(found["probe"])
    _say_weights(found)


def _least_covered(found: dict[str, Any] | None) -> str:
    """Write the share of the detector that compares the least, and its name where it matters."""
    if found is None:
        return "-"
    share = screen.covered(found["of_expected"])
    return share if found["of_expected"] == 1.0 else f"{share} ({found['detector']})"


def _say_coverage(title: str, found: list[dict[str, Any]]) -> None:
    if not found:
        screen.say("no request to compare yet")
        return
    screen.table(
        title,
        ["detector", "compared", "requests", "share", "not compared", "since"],
        [
            [
                one["detector"],
                f"{one['compared']:,}",
                f"{one['requests']:,}",
                "-" if one["ratio"] is None else screen.covered(one["ratio"]),
                "; ".join(f"{gap['requests']:,} {gap['text']}" for gap in one["gaps"]),
                screen.moment(one["since"]),
            ]
            for one in found
        ],
    )


def _say_probe(probe: dict[str, Any] | None) -> None:
    """Say since when perplexity is not known, where the newest probe had no answer."""
    if probe and probe["stopped"]:
        since = f"since {probe['answered_at']}" if probe["answered_at"] else "so far"
        screen.say(f"perplexity: no answer {since}: {probe['stopped']}")


def _say_weights(found: dict[str, Any]) -> None:
    """What the files of the version in charge say, where that is not simply healthy."""
    for version in found["versions"]:
        weights = version["weights"]
        if version["version"] == found["version"] and weights and weights["state"] != "healthy":
            screen.say(f"weights {weights['state']}: {weights['reason']}")


def _print_scores(title: str, scores: list[dict[str, Any]]) -> None:
    screen.table(
        title,
        [
            "detector",
            "score",
            "page evidence",
            "effect",
            "95 % interval",
            "n",
            "sees from",
            "verdict",
        ],
        [
            [
                score["detector"],
                screen.number(score["value"], digits=3),
                screen.number(score["evidence"]),
                screen.number(score["effect"], digits=3),
                " … ".join(screen.number(end, digits=3) for end in score["interval"]),
                str(score["n_window"]),
                screen.number(score["minimum_detectable"], digits=3),
                screen.verdict(score["verdict"]),
            ]
            for score in scores
        ],
    )


def _route(route: dict[str, Any] | None) -> str:
    if not route:
        return "-"
    arms = ", ".join(
        f"{arm['version']} {screen.weight(arm['weight'])}"
        for arm in route["arms"]
        if arm["weight"] > 0
    )
    return f"{arms} (generation {route['generation']})"


def _reference(reference: dict[str, Any] | None) -> str:
    if not reference or not reference["state"]:
        return "none"
    kind = "provisional" if reference["provisional"] else "approved"
    if reference["state"] != "ready":
        kind = f"{reference['progress'] or 0:.0%}"
    return f"{reference['state']}, {kind} (generation {reference['generation']})"
