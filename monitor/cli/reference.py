"""Commands that build references from files or live records, and show their progress."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.cli import options, screen
from monitor.cli.client import Service, place, read
from monitor.cli.failures import CommandFailed, ExitCode
from monitor.cli.options import HELP, moment
from monitor.views.reference import LearnedBody, ReferenceBody, ReferencesBody, RefreezeBody

if TYPE_CHECKING:
    from rich.progress import Progress

app = options.CommandGroup("Build, approve and renew what a version is compared with.")

CHUNK = 1 << 16
Cause = Annotated[str, typer.Option(help="Why; people read it in the audit.")]
Wait = Annotated[bool, typer.Option(help="Wait until it is ready or has failed.")]


@app.asks("build")
def build(
    service: Service,
    adapter: options.Adapter,
    version: options.Version,
    file: Annotated[
        Path, typer.Argument(help="NDJSON: one training text or baseline record a line.")
    ],
    cause: Cause = "uploaded by hand",
    *,
    wait: Wait = True,
) -> None:
    """Upload a reference and build it."""
    if not file.is_file():
        raise CommandFailed(f"{file}: there is no such file")
    path = _place(adapter, version)
    with screen.progress() as progress:
        task = progress.add_task("uploading", total=file.stat().st_size)
        answer = service.upload(path, _chunks(file, progress, task), cause=cause)
    _follow(service, path, answer, wait=wait)


@app.asks("freeze")
def freeze(
    service: Service,
    adapter: options.Adapter,
    version: options.Version,
    start: Annotated[
        datetime,
        typer.Option(parser=moment, metavar="TIME", help=f"First moment of the window, {HELP}."),
    ],
    end: Annotated[
        datetime,
        typer.Option(parser=moment, metavar="TIME", help=f"First moment after it, {HELP}."),
    ],
    cause: Cause = "frozen by hand",
    *,
    wait: Wait = True,
) -> None:
    """Freeze live records of a window as the new reference."""
    path = _place(adapter, version)
    window = {"start": start.isoformat(), "end": end.isoformat()}
    answer = service.post(path, {"freeze": {**window, "cause": cause}})
    _follow(service, path, answer, wait=wait)


@app.asks("learn")
def learn(service: Service, adapter: options.Adapter, version: options.Version) -> None:
    """Learn a reference for settings that have none yet, from live records."""
    found = service.order(f"{_place(adapter, version)}/learn", {}, LearnedBody)
    for settings in found.learned:
        screen.say(f"learned {settings}: compared from the next window on")
    for one in found.waiting:
        screen.say(
            f"{one.settings}: {one.records:,} requests, {one.share:.0%} of the last day's;"
            f" 300 are needed to learn from, {one.needed:,} to do so unasked"
        )
    if not found.learned and not found.waiting:
        screen.say("no other settings have more than 5 % of the last day's requests")


@app.asks("refreeze")
def refreeze(
    service: Service,
    cause: Cause,
    match: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE: adapter, owner, tier or a label; repeated, all hold."),
    ] = None,
    days: Annotated[float, typer.Option(help="Freeze the records of this many days.")] = 14.0,
    *,
    every: Annotated[bool, typer.Option("--all", help="Freeze every adapter.")] = False,
) -> None:
    """Freeze new references for many adapters; one that fails stops none of the others."""
    body = {
        "all": every,
        "match": dict(map(options.pair, match or [])),
        "days": days,
        "cause": cause,
    }
    answer = service.post("/references/refreeze", body)
    found = read(answer, RefreezeBody)
    code = ExitCode.FAILED if any(one.error for one in found.items) else ExitCode.OK
    service.show(answer, code=code)
    screen.table(
        f"frozen anew from {screen.moment(found.window.start)} on",
        ["adapter", "version", "generation", "records", "left alone because"],
        [
            [
                one.adapter,
                one.version or "-",
                str(one.generation or "-"),
                f"{one.records:,}",
                one.error or "",
            ]
            for one in found.items
        ],
    )
    raise typer.Exit(code)


@app.asks("status")
def status(service: Service, adapter: options.Adapter, version: options.Version) -> None:
    """Show the version's references, newest first."""
    found = service.look(_place(adapter, version), ReferencesBody)
    if not found.items:
        screen.say(
            f"no reference yet; `driftline reference build {adapter} {version} FILE` builds one, or"
            " one is learned from live records"
        )
    else:
        _print_generations(adapter, version, found)
    if found.seen:
        screen.say(f"hours and weekdays: {found.seen.text}")
    if found.learning:
        screen.say(found.learning.text)


def _print_generations(adapter: str, version: str, found: ReferencesBody) -> None:
    screen.table(
        f"references of {adapter}@{version}",
        ["generation", "state", "progress", "approved by", "training", "baseline", "days", "note"],
        [
            [
                str(item.generation),
                item.state,
                f"{item.progress:.0%}",
                item.approved_by or "provisional",
                str(item.n_training),
                str(item.n_baseline),
                screen.number(item.span_days, digits=1),
                item.error or f"{item.cause}{_left_out(item)}",
            ]
            for item in found.items
        ],
    )


@app.asks("approve")
def approve(
    service: Service,
    adapter: options.Adapter,
    version: options.Version,
    generation: Annotated[
        int, typer.Argument(min=1, help="Number of the generation, as `reference status` shows it.")
    ],
) -> None:
    """Approve a ready generation by hand: from now on its evidence may move traffic."""
    answer = service.post(f"{_place(adapter, version)}/approve", {"generation": generation})
    service.show(answer)
    screen.say(f"generation {generation} of {adapter}@{version} is approved")


def _place(adapter: str, version: str) -> str:
    return place("adapters", adapter, "versions", version, "reference")


def _chunks(file: Path, progress: Progress, task: Any) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            yield chunk
            progress.advance(task, len(chunk))


def _follow(service: Service, path: str, begun: object, *, wait: bool) -> None:
    if not wait:
        service.show(begun)
        return
    with screen.progress() as progress:
        task = progress.add_task("building", total=1.0)
        while True:
            answer = service.get(path)["items"][0]
            newest = read(answer, ReferenceBody)
            waits = f"waits, and tries again: {newest.error}" if newest.error else "building"
            progress.update(task, completed=newest.progress, description=waits)
            if newest.state != "building":
                break
            time.sleep(0.5)
    if newest.state == "failed":
        raise CommandFailed(f"the reference failed: {newest.error}")
    service.show(answer)
    kind = newest.approved_by or "provisional"
    screen.say(f"generation {newest.generation} is ready ({kind}){_left_out(newest)}")


def _left_out(reference: ReferenceBody) -> str:
    """Return the parts of an upload that were not used, if any."""
    count = reference.left_out
    return f"; baseline lines left out, also among training: {count:,}" if count else ""
