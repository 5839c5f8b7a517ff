"""How adapters are: status, evaluate, explain, budget."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from monitor.cli import options, screen
from monitor.cli.failures import ExitCode


def status(
    adapter: Annotated[
        str | None, typer.Argument(help="One adapter; the fleet when left out.")
    ] = None,
    config: options.Config = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Show verdicts, worst first. Exit code 0 is calm, 3 drifting, 4 critical."""
    with options.service(config) as service:
        if adapter is None:
            fleet = service.get("/adapters", limit=500)
            _print_fleet(fleet, as_json=as_json)
            words = [item["verdict"] for item in fleet["items"]]
        else:
            found = service.get(f"/adapters/{adapter}")
            _print_adapter(found, as_json=as_json)
            words = [found["verdict"]]
    raise typer.Exit(_exit_code(words))


def evaluate(
    adapter: options.Adapter,
    config: options.Config = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the result.")] = 60.0,
    *,
    as_json: options.Json = False,
) -> None:
    """Evaluate now, and show the scores. Exit codes as for status."""
    with options.service(config) as service, screen.OUT.status("evaluating …"):
        done = service.post(f"/adapters/{adapter}/evaluations", wait=wait)
    if as_json:
        screen.OUT.print_json(json.dumps(done))
    elif "scores" in done:
        _print_scores(f"{adapter}: {done['verdict']}", done["scores"])
        screen.OUT.print(done["reason"], markup=False)
    else:
        screen.OUT.print("not done in time; see `driftline status`", markup=False)
    raise typer.Exit(_exit_code([done.get("verdict")]))


def explain(
    incident: Annotated[int, typer.Argument(help="Number of the incident in its link.")],
    config: options.Config = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Say in words what an incident is: what, since when, whose fault, what was done."""
    with options.service(config) as service:
        found = service.get(f"/incidents/{incident}")
    if as_json:
        screen.OUT.print_json(json.dumps(found))
        return
    facts = {
        key: found.get(key)
        for key in (
            "adapter",
            "version",
            "kind",
            "phase",
            "severity",
            "blame",
            "opened_at",
            "closed_at",
        )
    }
    screen.OUT.print(found.get("summary", ""), markup=False, style="bold")
    screen.table(
        f"incident {incident}",
        ["what", "value"],
        [[key.replace("_", " "), str(value)] for key, value in facts.items() if value is not None],
    )


def budget(config: options.Config = None, *, as_json: options.Json = False) -> None:
    """Show how the accepted false pages and notices are divided over the fleet."""
    from monitor.config import load

    settings = load(config).evaluation
    with options.service(config) as service:
        fleet = service.get("/adapters", limit=500)
    watched = max(1, sum(1 for item in fleet["items"] if _has_reference(item)))
    shares = settings.shares(watched=watched)
    if as_json:
        screen.OUT.print_json(json.dumps(shares))
        return
    screen.table(
        f"accepted per 30 days: {settings.false_pages_per_30_days:g} false pages for the fleet,"
        f" {settings.notices_per_30_days:g} notices for each adapter; {watched} watched",
        ["detector", "pages of one adapter", "notices of one adapter"],
        [
            [name, f"{share['page']:.4f}", f"{share['notice']:.4f}"]
            for name, share in shares.items()
        ],
    )


def _has_reference(item: dict[str, Any]) -> bool:
    return (item.get("reference") or {}).get("state") == "ready"


def _exit_code(words: list[str | None]) -> int:
    if "critical" in words:
        return ExitCode.CRITICAL
    return ExitCode.DRIFTING if "drifting" in words else ExitCode.OK


def _print_fleet(fleet: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        screen.OUT.print_json(json.dumps(fleet))
        return
    if not fleet["items"]:
        screen.OUT.print('no adapter is registered yet; see the README, "Connect a vLLM"')
        return
    screen.table(
        "adapters, worst first",
        ["adapter", "verdict", "drift score", "blame", "route", "reference"],
        [
            [
                item["adapter"],
                screen.verdict(item["verdict"]),
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
        screen.OUT.print_json(json.dumps(found))
        return
    _print_scores(f"{found['adapter']}: {found['verdict']}", found["scores"])
    if found.get("reason"):
        screen.OUT.print(found["reason"], markup=False)
    screen.OUT.print(
        f"route {_route(found.get('route'))} · reference {_reference(found.get('reference'))}",
        markup=False,
    )


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
        f"{arm['version']} {arm['weight']:.0%}" for arm in route["arms"] if arm["weight"] > 0
    )
    return f"{arms} (generation {route['generation']})"


def _reference(reference: dict[str, Any] | None) -> str:
    if not reference:
        return "none"
    return f"{reference.get('state', '-')} (generation {reference.get('generation', '-')})"
