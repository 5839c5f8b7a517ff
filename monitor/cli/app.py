"""The table of commands. A command's module is loaded when the command is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any, Final

import typer

from monitor.cli.examples import add_examples
from monitor.loading import loading

COMMANDS: Final = {
    "serve": "running:serve",
    "gateway": "running:gateway",
    "migrate": "running:migrate",
    "backup": "backups:backup",
    "restore": "backups:restore",
    "check-config": "running:check_config",
    "doctor": "doctor:doctor",
    "status": "status:status",
    "open": "opening:open_page",
    "evaluate": "adapters:evaluate",
    "discover": "discover:discover",
    "new": "new:new",
    "explain": "explaining:explain",
    "budget": "budget:budget",
    "plan": "plan:plan",
    "receipt": "receipt:receipt",
    "actions": "actions:actions",
    "report": "report:report",
    "replay": "replay:replay",
    "selftest": "selftest:selftest",
    "inspect": "inspect:inspect",
    "parity": "parity:parity",
    "admit": "admit:admit",
    "import": "importing:app",
    "adapters": "artifacts:app",
    "demo": "running:demo",
    "reference": "reference:app",
    "incident": "incidents:app",
    "canary": "canary:app",
    "route": "routes:app",
    "retraining": "retraining:app",
    "change": "changes:app",
    "channels": "channels:app",
    "deliveries": "deliveries:app",
    "silence": "silences:app",
    "retention": "retention:app",
    "keys": "keys:app",
}
"""Where each command, or group of commands, stands in this package."""


class _Loaded(Mapping[str, Any]):
    """The commands by name; one is loaded and built when it is first looked at."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = _build(name)
        return self._built[name]

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Root(typer.core.TyperGroup):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = _Loaded()  # type: ignore[assignment]  # nobody adds one


def _build(name: str) -> Any:
    module, _, known_as = COMMANDS[name].partition(":")
    with loading():
        found = getattr(import_module(f"monitor.cli.{module}"), known_as)
    holder = typer.Typer(rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        holder.add_typer(found, name=name)
    else:
        holder.command(name)(found)
    add_examples(holder)
    return typer.main.get_group(holder).commands[name]


app = typer.Typer(
    name="driftline",
    cls=_Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:  # noqa: FBT001 (as Typer calls it)
    if wanted:
        from importlib.metadata import version as installed_version

        typer.echo(f"driftline {installed_version('driftline')}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Watches LoRA adapters in production: notices drift, says so, and acts."""
