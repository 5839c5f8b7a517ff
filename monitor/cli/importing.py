"""`import`: register versions with all that their files say of them, or an MLflow registry."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

import typer

from monitor.cli import options, screen
from monitor.cli.client import Service, place, read
from monitor.cli.failures import CommandFailed, ExitCode, NotAnswering
from monitor.views.adapter import AdapterDetail
from monitor.views.version import VersionBody

if TYPE_CHECKING:
    from monitor.cli.mlflow_registry import MlflowRegistry, ModelVersion, RegisteredModel

DATASET: Final = timedelta(hours=6)
"""For hashing a dataset at an address."""

app = options.CommandGroup("Register versions from where they are kept.")


@app.asks("folder")
def folder(
    service: Service,
    path: Annotated[Path, typer.Argument(metavar="FOLDER", help="An adapter, as peft saves it.")],
    adapter: options.Adapter,
    version: options.Version,
    parent: Annotated[
        str | None, typer.Option(help="The version that it was trained from.")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            help="A file or folder that it was trained on, hashed here; repeated for more. Or one"
            " address: hf://, s3:// or gs://."
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
    body = description_of(path, parent=parent, dataset=dataset or [])
    where = place("adapters", adapter, "versions", version)
    if not check:
        service.show(service.put(where, body))
        screen.say(f"{adapter}@{version} is registered")
        _say(body)
        return
    known = service.get(where)
    differ = _differences(read(known, VersionBody), body)
    service.show(known, code=ExitCode.DIFFERENT if differ else ExitCode.OK)
    for line in differ:
        screen.say(line, style="bold red")
    if differ:
        raise typer.Exit(ExitCode.DIFFERENT)
    screen.say(f"{adapter}@{version} is what is registered", style="green")


def description_of(path: Path, *, parent: str | None, dataset: list[str]) -> dict[str, Any]:
    """Return the registration of a version that lies in a folder; raises CommandFailed."""
    from monitor.artifacts.copying import CopyFailed
    from monitor.probes.weights.described import described
    from monitor.probes.weights.errors import WeightsRefused

    try:
        found = described(path)
        data = _dataset(dataset) if dataset else None
    except WeightsRefused as refused:
        raise CommandFailed(f"{path}: {refused.reason}") from None
    except CopyFailed as failed:
        raise CommandFailed(f"{', '.join(dataset)}: {failed}") from None
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


def _dataset(named: list[str]) -> str:
    """Hash what a version was trained on: files and folders here, or one address."""
    from monitor.artifacts.copying import dataset_at
    from monitor.artifacts.settings import SCHEMES
    from monitor.probes.weights.described import dataset_hash

    if not any(one.startswith(SCHEMES) for one in named):
        return dataset_hash([Path(one) for one in named])
    if len(named) > 1:
        raise CommandFailed("an address of a dataset stands alone: name the folder of all files")
    return dataset_at(named[0], timeout=DATASET)


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


def _differences(known: VersionBody, body: dict[str, Any]) -> list[str]:
    """Say what is registered otherwise; what is not registered is no difference."""
    registered = {**known.metadata, "sha256": known.sha256, "base_model": known.base_model}
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


# --- MLflow ---------------------------------------------------------------------------------

ALIAS: Final = "mlflow.alias."
"""Begins the label that holds the version of an alias."""
MOST_PARAMS: Final = 100


@app.asks("mlflow")
def mlflow(
    service: Service,
    url: Annotated[str, typer.Argument(metavar="URL", help="Address of the MLflow server.")],
    model: Annotated[
        list[str] | None,
        typer.Option(help="A registered model; repeated for more. All if left out."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Fetch adapters that the server keeps into this folder; else only their place is"
            " registered."
        ),
    ] = None,
    artifacts: Annotated[
        Path | None,
        typer.Option(
            help="Where the server's artifacts lie on this machine; nothing outside is read."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="ARTIFACT",
            help="A file or folder among the artifacts of each version's run, that it was trained"
            " on: its hash is registered.",
        ),
    ] = None,
    every: Annotated[
        float, typer.Option(min=0.0, help="Look again after so many seconds; 0: once.")
    ] = 0.0,
) -> None:
    """Register the models of an MLflow registry, and keep their aliases as labels.

    Version 7 of the model support is support@v7. Traffic is not moved, but a first version gets
    all of it: where a model has aliases, the version of its first one. Exit code 1: a version or a
    model's aliases were refused; the others are registered.
    """
    from monitor.cli.mlflow_registry import MlflowRegistry

    sources = _Sources(folder=folder, artifacts=artifacts, dataset=dataset)
    with MlflowRegistry(url) as registry:
        while True:
            refused: list[str] = []
            try:
                named = [registry.model(name) for name in model] if model else registry.models()
                for one in named:
                    with _noting(refused, one.name):
                        _of_mlflow(service, registry, one, sources, refused)
            except CommandFailed as error:
                if not every:
                    raise
                screen.note(f"{error}; it is tried again in {every:g} s")
            if not every:
                break
            time.sleep(every)
    if refused:
        raise typer.Exit(ExitCode.FAILED)


@contextmanager
def _noting(refused: list[str], name: str) -> Iterator[None]:
    """Say why one thing is refused, so that the others go on; a server that is away ends all."""
    try:
        yield
    except NotAnswering:
        raise
    except (CommandFailed, OSError) as error:
        said = options.unusable(error) if isinstance(error, OSError) else error
        screen.say(f"{name}: {said}", style="bold red")
        refused.append(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sources:
    """Where files come from: fetched into ``folder``, or on this machine below ``artifacts``.

    ``dataset`` is what each version was trained on, among the artifacts of its run.
    """

    folder: Path | None
    artifacts: Path | None
    dataset: str | None


def _of_mlflow(
    service: Service,
    registry: MlflowRegistry,
    model: RegisteredModel,
    sources: _Sources,
    refused: list[str],
) -> None:
    """Register a model's new versions and its aliases."""
    known = _registered(service, model)
    have = {one.version for one in known.versions} if known else set()
    first = next((one.version for one in model.aliases), None)
    missing = [one for one in registry.versions(model.name) if f"v{one.version}" not in have]
    for one in sorted(missing, key=lambda one: (one.version != first, int(one.version))):
        label = f"{model.name}@v{one.version}"
        with _noting(refused, label):
            body = _of_version(registry, one, sources)
            service.put(place("adapters", model.name, "versions", f"v{one.version}"), body)
            screen.say(f"{label} is registered")
            _say(body)
    _label(service, model)


