"""Command that runs a log through the detectors offline."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Self

import typer

from monitor.cli import options, screen
from monitor.cli.failures import CommandFailed, ExitCode, failing

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from driftline.formats.lines import Form
    from monitor.config.sections import Config
    from monitor.probes.embedding import Embedder, EmbeddingSettings
    from monitor.replay.body import Body
    from monitor.replay.replaying import ReplayOutcome, ReplayParts, Request

_AUTO: Final = "auto"
_COUNT: Final = re.compile(r"[1-9]\d{0,8}")


def replay(
    log: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="The log: one JSON object a line, .gz of it, or Parquet; with --ray also a folder"
            " or an address.",
        ),
    ],
    baseline: Annotated[
        Path | None,
        typer.Option(help="What is normal: a log of approved traffic, or a reference's NDJSON."),
    ] = None,
    baseline_first: Annotated[
        str | None,
        typer.Option(
            metavar="N|DAYS", help='Take the log\'s first N records, or first "14d", as baseline.'
        ),
    ] = None,
    training: Annotated[
        Path | None,
        typer.Option(help="Texts the adapter was trained on: plain lines or JSON lines."),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="auto, driftline, openai, openai-batch, litellm or vllm; auto looks at each line.",
        ),
    ] = _AUTO,
    adapter: Annotated[
        str | None, typer.Option(help="Replay this adapter, or adapter@version, only.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.001, metavar="PER_DAY", help="Spread the records evenly, this many a day."
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(min=0.001, help="Accepted false pages, and notices, per 30 days."),
    ] = None,
    fleet: Annotated[
        int | None,
        typer.Option(min=1, help="Versions that share the pages; those of the log by default."),
    ] = None,
    show_examples: Annotated[
        int, typer.Option(min=0, max=100, help="Show this many of the prompts least like training.")
    ] = 0,
    html: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write charts into this file; it needs no network."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="N|ADDRESS",
            help="Replay each version apart on Ray: N workers here, or a cluster (auto).",
        ),
    ] = None,
    config: options.Config = None,
    *,
    by_model: Annotated[
        bool, typer.Option("--by-model", help="Replay each adapter version of the log apart.")
    ] = False,
    no_embeddings: Annotated[
        bool, typer.Option("--no-embeddings", help="Leave prompts alone: no input_similarity.")
    ] = False,
    approved: Annotated[
        bool,
        typer.Option(
            "--approved", help="Let changes of distributions page although the baseline is short."
        ),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad line.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the story as JSON.")] = False,
) -> None:
    """Run a log through the detectors, without a server. Exit codes as for status."""
    from monitor.capture.refusal import refusing
    from monitor.cli import replay_story
    from monitor.replay.body import body_of
    from monitor.replay.reading import LogReading
    from monitor.replay.replaying import Request

    settings = options.settings(config)
    if html is not None and not html.absolute().parent.is_dir():
        raise CommandFailed(f"{html.absolute().parent}: there is no such folder")
    if training is not None and not training.is_file():
        raise CommandFailed(f"{training}: there is no such file of training texts")
    request = Request(
        log=Path(log),
        baseline=baseline,
        first=_first(baseline_first, baseline),
        training=training,
        reading=LogReading(
            form=_form(form),
            adapter=adapter,
            apart=by_model or ray is not None,
            per_day=rate,
            strict=strict,
            excerpts=show_examples > 0,
            answers=settings.evaluation.embeds_answers,
            refuses=refusing(settings.capture.refusal_patterns),
        ),
        approve=approved,
        examples=show_examples,
    )
    if ray is not None:
        if baseline or training or html or show_examples:
            raise CommandFailed(
                "--ray takes each version's baseline from its own first records: give"
                " --baseline-first, and neither --baseline, --training, --html nor --show-examples"
            )
        embedding = None if no_embeddings else settings.probes.embedding
        with _tools(settings, budget=budget, fleet=fleet, embed=False) as tools:
            body = _on_ray(ray, log, request, tools, embedding=embedding)
        tell = screen.as_json if as_json else replay_story.tell_summary
        tell(body)
    else:
        with _tools(settings, budget=budget, fleet=fleet, embed=not no_embeddings) as tools:
            outcome = _replayed(request, tools)
        body = body_of(outcome)
        _tell(outcome, body, html=html, as_json=as_json)
    raise typer.Exit(_exit_code(body))


def _first(given: str | None, baseline: Path | None) -> int | timedelta | None:
    from monitor.config.reading import duration

    if given is None:
        return None
    if baseline is not None:
        raise CommandFailed("give --baseline or --baseline-first, not both")
    if _COUNT.fullmatch(given):
        return int(given)
    with failing(ValueError, of="--baseline-first"):
        return duration(given)


def _form(given: str) -> Form | None:
    from driftline.formats.lines import Form

    if given == _AUTO:
        return None
    try:
        return Form(given)
    except ValueError:
        known = ", ".join([_AUTO, *Form])
        raise CommandFailed(f"--format: no form {given!r}; known: {known}") from None


@contextmanager
def _tools(
    settings: Config, *, budget: float | None, fleet: int | None, embed: bool
) -> Iterator[ReplayParts]:
    from monitor.daemon import logs
    from monitor.daemon.parts import embedder_of
    from monitor.replay.replaying import ReplayParts

    logs.configure("error")
    evaluation = settings.evaluation
    if budget is not None:
        evaluation = replace(evaluation, budget=evaluation.budget.uniform(budget))
    with ExitStack() as stack:
        # its process starts with the first text, so a log without prompts costs nothing
        embedder: Embedder | None = (
            stack.enter_context(closing(embedder_of(settings))) if embed else None
        )
        yield ReplayParts(
            settings=evaluation, cadences=settings.schedule.cadences, embed=embedder, fleet=fleet
        )


def _on_ray(
    where: str,
    log: str,
    request: Request,
    tools: ReplayParts,
    *,
    embedding: EmbeddingSettings | None,
) -> Body:
    from monitor.replay.cluster import RayCluster
    from monitor.replay.errors import ReplayFailed
    from monitor.replay.on_ray import ManyVersions, replay_on

    if request.first is None:
        raise CommandFailed("--ray needs --baseline-first: the first records of each version")
    here = _COUNT.fullmatch(where) is not None
    cluster = RayCluster(workers=int(where) if here else None, address=None if here else where)
    asked = ManyVersions(
        log=log,
        first=request.first,
        reading=request.reading,
        settings=tools.settings,
        cadences=tools.cadences,
        approve=request.approve,
        fleet=tools.fleet,
        embedding=embedding,
    )
    with failing(ReplayFailed), _Bar() as bar:
        return replay_on(cluster, asked, watch=bar)


def _replayed(request: Request, tools: ReplayParts) -> ReplayOutcome:
    from monitor.probes.errors import ProbeError
    from monitor.replay import replaying
    from monitor.replay.errors import ReplayFailed

    try:
        with failing(ReplayFailed), _Bar() as bar:
            return replaying.replay(request, tools, watch=bar)
    except ProbeError as error:
        raise CommandFailed(
            f"the embedding probe failed: {error}; --no-embeddings leaves prompts alone"
        ) from None


class _Bar:
    """The replay's progress on stderr; each stage is a line that stays when it is done."""

    def __init__(self) -> None:
        self._progress: Progress = screen.progress()
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._progress.stop()

    def begin(self, stage: str, total: float) -> None:
        """Start a line."""
        self._end()
        self._task = self._progress.add_task(screen.plain(stage), total=total)

    def reach(self, done: float) -> None:
        """Move the line's bar."""
        if self._task is not None:
            self._progress.update(self._task, completed=done)

    def _end(self) -> None:
        if self._task is not None:
            total = self._progress.tasks[self._task].total
            self._progress.update(self._task, completed=total)


def _tell(outcome: ReplayOutcome, body: Body, *, html: Path | None, as_json: bool) -> None:
    from monitor.cli import replay_story

    if html is not None:
        _write_page(outcome, html)
    if as_json:
        screen.as_json(body)
    else:
        replay_story.tell(outcome, body)
    if html is not None:
        screen.note(f"charts: {html}")


def _write_page(outcome: ReplayOutcome, html: Path) -> None:
    from monitor.replay.page import page_of, plotly_script

    script = plotly_script().read_text(encoding="utf-8")
    try:
        html.write_text(page_of(outcome, script=script), encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{html}: {error.strerror}") from None


def _exit_code(body: Body) -> int:
    words = {one["worst_verdict"] for one in body["versions"]}
    if "critical" in words:
        return ExitCode.CRITICAL
    if {"drifting", "blind"} & words:
        return ExitCode.DRIFTING
    return ExitCode.FAILED if body["failed"] else ExitCode.OK
