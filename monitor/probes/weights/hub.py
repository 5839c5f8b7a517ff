"""Find a base model's folder without a network: a path, or a snapshot in the hub's cache."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

REMOTE: Final = "hf://"
NEWEST: Final = "main"
_NAME: Final = re.compile(r"[\w.-]{1,96}(?:/[\w.-]{1,96})?")
_REVISION: Final = re.compile(r"[\w.-]{1,96}(?:/[\w.-]{1,96})*")
LONGEST_REF: Final = 64


def base_folder(
    named: str, *, revision: str | None = None, environ: Mapping[str, str]
) -> Path | None:
    """Return the folder of a base model's files; None where it is not on this machine.

    Parameters
    ----------
    named
        A path, a hub name (``org/model``), or ``hf://org/model@revision``.
    revision
        A commit, branch or tag; ``hf://…@revision`` comes first. The newest if left out.
    environ
        Its ``HF_HUB_CACHE`` or ``HF_HOME`` says where the cache is, as for the hub's own client.
    """
    if named.startswith("/"):
        folder = Path(named)
        return folder if folder.is_dir() else None
    name, _, own = named.removeprefix(REMOTE).partition("@")
    wanted = own or revision or NEWEST
    sound = [_NAME.fullmatch(name), _REVISION.fullmatch(wanted)]
    if not all(sound) or ".." in f"{name}/{wanted}":
        return None
    cached = _cache(environ) / f"models--{name.replace('/', '--')}"
    for commit in (_commit(cached, wanted), wanted):
        folder = cached / "snapshots" / commit
        if commit and folder.is_dir():
            return folder
    return None


def _commit(cached: Path, revision: str) -> str:
    """Return the commit that a branch or tag stood for when it was fetched; empty if unknown."""
    try:
        with (cached / "refs" / revision).open(encoding="ascii") as file:
            found = file.read(LONGEST_REF + 1).strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return found if re.fullmatch(r"[0-9a-f]{7,64}", found) else ""


def _cache(environ: Mapping[str, str]) -> Path:
    if environ.get("HF_HUB_CACHE"):
        return Path(environ["HF_HUB_CACHE"]).expanduser()
    home = environ.get("HF_HOME") or f"{environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return Path(home).expanduser() / "hub"
