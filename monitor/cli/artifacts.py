"""`adapters`: put adapters into the store, and take them out of it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.cli import options, screen
from monitor.cli.client import place
from monitor.cli.failures import CommandFailed, failing
from monitor.loading import loading

if TYPE_CHECKING:
    from monitor.artifacts.stores import AdapterStore

app = options.CommandGroup(
    "Keep adapters in a store: a Redis or Valkey, an object store, or a folder."
)


@app.command("push")
def push(
    adapter: options.Adapter,
    version: options.Version,
    folder: Annotated[
        Path | None, typer.Argument(help="Its files; where it is registered to be, if left out.")
    ] = None,
    *,
    config: options.Config = None,
) -> None:
    """Copy a version's files into the store of `[artifacts]`, under its identity.

    A version that is not registered yet is registered with what its files say, and with the store
    as its place. Workers take files from the store that they do not find where they are registered.
    Files that are not those of the registration are refused.
    """
    store = _store(config)
    with loading():
        from monitor.artifacts.copying import CopyFailed
        from monitor.artifacts.settings import STORED
        from monitor.cli.importing import description_of
        from monitor.probes.asking import local_folder

    where = place("adapters", adapter, "versions", version)
    with options.service(config) as service:
        known = service.found(where)
        files = folder or (local_folder(known["uri"] or "") if known else None)
        if files is None:
            raise CommandFailed(f"{adapter}@{version} is registered without a folder: name it")
        found = description_of(files, parent=None, dataset=[])
        identity = found["sha256"]
        if known is not None and known["sha256"] != identity:
            registered = f"{known['sha256'][:12]}…" if known["sha256"] else "no identity"
            raise CommandFailed(f"{files} is {identity[:12]}…, and {registered} is registered")
        with failing(CopyFailed, of=files):
            store.put(identity, files)
        if known is None:
            service.put(where, found | {"uri": f"{STORED}{identity}"})
            screen.say(f"{adapter}@{version} is registered")
    screen.say(f"{adapter}@{version} is in the store as {identity}")


@app.command("pull")
def pull(
    adapter: options.Adapter,
    version: options.Version,
    into: Annotated[Path, typer.Option(help="A folder that is not there yet.")],
    *,
    config: options.Config = None,
) -> None:
    """Copy a registered version's files from the store of `[artifacts]`, and verify them."""
    store = _store(config)
    identity = _identity(config, adapter, version)
    with loading():
        from monitor.artifacts.copying import CopyFailed
        from monitor.probes.weights.adapter_folder import opened_adapter
        from monitor.probes.weights.errors import WeightsRefused

    target = into.absolute()
    if target.exists():
        raise CommandFailed(f"{into} is there already")
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".part-", dir=target.parent) as made:
        part = Path(made) / "files"
        part.mkdir()
        with failing(WeightsRefused, CopyFailed, of=f"{adapter}@{version}"):
            store.get(identity, part)
            with opened_adapter(part) as found:
                taken = found.identity
        if taken != identity:
            raise CommandFailed(f"the store's files are {taken[:12]}…, not what is registered")
        part.rename(target)
    screen.say(f"{into} is {adapter}@{version}, as registered")


def _store(config: Path | None) -> AdapterStore:
    with loading(), options.wrong_config():
        from monitor.config.artifacts import load_artifact_part

        store = load_artifact_part(config).store
    if store is None:
        raise CommandFailed("no store is configured: set artifacts.store")
    return store


def _identity(config: Path | None, adapter: str, version: str) -> str:
    """Return a version's registered identity."""
    with options.service(config) as service:
        known = service.get(place("adapters", adapter, "versions", version))
    if not known["sha256"]:
        raise CommandFailed(
            f"{adapter}@{version} is registered without its identity: register versions with"
            " `driftline import folder`"
        )
    return str(known["sha256"])
