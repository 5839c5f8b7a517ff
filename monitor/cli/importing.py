"""`import folder`: register a version with all that its files say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.cli import options, screen
from monitor.cli.client import Service, place
from monitor.cli.failures import CommandFailed, ExitCode

app = typer.Typer(help="Register versions from where they are kept.", no_args_is_help=True)


@app.command("folder")
@options.asks
def folder(
    service: Service,
    path: Annotated[Path, typer.Argument(metavar="FOLDER", help="An adapter, as peft saves it.")],
    adapter: options.Adapter,
    version: options.Version,
    parent: Annotated[
        str | None,
        typer.Option(help="The version that it was trained from.", show_default=False),
    ] = None,
    dataset: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file or folder that it was trained on, hashed here; repeated for more.",
            show_default=False,
        ),
    ] = None,
    *,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing: ask whether files and dataset still agree."),
    ] = False,
) -> None:
    """Register a version with its base, hashes, training settings and metrics.

    Reads JSON and safetensors only, never a pickle. Exit code 0: registered, or in agreement; 5:
    what is registered says something else.
    """
    body = _described(path, parent=parent, dataset=dataset or [])
    where = place("adapters", adapter, "versions", version)
    if not check:
        service.show(service.put(where, body))
        screen.say(f"{adapter}@{version} is registered")
        _say(body)
        return
    known = service.get(where)
    differ = _differences(known, body)
    service.show(known, code=ExitCode.DIFFERENT if differ else ExitCode.OK)
    for line in differ:
        screen.say(line, style="bold red")
    if differ:
        raise typer.Exit(ExitCode.DIFFERENT)
    screen.say(f"{adapter}@{version} is what is registered", style="green")


def _described(path: Path, *, parent: str | None, dataset: list[Path]) -> dict[str, Any]:
    from monitor.probes.weights.described import dataset_hash, described
    from monitor.probes.weights.errors import WeightsRefused

    try:
        found = described(path)
        data = dataset_hash(dataset) if dataset else None
    except WeightsRefused as refused:
        raise CommandFailed(f"{path}: {refused.reason}") from None
    body = {
        "uri": str(path.resolve()),
        "parent": parent,
        "sha256": found.identity,
        "base_model": found.base_model,
        "base_revision": found.base_revision,
        "precision": found.precision,
        "tokenizer_hash": found.tokenizer_hash,
        "template_hash": found.template_hash,
        "training_data_hash": data,
        "hyper_parameters": dict(found.hyper_parameters),
        "metrics": dict(found.metrics),
    }
    return {name: value for name, value in body.items() if value is not None}


def _say(body: dict[str, Any]) -> None:
    names = {
        "sha256": "identity",
        "base_model": "base",
        "base_revision": "base revision",
        "training_data_hash": "dataset",
        "precision": "numbers",
    }
    for name, words in names.items():
        if name in body:
            screen.say(f"  {words}: {body[name]}")


def _differences(known: dict[str, Any], body: dict[str, Any]) -> list[str]:
    """Say what is registered otherwise; what is not registered is no difference."""
    registered = {**known["metadata"], "sha256": known["sha256"], "base_model": known["base_model"]}
    watched = {
        "sha256": "its weights or config",
        "training_data_hash": "its dataset",
        "base_model": "its base",
        "base_revision": "its base's revision",
        "tokenizer_hash": "its tokenizer",
        "template_hash": "its chat template",
    }
    return [
        f"{words} changed: {registered[name]} is registered, {body[name]} is here"
        for name, words in watched.items()
        if name in body and registered.get(name) not in (None, body[name])
    ]
