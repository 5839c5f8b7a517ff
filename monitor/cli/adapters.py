"""One adapter in full, as ``status`` and ``evaluate`` print it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from alerts.gist import gist
from alerts.types import VerdictKind
from monitor.cli import changes, options, screen
from monitor.cli.client import Service, place, read
from monitor.cli.failures import ExitCode
from monitor.views.adapter import AdapterDetail, AdapterSummary, ProbeBody
from monitor.views.coverage import CoverageBody
from monitor.views.reference import ReferenceSummary
from monitor.views.route import RouteBody
from monitor.views.score import EvaluationBody, ScoreBody


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
    service.show(answer, code=exit_code([done]))
    _print_scores(f"{adapter}: {done.verdict}", done.scores)
    screen.say(gist(done.reason or ""))
    _say_coverage("compared in this window", done.coverage)
    raise typer.Exit(exit_code([done]))


def exit_code(judged: Sequence[AdapterSummary | EvaluationBody]) -> int:
    """Return what the worst of these verdicts is to a script."""
    words = {one.verdict for one in judged}
    if VerdictKind.CRITICAL in words:
        return ExitCode.CRITICAL
    troubled = {VerdictKind.DRIFTING, VerdictKind.BLIND} & words
    return ExitCode.DRIFTING if troubled else ExitCode.OK


def print_adapter(found: AdapterDetail) -> None:
    """Print one adapter: its scores, why it stands so, what is compared, who answers."""
    _print_scores(f"{found.adapter}: {found.verdict}", found.scores)
    screen.say(gist(found.reason))
    since = f"since {screen.moment(found.since)} UTC · " if found.since else ""
    screen.say(f"{since}blame {found.blame} · drift score {found.drift_score:.0f} of 100")
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


def _say_coverage(title: str, found: Sequence[CoverageBody]) -> None:
    if not found:
        screen.say("no request to compare yet")
        return
    screen.table(
        title,
        ["check", "compared", "requests", "share", "not compared", "since"],
        [
            [
                one.title,
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
            "check",
            "score",
            "page evidence",
            "effect",
            "95 % interval",
            "n",
            "smallest change",
            "verdict",
        ],
        [
            [
                score.title,
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
    return f"{answering(route)} (generation {route.generation})"


def answering(route: RouteBody) -> str:
    """Return the versions that answer, each with its share of the traffic."""
    arms = [arm for arm in route.arms if arm.weight > 0]
    return ", ".join(f"{arm.version} {screen.weight(arm.weight)}" for arm in arms)


def _reference(reference: ReferenceSummary) -> str:
    if reference.state is None:
        return "none"
    kind = "provisional" if reference.provisional else "approved"
    if reference.state != "ready":
        kind = f"{reference.progress or 0:.0%}"
    return f"{reference.state}, {kind} (generation {reference.generation})"
