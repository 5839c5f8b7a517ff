"""Command that prints each detector's share of the accepted false pages, and its expected delay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from monitor.cli import options, screen
from monitor.cli.client import Service
from monitor.views.budget import BudgetBody, ShareBody
from monitor.views.versions_seen import VersionSeen, WeakestCheck, by_version

DRIFTS: Final = {
    "half_sd": "half sd after",
    "one_sd": "1 sd after",
    "bad_requests": "5 % bad after",
}
"""The time until a shift by that many standard deviations, or that many bad requests, is seen."""


@options.asks
def budget(
    service: Service,
    adapter: Annotated[
        str | None, typer.Argument(help="One adapter's checks; the fleet when left out.")
    ] = None,
) -> None:
    """Show what each version may spend, and its weakest check; an adapter's every check."""
    found = service.look("/budget", BudgetBody, adapter=adapter)
    _say_promise(found)
    for one in found.rounds:
        screen.say(one.text)
    items = found.items
    if not items:
        screen.say("no version is watched yet: `driftline status` says why")
        return
    if adapter is None:
        _print_versions(items)
        return
    _print_lines(f"{adapter}: how soon a ticket", items, process="notice")
    _print_lines(f"{adapter}: how soon a page", items, process="page")
    screen.say(
        "from the beginning of a drift of the detector's first signal alone, at the traffic of"
        " the last day; hours / requests"
    )


def _say_promise(found: BudgetBody) -> None:
    tiers = [f"{one.tier} {one.pages_of_adapter:.3g} each ({one.adapters})" for one in found.tiers]
    screen.say(
        f"accepted per 30 days: {found.false_pages_per_30_days:g} false pages for the fleet,"
        f" {found.notices_per_30_days:g} notices for each adapter"
    )
    if tiers:
        screen.say(f"pages of an adapter: {', '.join(tiers)}")


def _print_versions(items: Sequence[ShareBody]) -> None:
    versions = by_version(items)
    screen.table(
        "versions, those with the most blind checks first",
        ["version", "pages", "notices", "requests/day", "weakest check"],
        [
            [
                one.name,
                share(one.pages),
                share(one.tickets),
                f"{one.requests_per_day:,.0f}",
                _weakest(one.weakest),
            ]
            for one in versions
        ],
        below=[_blind(one) for one in versions],
    )
    screen.say(
        "from the beginning of a drift to its page, or to its ticket where a check cannot page, at"
        " the traffic of the last day; `driftline budget ADAPTER` shows every check"
    )


def _blind(version: VersionSeen) -> list[str]:
    return [f"{version.how_many(some)}: {reason}" for reason, some in version.blind.items()]


def _weakest(found: WeakestCheck | None) -> str:
    if found is None:
        return "none sees anything"
    if math.isinf(found.hours):
        return f"{found.title}: {found.drift} never seen"
    return f"{found.title}: {found.drift} seen after {hours(found.hours)}"


def _print_lines(title: str, items: Sequence[ShareBody], *, process: str) -> None:
    screen.table(
        title,
        [
            "version",
            "check",
            "pages",
            "notices",
            "requests/day",
            "smallest change",
            *DRIFTS.values(),
            "note",
        ],
        [
            [
                f"{item.adapter}@{item.version}",
                item.title,
                share(item.pages_per_30_days),
                share(item.notices_per_30_days),
                f"{item.requests_per_day:,.0f}",
                screen.number(item.minimum_detectable, digits=3),
                *(_delay(item, drift, process) for drift in DRIFTS),
                note(item),
            ]
            for item in items
        ],
    )


def share(value: float) -> str:
    """Return a part of a budget as text: a dash for none."""
    return f"{value:.3g}" if value else "-"


def note(item: ShareBody) -> str:
    """Return what keeps a detector from seeing, or from paging."""
    if item.blind is not None:
        return f"blind: {item.blind}"
    days = item.day_effect
    differ = f"days taken to differ by {days.sd:.2g} sd ({days.origin})" if days else None
    tickets = f"tickets: {item.only_tickets}" if item.only_tickets is not None else differ
    return "; ".join(filter(None, (tickets, item.uncompared)))


def _delay(item: ShareBody, drift: str, process: str) -> str:
    found = item.delays.get(drift)
    if found is None:
        return "-"
    delay = found.page if process == "page" else found.notice
    if delay is None:
        return "-"
    if delay.hours is None:
        return "never"
    return f"{hours(delay.hours)} / {delay.requests:,.0f}"


def hours(value: float) -> str:
    """Write a time in its handiest unit.

    >>> hours(0.25), hours(4.3), hours(75.0)
    ('15 min', '4.3 h', '3.1 d')
    """
    if value < 1.0:
        return f"{math.ceil(60 * value)} min"
    return f"{value:.1f} h" if value < 48 else f"{value / 24:.1f} d"  # noqa: PLR2004 (two days)
