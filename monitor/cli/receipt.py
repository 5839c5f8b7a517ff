"""Command that shows the receipt of pages: promised, sent, marked as a false alarm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from monitor.cli import options, screen
from monitor.cli.budget import hours
from monitor.cli.client import Service
from monitor.cli.marks import judged
from monitor.views.receipt import AccountBody, PageBody, ReceiptBody, WatchedBody

MOST_VERSIONS: Final = 20
_LEAST: Final = 0.01


@options.asks
def receipt(
    service: Service,
    month: Annotated[
        str | None, typer.Option(help="A calendar month in UTC, as 2026-11; else the last 30 days.")
    ] = None,
) -> None:
    """Show how many false pages were promised, and how many pages were sent and were false."""
    found = service.look("/receipt", ReceiptBody, month=month)
    rows: list[tuple[str, AccountBody]] = [(one.tier, one) for one in found.tiers]
    if found.fleet.sent:
        rows.append(("fleet incidents", found.fleet))
    screen.table(
        f"pages of {found.month or 'the last 30 days'}, up to {screen.moment(found.end)}",
        ["tier", "promised false", "sent", "marked false", "accepted", "not judged"],
        [_row(name, one) for name, one in [*rows, ("all", found.total)]],
    )
    if found.pages:
        screen.table(
            "newest first",
            ["incident", "of", "at", "judged", "summary"],
            [
                [
                    str(page.incident),
                    f"{page.adapter}@{page.version}" if page.adapter else "a base model",
                    screen.moment(page.at),
                    _judged(page),
                    page.summary,
                ]
                for page in found.pages
            ],
        )
    _say_coverage(found.coverage)
    for note in found.notes:
        screen.say(note)


def _judged(page: PageBody) -> str:
    if page.marked:
        return judged(page.marked)
    return "not judged" if page.delivered else "not delivered"


def _say_coverage(found: Sequence[WatchedBody]) -> None:
    """Print the requests not compared, and how long a version was blind."""
    told = [one for one in found if one.blind_hours or _share(one) < 1.0]
    if told:
        screen.table(
            "what was compared, the longest blind first",
            ["version", "blind for", "compared", "by the least covered"],
            [
                [
                    f"{one.adapter}@{one.version}",
                    hours(one.blind_hours) if one.blind_hours else "-",
                    screen.covered(_share(one)),
                    one.least.text if one.least else "-",
                ]
                for one in told[:MOST_VERSIONS]
            ],
        )
    if len(told) > MOST_VERSIONS:
        screen.say(f"{len(told) - MOST_VERSIONS} more: see --json")
    if len(found) > len(told):
        screen.say(
            f"{len(found) - len(told)} of {len(found)} versions compared all that they could"
        )


def _share(one: WatchedBody) -> float:
    least = one.least
    return 1.0 if least is None or least.of_expected is None else least.of_expected


def _row(name: str, account: AccountBody) -> list[str]:
    counts = (account.sent, account.marked_false, account.accepted, account.not_judged)
    promised = account.promised
    said = f"{promised:.2f}" if promised >= _LEAST or not promised else f"< {_LEAST}"
    return [name, said, *map(str, counts)]
