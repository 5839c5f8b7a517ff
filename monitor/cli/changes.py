"""Commands that declare a change: around a deployment, or afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from monitor.cli import options, screen
from monitor.cli.client import Service, place, read
from monitor.cli.failures import CommandFailed
from monitor.cli.options import HELP, moment
from monitor.domain import ChangeKind
from monitor.views.change import ChangeBody, DeclaredChange
from monitor.views.shape import Page

app = options.CommandGroup("Declare what you change, so that incidents can name it.")

Kind = Annotated[ChangeKind, typer.Argument(help="What was changed.")]
Title = Annotated[str, typer.Argument(help="What people will read, such as 'vLLM 0.32 to 0.33'.")]
Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter", "-a", help="An adapter it concerns; may be repeated. All when left out."
    ),
]
Details = Annotated[
    list[str] | None, typer.Option("--detail", help="NAME=VALUE to keep with it; may be repeated.")
]
Id = Annotated[
    str | None,
    typer.Option(
        "--id", help="Your own id for the change; declared twice under it, it is one change."
    ),
]
Rebaseline = Annotated[
    bool,
    typer.Option(
        "--rebaseline/--no-rebaseline",
        help="Whether the end of an engine or base change starts perplexity afresh.",
    ),
]
Time = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="TIME", help=f"When, {HELP}; now where it is left out."),
]


@app.asks("begin")
def begin(
    service: Service,
    kind: Kind,
    title: Title,
    adapters: Adapters = None,
    at: Time = None,
    given_id: Id = None,
    details: Details = None,
) -> None:
    """Declare that a change begins, and print its id for `change end`."""
    body = _body(kind, title, adapters=adapters, at=at, given_id=given_id, details=details)
    answer = service.post("/changes", {**body, "open": True})
    made = read(answer, DeclaredChange)
    if made.ended_at is not None:
        raise CommandFailed(
            f"{_named(made)} was declared under this --id and has ended; take another one"
        )
    service.show(answer)
    screen.note(f"{_named(made)} is under way; end it with: driftline change end {made.change}")
    screen.say(str(made.change))


@app.asks("end")
def end(
    service: Service,
    change: Annotated[
        int | None, typer.Argument(min=1, help="Id of the change; the only open one when left out.")
    ] = None,
    at: Time = None,
    *,
    rebaseline: Rebaseline = True,
) -> None:
    """Declare that a change is over; declaring it twice changes nothing more."""
    body = {"ended_at": _moment(at), "rebaseline": rebaseline}
    over = service.order(
        place("changes", change or _only_open(service), "end"), body, DeclaredChange
    )
    screen.say(f"{_named(over)} ended after {_lasted(over)}")
    _say_rebaselined(over, screen.say)


@app.asks("add")
def add(
    service: Service,
    kind: Kind,
    title: Title,
    adapters: Adapters = None,
    at: Time = None,
    until: Time = None,
    given_id: Id = None,
    details: Details = None,
    *,
    rebaseline: Rebaseline = True,
) -> None:
    """Declare a change that has happened, now or --at, and print its id."""
    body = _body(kind, title, adapters=adapters, at=at, given_id=given_id, details=details)
    body |= {"ended_at": _moment(until), "rebaseline": rebaseline}
    made = service.order("/changes", body, DeclaredChange)
    _say_rebaselined(made, screen.note)
    screen.say(str(made.change))


@app.asks("list")
def list_changes(
    service: Service,
    adapter: Annotated[
        str | None, typer.Option("--adapter", "-a", help="Only what concerns this adapter.")
    ] = None,
    since: Time = None,
    limit: options.Limit = 50,
    *,
    open_only: Annotated[bool, typer.Option("--open", help="Only what is under way.")] = False,
) -> None:
    """Show declared changes, the last begun first."""
    found = service.look(
        "/changes",
        Page[ChangeBody],
        adapter=adapter,
        since=_moment(since),
        open="true" if open_only else None,
        limit=limit,
    )
    screen.table(
        "changes, the last begun first",
        ["change", "kind", "title", "adapters", "begun", "ended", "author"],
        [
            [
                str(one.change),
                one.kind,
                one.title,
                ", ".join(one.adapters or ["all"]),
                screen.moment(one.begun_at),
                screen.moment(one.ended_at, otherwise="under way"),
                one.author,
            ]
            for one in found.items
        ],
        none=(
            "no change is under way; `driftline change list` shows those that ended"
            if open_only
            else "no change was declared; `driftline change begin KIND TITLE` declares one"
        ),
    )


def say_under_way(changes: Sequence[ChangeBody]) -> None:
    """Print the changes of engine or base under way, for which probing waits."""
    for one in changes:
        since = one.begun_at.astimezone(UTC)
        of = f" for {', '.join(one.adapters)}" if one.adapters else ""
        screen.say(
            f"a change of {one.kind}{of} is under way since {since:%Y-%m-%d %H:%M} UTC"
            f" ({one.title}; change {one.change})"
        )


def _body(kind: ChangeKind, title: str, **said: Any) -> dict[str, Any]:
    return {
        "kind": kind.value,
        "title": title,
        "adapters": said["adapters"] or None,
        "begun_at": _moment(said["at"]),
        "id": said["given_id"],
        "details": dict(map(_detail, said["details"] or [])),
    }


def _detail(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CommandFailed(f"--detail {text}: write NAME=VALUE")
    return name, value


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _only_open(service: Service) -> int:
    found = list(service.pages("/changes", ChangeBody, open="true"))
    if not found:
        raise CommandFailed("no change is under way")
    if len(found) > 1:
        names = "".join(f"\n  {one.change}: {_named(one)}" for one in found)
        raise CommandFailed(f"{len(found)} changes are under way; say which ended:{names}")
    return found[0].change


def _named(change: ChangeBody) -> str:
    return f"{change.kind} change {change.change}, {change.title},"


def _lasted(change: ChangeBody) -> str:
    lasted = (change.ended_at or change.begun_at) - change.begun_at
    return str(timedelta(seconds=round(lasted.total_seconds())))


def _say_rebaselined(change: DeclaredChange, say: Callable[[str], None]) -> None:
    if change.rebaselined is None:
        return
    versions = change.rebaselined.versions
    say(
        f"perplexity of {versions} version{'s' if versions != 1 else ''} starts afresh:"
        " the next probe of each is what later ones are compared with"
        if versions
        else "no version's perplexity was registered; nothing to start afresh"
    )
