"""``driftline status``: the fleet, worst first, or one adapter; once, or drawn again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from alerts.gist import gist
from alerts.types import VerdictKind
from monitor.cli import changes, options, screen
from monitor.cli.adapters import answering, exit_code, print_adapter
from monitor.cli.client import Service, place, read
from monitor.cli.retention import say_withheld
from monitor.cli.watching import EVERY, watch
from monitor.domain import ChangeKind
from monitor.views.adapter import AdapterDetail, AdapterSummary
from monitor.views.change import ChangeBody
from monitor.views.incident import IncidentBody
from monitor.views.reference import ReferenceSummary
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
    text: Annotated[
        str | None, typer.Option("--adapter", "-a", help="Only adapters with this in their name.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Only adapters of this owner.")] = None,
    base: Annotated[str | None, typer.Option(help="Only adapters on this base model.")] = None,
    verdict: Annotated[
        list[str] | None, typer.Option(help="Only adapters with this verdict; may be repeated.")
    ] = None,
    covered_below: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=1.0, help="Only adapters of whose requests a smaller share is compared."
        ),
    ] = None,
    every: Annotated[
        float, typer.Option(min=0.2, max=3600.0, help="With --watch: seconds between two looks.")
    ] = EVERY,
    *,
    watching: Annotated[
        bool, typer.Option("--watch", "-w", help="Draw it again and again, until Ctrl-C.")
    ] = False,
) -> None:
    """Show verdicts, worst first. Exit code 0 is calm, 3 drifting or blind, 4 critical."""
    asked = {
        "q": text,
        "owner": owner,
        "base": base,
        "verdict": verdict or None,
        "covered_below": covered_below,
    }
    if adapter is not None and any(asked.values()):
        raise typer.BadParameter(
            "--adapter, --owner, --base, --verdict and --covered-below narrow the fleet"
        )
    if watching and service.as_json:
        raise typer.BadParameter("--watch draws; --json prints once")
    if watching:
        watch(lambda: _show(service, adapter, asked), every=every)
        return
    raise typer.Exit(_show(service, adapter, asked))


def _show(service: Service, adapter: str | None, asked: Mapping[str, object]) -> int:
    return _show_fleet(service, asked) if adapter is None else _show_adapter(service, adapter)


def _show_fleet(service: Service, asked: Mapping[str, object]) -> int:
    answer = service.get("/adapters", limit=LARGEST_PAGE, **asked)
    fleet = read(answer, Page[AdapterSummary]).items
    code = exit_code(fleet)
    service.show(answer, code=code)
    opened = list(service.pages("/incidents", IncidentBody, open="true", limit=LARGEST_PAGE))
    _print_fleet(fleet, opened, narrowed=any(asked.values()))
    changes.say_under_way(_under_the_models(service))
    for one in opened:
        if one.base_model is not None:
            screen.say(f"fleet incident {one.incident} ({one.severity}): {one.summary}")
    say_withheld(read(service.get("/retention"), RetentionBody))
    return code


def _show_adapter(service: Service, adapter: str) -> int:
    answer = service.get(place("adapters", adapter))
    found = read(answer, AdapterDetail)
    code = exit_code([found])
    service.show(answer, code=code)
    print_adapter(found)
    for one in service.pages("/incidents", IncidentBody, adapter=adapter, open="true"):
        screen.say(f"{one.severity}: {one.summary}")
        screen.say(f"  driftline incident show {one.incident}")
    return code


def _under_the_models(service: Service) -> list[ChangeBody]:
    """Return the open changes of engine or base."""
    found = service.get("/changes", open="true", limit=LARGEST_PAGE)
    return [one for one in read(found, Page[ChangeBody]).items if one.kind in UNDER_THE_MODEL]


def _print_fleet(
    fleet: Sequence[AdapterSummary], opened: Sequence[IncidentBody], *, narrowed: bool
) -> None:
    if not fleet and narrowed:
        screen.say("no adapter matches; `driftline status` shows all")
        return
    if not fleet:
        screen.say(
            "no adapter is registered yet: `driftline discover http://ENGINE:8000` registers what"
            " an engine serves"
        )
        return
    counted = Counter(one.verdict.value for one in fleet)
    screen.say(", ".join(f"{count} {verdict}" for verdict, count in counted.items()))
    incidents = [[one for one in opened if one.adapter == item.adapter] for item in fleet]
    screen.table(
        "adapters, worst first",
        ["adapter", "verdict", "since", "incident", "compared", "traffic", "reference"],
        [_row(item, of_it) for item, of_it in zip(fleet, incidents, strict=True)],
        below=[_why(item, of_it) for item, of_it in zip(fleet, incidents, strict=True)],
    )


def _row(item: AdapterSummary, incidents: Sequence[IncidentBody]) -> list[screen.Cell]:
    covered = item.least_covered
    return [
        item.adapter,
        screen.verdict(item.verdict),
        screen.moment(item.since),
        " ".join(f"#{one.incident}" for one in incidents) or "-",
        "-"
        if covered is None or covered.of_expected is None
        else screen.covered(covered.of_expected),
        (answering(item.route) if item.route else "") or "-",
        _reference(item.reference),
    ]


def _why(item: AdapterSummary, incidents: Sequence[IncidentBody]) -> list[str]:
    """Say why an adapter is not healthy, in the words of its messages where people were told."""
    if incidents:
        why = [one.summary.removeprefix(f"{one.adapter}@{one.version}: ") for one in incidents]
    else:
        why = [] if item.verdict is VerdictKind.STABLE else [gist(item.reason)]
    covered = item.least_covered
    if covered is not None and covered.of_expected is not None and covered.of_expected < 1.0:
        why.append(f"compared is that of {covered.title}, which compares the least")
    return why


def _reference(reference: ReferenceSummary) -> str:
    if reference.state is None:
        return "none"
    if reference.state != "ready":
        return f"{reference.state} {reference.progress or 0:.0%}"
    return "provisional" if reference.provisional else "approved"
