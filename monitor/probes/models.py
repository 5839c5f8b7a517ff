"""Locate and check a model's files, without running any of them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monitor.probes.errors import ModelMissing

PACKAGE_PREFIX: Final = "package:"
_USED: Final = frozenset({".json", ".safetensors", ".txt", ".model"})
_DOWNLOADED: Final = ["*.json", "*.safetensors", "*.txt", "*.model"]
"""No ``.bin``, ``.pt`` or ``.py``: weights are data, never code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A loadable model on this machine; ``identity`` is its name and content hash."""

    path: Path
    identity: str


def resolve(model: str) -> ModelFolder:
    """Find a model by hub name, folder or ``package:NAME`` and check its files.

    A hub model is taken from the local cache if present, else downloaded (never if
    ``HF_HUB_OFFLINE`` is set). ``name@revision`` pins a hub revision.

    Raises
    ------
    ModelMissing
        Nothing was found, there are no safetensors weights, or modules come from outside
        sentence-transformers.
    """
    path = locate(model)
    name = model.removeprefix(PACKAGE_PREFIX).rstrip("/")
    label = Path(name).name if is_local(model) else name.partition("@")[0]
    return ModelFolder(path=path, identity=f"{label}@{fingerprint(path)[:16]}")


def locate(model: str) -> Path:
    """Find a model's folder as :func:`resolve` does, without reading its weights."""
    if model.startswith(PACKAGE_PREFIX):
        folder = _in_package(model)
    elif is_local(model):
        folder = Path(model).expanduser().resolve()
        if not folder.is_dir():
            raise ModelMissing(model, f"there is no folder {folder}")
    else:
        folder = _from_hub(model)
    _refuse_unsafe(model, folder)
    return folder


def is_local(model: str) -> bool:
    """True if the model's files are on this machine, so that no network is needed."""
    written_as_path = model.startswith(("/", "./", "../", "~"))
    return model.startswith(PACKAGE_PREFIX) or written_as_path or Path(model).is_dir()


def fingerprint(folder: Path) -> str:
    """Hash names and contents (SHA-256) of the files that determine the model's results."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in _USED and path.is_file():
            total.update(path.relative_to(folder).as_posix().encode() + b"\0")
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _in_package(model: str) -> Path:
    name = model.removeprefix(PACKAGE_PREFIX)
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ModelMissing(model, f"no package {name!r} is installed")
    root = Path(spec.submodule_search_locations[0])
    found = sorted(path.parent for path in root.rglob("modules.json"))
    if not found:
        raise ModelMissing(model, "the package carries no sentence-transformers model")
    return found[0]


def _from_hub(model: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - only the worker has it loaded
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415 - loaded only when used

    name, _, revision = model.partition("@")
    offline = os.environ.get("HF_HUB_OFFLINE", "0").lower() in {"1", "true", "yes", "on"}
    for local in (True,) if offline else (True, False):
        try:
            return Path(
                snapshot_download(
                    name,
                    revision=revision or None,
                    allow_patterns=_DOWNLOADED,
                    local_files_only=local,
                )
            )
        except LocalEntryNotFoundError:
            continue
        except HfHubHTTPError as error:
            reason = f"the hub answered HTTP {error.response.status_code}"
            raise ModelMissing(model, reason) from error
        except OSError as error:
            reason = f"not taken from the hub: {error.strerror or 'it is out of reach'}"
            raise ModelMissing(model, reason) from error
        except ValueError as error:
            raise ModelMissing(model, "no name that a hub could have") from error
    raise ModelMissing(model, "it is neither a folder here nor in the local cache nor on the hub")


def _refuse_unsafe(model: str, folder: Path) -> None:
    if not any(folder.rglob("*.safetensors")):
        raise ModelMissing(model, f"{folder} holds no *.safetensors; other weights are refused")
    listing = folder / "modules.json"
    if not listing.is_file():
        return
    foreign = [
        str(module.get("type"))
        for module in json.loads(listing.read_text(encoding="utf-8"))
        if not str(module.get("type")).startswith("sentence_transformers.")
    ]
    if foreign:
        raise ModelMissing(model, f"modules from outside sentence-transformers: {foreign}")
