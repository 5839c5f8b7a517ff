"""Options that several commands share, and the objects that they open."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Concatenate,
    Final,
    ParamSpec,
    cast,
    get_type_hints,
)

import typer

from monitor.cli.client import Service, local_key
from monitor.cli.failures import CommandFailed
from monitor.loading import loading

HELP: Final = "in UTC unless it has an offset, as 2026-11-01, 2026-11-01T09:30 or …T09:30:00Z"


def moment(text: str) -> datetime:
    """Read an ISO 8601 time of any precision; it is in UTC unless it has an offset.

    >>> moment("2026-11-01").isoformat(), moment("2026-11-01T09:30:00+02:00").isoformat()
    ('2026-11-01T00:00:00+00:00', '2026-11-01T09:30:00+02:00')

    Raises
    ------
    ValueError
        The text is no time.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no time; write one {HELP}") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


if TYPE_CHECKING:
    from monitor.config.sections import Config as Settings
    from monitor.store.database import Database

P = ParamSpec("P")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="DRIFTLINE_CONFIG",
        help="The config file; ./config.toml where there is one, else the defaults.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the service's JSON.")]
SendKey = Annotated[
    bool,
    typer.Option(
        "--send-key",
        help="Send serving.api_key to an engine on a host that serving.engines does not name.",
    ),
]


def pair(text: str) -> tuple[str, str]:
    """Read one ``--match KEY=VALUE``."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise CommandFailed(f"--match {text}: write KEY=VALUE")
    return key, value


Limit = Annotated[int, typer.Option(min=1, max=1000, help="List at most this many.")]
Adapter = Annotated[str, typer.Argument(help="Name of the adapter, as clients ask for it.")]
Version = Annotated[str, typer.Argument(help="Name of the version, such as v7.")]
VersionOption = Annotated[str | None, typer.Option(help="The version in charge when left out.")]


def settings(config: Path | None) -> Settings:
    """Read the config; raises CommandFailed with everything that is wrong with it."""
    with loading(), wrong_config():
        from monitor.config.loading import load

        return load(config)


def service(config: Path | None, *, as_json: bool = False) -> Service:
    """Return the service of the config, or of ``DRIFTLINE_URL`` and ``DRIFTLINE_KEY``."""
    return Service(lambda: _address(config), as_json=as_json)


def _address(config: Path | None) -> tuple[str, str]:
    with loading(), wrong_config():
        from monitor.config.parts import load_service_part

        found = load_service_part(config)
    url = os.environ.get("DRIFTLINE_URL") or f"http://{found.server.host}:{found.server.port}"
    return url, os.environ.get("DRIFTLINE_KEY") or local_key(found.service.data_dir)


def pages_url(config: Path | None) -> str:
    """Return the address under which people see the service's pages."""
    with loading(), wrong_config():
        from monitor.config.parts import load_service_part

        found = load_service_part(config)
    return os.environ.get("DRIFTLINE_URL") or found.server.url


def asks(command: Callable[Concatenate[Service, P], None]) -> Callable[..., None]:
    """Pass a command the service in place of the options ``--config`` and ``--json``."""

    def run(config: Path | None, *, as_json: bool, **given: Any) -> None:
        with service(config, as_json=as_json) as opened:
            cast("Callable[..., None]", command)(opened, **given)

    hints = get_type_hints(command, include_extras=True)
    own = list(signature(command).parameters.values())[1:]
    by_name = Parameter.KEYWORD_ONLY
    shared = {"config": (Config, None), "as_json": (Json, False)}
    run.__signature__ = Signature(  # type: ignore[attr-defined]
        [one.replace(kind=by_name, annotation=hints[one.name]) for one in own]
        + [
            Parameter(name, by_name, default=default, annotation=hint)
            for name, (hint, default) in shared.items()
        ]
    )
    run.__annotations__ = {one.name: hints[one.name] for one in own} | {
        name: hint for name, (hint, _) in shared.items()
    }
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


class CommandGroup(typer.Typer):
    """Commands under one word, which alone prints their help."""

    def __init__(self, help: str) -> None:  # noqa: A002 (as Typer names it)
        super().__init__(help=help, no_args_is_help=True)

    def asks(
        self, name: str
    ) -> Callable[[Callable[Concatenate[Service, P], None]], Callable[..., None]]:
        """Add a command that is passed the service, as :func:`asks`."""
        return lambda command: self.command(name)(asks(command))


@contextmanager
def wrong_config() -> Iterator[None]:
    """Turn a config's errors into one message."""
    from monitor.config.reading import ConfigError

    try:
        yield
    except ConfigError as error:
        count = len(error.problems)
        lines = [f"the config has {count} problem{'s' if count > 1 else ''}:", *error.problems]
        raise CommandFailed("\n  ".join(lines)) from None


@contextmanager
def database(config: Path | None) -> Iterator[Database]:
    """Open the config's database for a command: stdout is the command's, logs go to stderr."""
    with loading(), wrong_config():
        from monitor.config.database import load_database_part
        from monitor.daemon import logs
        from monitor.daemon.database import opened_database

        found = load_database_part(config)
    logs.configure("warning")
    with told(), opened_database(found) as opened:
        yield opened


@contextmanager
def told() -> Iterator[None]:
    """Turn an error that an operator can fix into one message, without a traceback."""
    import psycopg
    import sqlalchemy as sa

    from monitor.capture.subjects import KeyUnfit
    from monitor.daemon.database import UnsupportedServer
    from monitor.postgres import PostgresError
    from monitor.probes.corpus import CorpusInvalid
    from monitor.store.errors import ForeignSchema
    from monitor.tracing import TracesMissing

    try:
        yield
    except (
        CorpusInvalid,
        ForeignSchema,
        KeyUnfit,
        PostgresError,
        TracesMissing,
        UnsupportedServer,
    ) as error:
        raise CommandFailed(str(error)) from None
    except (sa.exc.DBAPIError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        reason = str(cause).strip().partition("\n")[0]
        raise CommandFailed(f"the database does not do what is asked: {reason}") from None
    except OSError as error:
        raise unusable(error) from None


def unusable(error: OSError) -> CommandFailed:
    """Name the file, or the other resource, that the system refused."""
    return CommandFailed(f"{error.filename or 'the system'}: {error.strerror or error}")
