"""Commands that run the service, prepare its database, and check its config."""

from __future__ import annotations

import subprocess
import sys
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Final

import typer

from monitor.cli import options, screen
from monitor.cli.failures import CommandFailed, failing
from monitor.loading import loading, set_apart

if TYPE_CHECKING:
    from monitor.config.sections import Config
    from monitor.probes.corpus import Corpus

DOCUMENT_S: Final = 0.1
"""Assumed seconds per document for an engine that has not been asked yet."""


class Role(StrEnum):
    """The parts of the service that this process runs."""

    ALL = "all"
    API = "api"
    WORKER = "worker"


def serve(
    config: options.Config = None,
    role: Annotated[
        Role, typer.Option(help="api: HTTP only; worker: evaluation and delivery only.")
    ] = Role.ALL,
) -> None:
    """Run the service: API, dashboard, schedule and delivery."""
    with loading():
        settings = options.settings(config)
        from monitor.daemon.running import run
    set_apart()

    try:
        with options.told():
            run(settings, api=role is not Role.WORKER, worker=role is not Role.API)
    except SystemExit as end:
        # the HTTP server exits like this if it cannot listen, with a code that here means drift
        if end.code:
            section = settings.server
            port = section.worker_port if role is Role.WORKER else section.port
            raise CommandFailed(
                f"cannot listen on {section.host}:{port}; the log says why"
            ) from None


def gateway(config: options.Config = None) -> None:
    """Run the gateway: an OpenAI-compatible proxy that follows the routes."""
    with loading(), options.wrong_config():
        from monitor.config.parts import load_gateway_part
        from monitor.config.reading import ConfigError
        from monitor.daemon.gateway import run_gateway
        from monitor.tracing import TracesMissing

        settings = load_gateway_part(config)
    set_apart()

    try:
        with failing(ConfigError, TracesMissing):
            run_gateway(settings)
    except OSError as error:
        raise options.unusable(error) from None
    except SystemExit as end:
        if end.code:
            where = f"{settings.gateway.host}:{settings.gateway.port}"
            raise CommandFailed(f"cannot listen on {where}; the log says why") from None


def migrate(config: options.Config = None) -> None:
    """Bring the database's schema to this release; safe beside running services."""
    with options.database(config):
        screen.say("the schema is at head")


def check_config(config: options.Config = None) -> None:
    """Read the config as `serve` would, and list everything that is wrong with it."""
    settings = options.settings(config)
    from monitor.config.corpora import read_corpora

    corpora = read_corpora(settings)
    if corpora.problems:
        lines = [f"{key}: {problem}" for key, problem in corpora.problems.items()]
        raise CommandFailed("\n  ".join(["corpora that cannot be used:", *lines]))
    channels = ", ".join(channel.name for channel in settings.channels) or "none"
    screen.say(f"{settings.source}: fine; channels: {channels}")
    if corpora.general is not None and settings.serving.engines:
        _say_rounds(settings, corpora.general)


def _say_rounds(settings: Config, corpus: Corpus) -> None:
    """Print how many versions one engine's share is enough for."""
    from monitor.policy.rounds import span, versions_within

    share, wanted = settings.probes.perplexity.budget, settings.schedule.perplexity_interval
    seconds = DOCUMENT_S * len(corpus.documents)
    count = versions_within(share, seconds=seconds, wanted=wanted)
    screen.say(
        f"perplexity: {share:.0%} of an engine's time is enough for {count:,} versions every"
        f" {span(wanted)}, where each of the {len(corpus.documents)} documents takes"
        f" {DOCUMENT_S:g} s; more are probed less often: `driftline budget` says how often"
    )


def demo(
    *, once: Annotated[bool, typer.Option("--once", help="End after the last act.")] = False
) -> None:
    """Play the demo: real adapters drift, people are paged, traffic moves away."""
    if not _has_the_demo():
        raise CommandFailed("the demo comes with the repository: clone it, then `make demo`")
    words = [sys.executable, "-m", "examples.demo", *(["--once"] if once else [])]
    raise typer.Exit(subprocess.run(words, check=False).returncode)  # noqa: S603 (our own module)


def _has_the_demo() -> bool:
    try:
        return find_spec("examples.demo.__main__") is not None
    except ModuleNotFoundError:
        return False
