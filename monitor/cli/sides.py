"""The meaning of a word on the command line: a served model, or a folder of weights."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from monitor.cli import engines
from monitor.cli.failures import CommandFailed, failing

if TYPE_CHECKING:
    from monitor.config.sections import Config
    from monitor.probes.asking import Target
    from monitor.probes.comparing import Reads
    from monitor.probes.local import LocalProbe


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two models, with its client; ``local`` where it is on this machine.

    ``taken`` says in words how its name was understood.
    """

    label: str
    taken: str
    target: Target
    probe: Reads
    local: LocalProbe | None = None


@contextmanager
def opened(
    words: tuple[str, str],
    *,
    urls: tuple[str | None, str | None],
    base: str | None,
    config: Config,
    send_key: bool,
) -> Iterator[tuple[Side, Side]]:
    """Open both sides; the worker of local models ends with the body.

    Parameters
    ----------
    urls
        Addresses of the engines that serve the models, where they are served. With one given, a
        folder needs a path's separator in its name, because a file here may have a served model's
        name.
    base
        Folder or hub name of the adapters' base; None: the base that an adapter was trained on.
    """
    asked = tuple(zip(words, urls, strict=True))
    folders = [Path(word) for word, url in asked if _is_folder(word, url)]
    local = _probe(folders, base, config) if folders else None
    try:
        a, b = (
            _here(word, local)
            if local is not None and _is_folder(word, url)
            else _served(word, url, config, send_key=send_key)
            for word, url in asked
        )
        yield a, b
    finally:
        if local is not None:
            local.close()


def _is_folder(word: str, url: str | None) -> bool:
    return Path(word).is_dir() and (url is None or os.sep in word)


def _here(word: str, local: LocalProbe) -> Side:
    from monitor.probes.asking import Target

    folder = Path(word)
    target = Target(model=word, folder=folder)
    if folder.resolve() == Path(local.base.model).expanduser().resolve():
        target = local.base
    taken = f"the folder {folder.resolve()}"
    return Side(label=word, taken=taken, target=target, probe=local, local=local)


def _served(word: str, url: str | None, config: Config, *, send_key: bool) -> Side:
    from monitor.probes.asking import Target

    if url is None:
        raise typer.BadParameter(f"{word!r} is no folder; name the engine that serves it: --engine")
    engine = engines.engine(url, config, send_key=send_key)
    taken = f"served by {engine.url}"
    return Side(label=word, taken=taken, target=Target(model=word), probe=engine.probe)


def _probe(folders: Sequence[Path], base: str | None, config: Config) -> LocalProbe:
    from monitor.probes.corpus import Corpus
    from monitor.probes.embedding import Dtype
    from monitor.probes.local import LocalProbe

    usual = config.probes.perplexity.local
    # bfloat16 would round away what a merge or a quantisation does
    settings = replace(usual, base=base or _base(folders), dtype=Dtype.FLOAT32)
    return LocalProbe(settings, Corpus(name="none", documents=()))


def _base(folders: Sequence[Path]) -> str:
    """Return the base that an adapter was trained on; without an adapter the first model itself."""
    from monitor.probes.errors import ProbeError
    from monitor.probes.local.folders import FolderKind, is_hub_name, kind_of, trained_on

    with failing(ProbeError):
        adapters = [folder for folder in folders if kind_of(folder) is FolderKind.ADAPTER]
        said = trained_on(adapters[0]) if adapters else str(folders[0])
    if said and (Path(said).is_dir() or is_hub_name(said)):
        return said
    raise CommandFailed(f"{adapters[0]}: its base {said!r} is not here: name it with --base")
