"""Commands about the state of adapters: status, evaluate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from alerts.types import VerdictKind
from monitor.cli import changes, options, screen
from monitor.cli.client import Service, place, read
from monitor.cli.failures import ExitCode
from monitor.cli.retention import say_withheld
from monitor.domain import ChangeKind
from monitor.views.adapter import AdapterDetail, AdapterSummary, ProbeBody
from monitor.views.change import ChangeBody
from monitor.views.coverage import CoverageBody
from monitor.views.incident import IncidentBody
from monitor.views.reference import ReferenceSummary
from monitor.views.route import RouteBody
from monitor.views.score import EvaluationBody, ScoreBody
from monitor.views.service import RetentionBody
from monitor.views.shape import Page

LARGEST_PAGE = 1000
UNDER_THE_MODEL = {ChangeKind.ENGINE, ChangeKind.BASE}


@options.asks
def status(
    service: Service,
    adapter: Annotated[
        str | None, typer.Argument(help="One adapter; the fleet when left out.")
    ] = None,
) -> None:
    """Show verdicts, worst first. Exit code 0 is calm, 3 drifting or blind, 4 critical."""
    if adapter is None:
        answer = service.get("/adapters", limit=LARGEST_PAGE)
        fleet = read(answer, Page[AdapterSummary]).items
        service.show(answer, code=_exit_code(fleet))
        _print_fleet(fleet)
        changes.say_under_way(_under_the_models(service))
        _say_fleet_incidents(service)
        say_withheld(read(service.get("/retention"), RetentionBody))
        raise typer.Exit(_exit_code(fleet))
    answer = service.get(place("adapters", adapter))
    found = read(answer, AdapterDetail)
    service.show(answer, code=_exit_code([found]))
    _print_adapter(found)
    raise typer.Exit(_exit_code([found]))


def _under_the_models(service: Service) -> list[ChangeBody]:
    """Return the open changes of engine or base."""
    found = service.get("/changes", open="true", limit=LARGEST_PAGE)
    return [one for one in read(found, Page[ChangeBody]).items if one.kind in UNDER_THE_MODEL]


def _say_fleet_incidents(service: Service) -> None:
    """Print the bases that have moved as a whole: one line for all their adapters."""
    for one in service.pages("/incidents", IncidentBody, open="true", limit=LARGEST_PAGE):
        if one.base_model is not None:
            screen.say(f"fleet incident {one.incident} ({one.severity}): {one.summary}")


@options.asks
def evaluate(
    service: Service,
    adapter: options.Adapter,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the result.")] = 60.0,
) -> None:
    """Evaluate now, and show the scores. Exit codes as for status."""
    with screen.ERR.status("evaluating …"):
        answer = service.post(place("adapters", adapter, "evaluations"), wait=wait)
    if "scores" not in answer:
        service.show(answer)
        screen.say(
            "not done in time: a window is read `schedule.live_lag` after its end;"
            " see `driftline status` in a while"
        )
        return
    done = read(answer, EvaluationBody)
    service.show(answer, code=_exit_code([done]))
    _print_scores(f"{adapter}: {done.verdict}", done.scores)
    screen.say(done.reason or "")
    _say_coverage("compared in this window", done.coverage)
    raise typer.Exit(_exit_code([done]))


def _exit_code(judged: Sequence[AdapterSummary | EvaluationBody]) -> int:
    words = {one.verdict for one in judged}
    if VerdictKind.CRITICAL in words:
        return ExitCode.CRITICAL
    troubled = {VerdictKind.DRIFTING, VerdictKind.BLIND} & words
    return ExitCode.DRIFTING if troubled else ExitCode.OK


def _print_fleet(fleet: Sequence[AdapterSummary]) -> None:
    if not fleet:
        screen.say('no adapter is registered yet; see the README, "Connect a vLLM"')
        return
    screen.table(
        "adapters, worst first",
        ["adapter", "verdict", "compared", "drift score", "blame", "route", "reference"],
        [
            [
                item.adapter,
                screen.verdict(item.verdict),
                _least_covered(item.least_covered),
                screen.number(item.drift_score, digits=0),
                item.blame,
                _route(item.route),
                _reference(item.reference),
            ]
            for item in fleet
        ],
    )


def _print_adapter(found: AdapterDetail) -> None:
    _print_scores(f"{found.adapter}: {found.verdict}", found.scores)
    screen.say(found.reason)
    _say_coverage("compared of the newest requests", found.coverage)
    if found.mend:
        screen.say(f"to have them compared: {found.mend}")
    if found.sampling.text:
        screen.say(f"in the last 24 h {found.sampling.text}")
    changes.say_under_way([found.change_under_way] if found.change_under_way else [])
    screen.say(f"route {_route(found.route)} · reference {_reference(found.reference)}")
    if found.reference.learning:
        screen.say(found.reference.learning.text)
    _say_probe(found.probe)
    _say_weights(found)


def _least_covered(found: CoverageBody | None) -> str:
    """Return the lowest compared share of a detector, with its name where it matters."""
    if found is None or found.of_expected is None:
        return "-"
    share = screen.covered(found.of_expected)
    return share if found.of_expected == 1.0 else f"{share} ({found.detector})"


def _say_coverage(title: str, found: Sequence[CoverageBody]) -> None:
    if not found:
        screen.say("no request to compare yet")
        return
    screen.table(
        title,
        ["detector", "compared", "requests", "share", "not compared", "since"],
        [
            [
                one.detector,
                f"{one.compared:,}",
                f"{one.requests:,}",
                "-" if one.ratio is None else screen.covered(one.ratio),
                "; ".join(f"{gap.requests:,} {gap.text}" for gap in one.gaps),
                screen.moment(one.since),
            ]
            for one in found
        ],
    )


def _say_probe(probe: ProbeBody | None) -> None:
    """Print since when perplexity is unknown, where the newest probe had no answer."""
    if probe and probe.stopped:
        since = f"since {screen.moment(probe.answered_at)}" if probe.answered_at else "so far"
        screen.say(f"perplexity: no answer {since}: {probe.stopped}")


def _say_weights(found: AdapterDetail) -> None:
    """Print the inspection of the version in charge, unless its files are healthy."""
    for version in found.versions:
        weights = version.weights
        if version.version == found.version and weights and weights.state != "healthy":
            screen.say(f"weights {weights.state}: {weights.reason}")


def _print_scores(title: str, scores: Sequence[ScoreBody]) -> None:
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
                score.detector,
                screen.number(score.value, digits=3),
                screen.number(score.evidence),
                screen.number(score.effect, digits=3),
                " … ".join(screen.number(end, digits=3) for end in score.interval),
                str(score.n_window),
                screen.number(score.minimum_detectable, digits=3),
                screen.verdict(score.verdict),
            ]
            for score in scores
        ],
    )


def _route(route: RouteBody | None) -> str:
    if not route:
        return "-"
    arms = ", ".join(
        f"{arm.version} {screen.weight(arm.weight)}" for arm in route.arms if arm.weight > 0
    )
    return f"{arms} (generation {route.generation})"


def _reference(reference: ReferenceSummary) -> str:
    if reference.state is None:
        return "none"
    kind = "provisional" if reference.provisional else "approved"
    if reference.state != "ready":
        kind = f"{reference.progress or 0:.0%}"
    return f"{reference.state}, {kind} (generation {reference.generation})"
