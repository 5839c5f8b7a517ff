"""The receipt of pages: promised, sent, marked as false."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from monitor.cli import options, screen

_LEAST: Final = 0.01


def receipt(
    month: Annotated[
        str | None, typer.Option(help="A calendar month in UTC, as 2026-11; else the last 30 days.")
    ] = None,
    config: options.Config = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Account for pages: how many were promised, sent, and marked as false by on-call."""
    with options.service(config) as service:
        found = service.get("/receipt", month=month)
    if as_json:
        screen.as_json(found)
        return
    rows = [(one["tier"], one) for one in found["tiers"]]
    if found["fleet"]["sent"]:
        rows.append(("fleet incidents", found["fleet"]))
    screen.table(
        f"pages of {found['month'] or 'the last 30 days'}, up to {found['end']}",
        ["tier", "promised false", "sent", "marked false", "accepted", "not judged"],
        [_row(name, one) for name, one in [*rows, ("all", found["total"])]],
    )
    if found["pages"]:
        screen.table(
            "newest first",
            ["incident", "of", "at", "marked", "summary"],
            [
                [
                    str(page["incident"]),
                    f"{page['adapter']}@{page['version']}" if page["adapter"] else "a base model",
                    screen.moment(page["at"]),
                    page["marked"] or ("not judged" if page["delivered"] else "not delivered"),
                    page["summary"],
                ]
                for page in found["pages"]
            ],
        )
    for note in found["notes"]:
        screen.say(note)


def _row(name: str, account: dict[str, Any]) -> list[str]:
    counts = [account[key] for key in ("sent", "marked_false", "accepted", "not_judged")]
    promised = account["promised"]
    said = f"{promised:.2f}" if promised >= _LEAST or not promised else f"< {_LEAST}"
    return [name, said, *map(str, counts)]
