"""Commands that list requests to retrain an adapter, and make one."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TextIO

import typer

from alerts.gist import gist
from monitor.cli import options, screen
from monitor.cli.client import Service, place
from monitor.cli.failures import CommandFailed, ExitCode
from monitor.views.retraining import ExampleFormat, RetrainingBody
from monitor.views.shape import Page

if TYPE_CHECKING:
    from monitor.config.training import TrainerPart

POLL_SECONDS: Final = 10.0
FIRST_PAUSE_SECONDS: Final = 30.0
LONGEST_PAUSE_SECONDS: Final = 3600.0

app = options.CommandGroup("Ask for an adapter to be retrained, and list what was asked.")


@app.asks("list")
def listed(
    service: Service,
    adapter: Annotated[str | None, typer.Argument(help="Only those of this adapter.")] = None,
    limit: options.Limit = 20,
) -> None:
    """List requests to retrain, newest first."""
    found = service.look("/retraining", Page[RetrainingBody], adapter=adapter, limit=limit)
    screen.table(
        "requests to retrain, newest first",
        ["request", "version", "cause", "asked at", "unlike training", "training", "reason"],
        [
            [
                str(one.retraining),
                f"{one.adapter}@{one.version}",
                one.cause,
                screen.moment(one.created_at),
                _unlike(one.evidence),
                _how_far(one),
                gist(one.reason),
            ]
            for one in found.items
        ],
        none=(
            "no retraining was asked for yet; `driftline retraining request ADAPTER --reason WHY`"
            " asks for one"
        ),
    )


@app.asks("request")
def request(
    service: Service,
    adapter: options.Adapter,
    reason: Annotated[str, typer.Option("--reason", help="Why; people read it in the request.")],
    *,
    force: Annotated[
        bool,
        typer.Option("--force", help="Ask again although another request is still cooling down."),
    ] = False,
) -> None:
    """Ask for an adapter to be retrained from the version in charge."""
    made = service.order(
        place("adapters", adapter, "retraining"), {"reason": reason, "force": force}, RetrainingBody
    )
    window = made.window
    screen.say(
        f"request {made.retraining}: retrain {made.adapter} from {made.version} on what"
        f" came from {screen.moment(window.start)} to {screen.moment(window.end)}, mixed"
        f" with {screen.weight(made.replay_share)} of its earlier training"
    )
    screen.say(f"records: GET {made.manifest}; unlike training: {_unlike(made.evidence)}")


TABLE_ROWS: Final = 1_000
"""Rows of a table that are held at a time."""


class ExportForm(StrEnum):
    """How a file of examples is written."""

    OPENAI = "openai"
    SHAREGPT = "sharegpt"
    PARQUET = "parquet"


@app.asks("export")
def export(
    service: Service,
    request: Annotated[int, typer.Argument(min=1, help="Number of the request.")],
    to: Annotated[
        Path | None, typer.Option(help="Write them here instead of printing them.")
    ] = None,
    form: Annotated[
        ExportForm, typer.Option("--format", help="How examples are written.")
    ] = ExportForm.OPENAI,
    *,
    unlike: Annotated[
        bool, typer.Option("--unlike", help="Only requests unlike training.")
    ] = False,
) -> None:
    """Write the requests to learn from as examples, for labelling: lines of JSON, or a table.

    Prompt and answer as Driftline keeps them, redacted. Records whose text is not kept are left
    out: those of adapters without `store_text`, and those older than 7 days.
    """
    as_table = form is ExportForm.PARQUET
    lines = service.lines(
        place("retraining", str(request), "export"),
        format=ExampleFormat.SHAREGPT.value if as_table else form.value,
        unlike=str(unlike).lower(),
    )
    count = write_table(lines, to) if as_table else _write(lines, to)
    screen.ERR.print(f"{count:,} examples", highlight=False)


@app.command("run")
def run(
    number: Annotated[
        int | None,
        typer.Argument(
            metavar="REQUEST",
            min=1,
            help="Number of the request; the oldest that is not over if left out.",
        ),
    ] = None,
    config: options.Config = None,
    *,
    again: Annotated[
        bool, typer.Option("--again", help="Begin anew, although a training of it is over.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on with every request that is made.")
    ] = False,
) -> None:
    """Train what was asked for, on this machine, as `[trainer]` says, up to the admission.

    One request at a time. A run that was ended goes on where it was. Exit code 0: the version is
    admitted; 4: its data or the version did not pass; 1: something was not there, or broke.
    """
    from monitor.cli.training import settings

    if watch and (number is not None or again):
        raise CommandFailed("--watch trains every request once: leave REQUEST and --again out")
    found = settings(config)
    with options.service(config) as service:
        if watch:
            _watch(service, found)
        wanted = number if number is not None else next(iter(_left(service)), None)
        if wanted is None:
            screen.say("no request waits; `driftline retraining list` shows those that there were")
            return
        if not _trained(service, found, wanted, again=again):
            raise typer.Exit(ExitCode.CRITICAL)


@app.asks("cancel")
def cancel(
    service: Service,
    request: Annotated[int, typer.Argument(min=1, help="Number of the request.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; people read it in the audit.")],
) -> None:
    """Refuse a request: nobody trains it, and a worker that does stops."""
    service.show(service.post(place("retraining", request, "cancel"), {"reason": reason}))
    screen.say(f"request {request} is cancelled")


def _watch(service: Service, found: TrainerPart) -> NoReturn:
    """Train whatever is asked for; a request that fails, or a service that is away, ends nothing.

    One that failed is tried again after pauses that double, from a minute to an hour.
    """
    pauses: dict[int, float] = {}
    due: dict[int, float] = {}
    while True:
        try:
            waiting = _left(service)
        except CommandFailed as error:
            screen.failure(str(error))
            waiting = []
        for one in waiting:
            if time.monotonic() < due.get(one, 0.0):
                continue
            try:
                _trained(service, found, one)
            except CommandFailed as error:
                screen.failure(str(error))
                pauses[one] = min(LONGEST_PAUSE_SECONDS, 2 * pauses.get(one, FIRST_PAUSE_SECONDS))
                due[one] = time.monotonic() + pauses[one]
        time.sleep(POLL_SECONDS)


def _trained(service: Service, found: TrainerPart, number: int, *, again: bool = False) -> bool:
    """Train a request, and say how it ended; False where it was refused."""
    from monitor.cli.training import train

    ended = train(service, found, number, again=again)
    refused = ended.state == "refused"
    screen.say(
        f"request {number}: {'refused: ' if refused else ''}{ended.note}",
        style="bold red" if refused else "green",
    )
    return not refused


def _left(service: Service) -> list[int]:
    """Return the requests that are not over, oldest first; another worker may have some of them."""
    found = service.pages("/retraining", RetrainingBody, limit=1000)
    return sorted(
        one.retraining for one in found if one.training is None or one.training.state == "running"
    )


def _write(lines: Iterator[str], to: Path | None) -> int:
    """Write all lines, or leave the file as it was; return how many they are."""
    if to is None:
        return _copied(lines, sys.stdout)
    with _draft(to) as draft, draft.open("w", encoding="utf-8") as file:
        return _copied(lines, file)


def write_table(lines: Iterator[str], to: Path | None) -> int:
    """Write the columns ``id``, ``prompt`` and ``answer``, empty where a text is not kept."""
    if to is None:
        raise CommandFailed("a Parquet file is not printed: say where it goes with --to")
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError:
        reason = "pyarrow is not installed: pip install 'driftline[train]'"
        raise CommandFailed(reason) from None
    columns = pa.schema([(name, pa.string()) for name in ("id", "prompt", "answer")])
    count = 0
    with _draft(to) as draft, parquet.ParquetWriter(draft, columns) as file:
        while rows := [_row(line) for line in islice(lines, TABLE_ROWS)]:
            file.write_table(pa.Table.from_pylist(rows, schema=columns))
            count += len(rows)
    return count


def _row(line: str) -> dict[str, str | None]:
    example = json.loads(line)
    said = {turn["from"]: turn["value"] for turn in example["conversations"]}
    return {"id": example["id"], "prompt": said.get("human"), "answer": said.get("gpt")}


@contextmanager
def _draft(to: Path) -> Iterator[Path]:
    """Give a file that takes the place of ``to`` if all goes well."""
    draft = to.with_name(f".{to.name}.part")
    try:
        yield draft
        draft.replace(to)
    except OSError as error:
        raise options.unusable(error) from None
    finally:
        draft.unlink(missing_ok=True)


def _copied(lines: Iterator[str], file: TextIO) -> int:
    return sum(1 for line in lines if file.write(f"{line}\n"))


def _how_far(one: RetrainingBody) -> str:
    """Return how far its training is, or how it ended."""
    match one.training:
        case None:
            return "not begun"
        case training if training.state == "running":
            return f"{training.step}, {training.progress:.0%}"
        case training:
            return f"{training.state} {training.made or ''}".rstrip()


def _unlike(evidence: Mapping[str, Any]) -> str:
    if "compared" not in evidence:
        return "not compared"
    return f"{evidence['unlike']:,} of {evidence['compared']:,}"