def _registered(service: Service, model: RegisteredModel) -> AdapterDetail | None:
    known = service.found(place("adapters", model.name))
    return None if known is None else read(known, AdapterDetail)


def _of_version(
    registry: MlflowRegistry, version: ModelVersion, sources: _Sources
) -> dict[str, Any]:
    """Describe a version: its files where they can be read, and the run that made it."""
    from monitor.cli.mlflow_registry import local_adapter

    kept = registry.place(version)
    files = local_adapter(kept, within=sources.artifacts) if sources.artifacts else None
    if files is None and sources.folder:
        name = quote(f"{version.name}@v{version.version}", safe="@")
        files = registry.fetch(kept, sources.folder / name)
    body: dict[str, Any] = {"uri": kept}
    if files is not None:
        body = description_of(files, parent=None, dataset=[])
    if version.run_id:
        run = registry.run(version.run_id)
        params = dict(list(run.params.items())[:MOST_PARAMS])
        metrics = {name: one for name, one in run.metrics.items() if math.isfinite(one)}
        body["hyper_parameters"] = params | body.get("hyper_parameters", {})
        body["metrics"] = dict(list(metrics.items())[:MOST_PARAMS]) | body.get("metrics", {})
        if sources.dataset:
            hashed = registry.dataset(run, sources.dataset)
            if hashed is None:
                screen.note(f"{version.name}@v{version.version}: its run has no {sources.dataset}")
            else:
                body["training_data_hash"] = hashed
    return body


def _label(service: Service, model: RegisteredModel) -> None:
    """Write the aliases as labels of the adapter, and leave its other labels alone."""
    known = _registered(service, model)
    if known is None:
        return
    labels = {name: one for name, one in known.labels.items() if not name.startswith(ALIAS)}
    labels |= {f"{ALIAS}{one.alias}": f"v{one.version}" for one in model.aliases}
    if labels == known.labels:
        return
    kept = {name: getattr(known, name) for name in ("owner", "tier", "runbook", "mode")}
    service.put(place("adapters", model.name), kept | {"labels": labels})
    told = ", ".join(f"{one.alias} is v{one.version}" for one in model.aliases) or "none is left"
    screen.say(f"{model.name}: aliases changed: {told}")
