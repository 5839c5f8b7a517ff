"""Recognise folders of weights, and identify them by hash. No torch."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

from monitor.probes.errors import FolderRefused
from monitor.probes.weights.adapter_folder import CONFIG as ADAPTER_CONFIG
from monitor.probes.weights.adapter_folder import WEIGHTS as ADAPTER_WEIGHTS
from monitor.probes.weights.adapter_folder import opened_adapter, read_raw_config
from monitor.probes.weights.errors import WeightsRefused
from monitor.probes.weights.files import refuse_hole
from monitor.probes.weights.identity import identity_of

_HUB_NAME: Final = re.compile(r"[\w.-]+/[\w.-]+")
MODEL_CONFIG: Final = "config.json"
_DECIDING: Final = (".json", ".safetensors", ".model")
"""Endings of the files that determine a whole model's results."""


class FolderKind(StrEnum):
    """An adapter in PEFT's format, or a whole model."""

    ADAPTER = "adapter"
    MODEL = "model"


def kind_of(folder: Path) -> FolderKind:
    """Tell an adapter from a model by its config, and require safetensors weights.

    Raises
    ------
    FolderRefused
        Neither kind, or weights of another format: pickled ones can run code.
    """
    if not folder.is_dir():
        raise FolderRefused(folder, "there is no such folder")
    if (folder / ADAPTER_CONFIG).is_file():
        _require(folder, ADAPTER_WEIGHTS, found=(folder / ADAPTER_WEIGHTS).is_file())
        return FolderKind.ADAPTER
    if (folder / MODEL_CONFIG).is_file():
        _require(folder, "*.safetensors", found=any(folder.glob("*.safetensors")))
        return FolderKind.MODEL
    raise FolderRefused(folder, f"it holds neither {ADAPTER_CONFIG} nor {MODEL_CONFIG}")


def trained_on(folder: Path) -> str | None:
    """Return the base that an adapter says it was trained on; raises FolderRefused."""
    try:
        with opened_adapter(folder) as adapter:
            return adapter.config.base_model_name_or_path
    except WeightsRefused as refused:
        raise FolderRefused(folder, refused.reason) from refused


def is_hub_name(name: str) -> bool:
    """True if it looks like ``organisation/model`` and no such folder exists here."""
    return _HUB_NAME.fullmatch(name) is not None and not Path(name).exists()


class Fingerprints:
    """SHA-256 of folders; a file unchanged on disk is not read again.

    Changed means another inode, size, or change time, which nobody can set back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[tuple[int, int, int], str]] = {}

    def of(self, folder: Path) -> str:
        """Hash a folder's content: an adapter's identity, or a model's deciding files.

        Raises
        ------
        FolderRefused
            It is not a folder of weights, or cannot be read.
        """
        try:
            if kind_of(folder) is FolderKind.ADAPTER:
                weights = self._digest(folder / ADAPTER_WEIGHTS)
                return identity_of(read_raw_config(folder), weights=weights)
            return combined({path.name: self._digest(path) for path in _files(folder)})
        except OSError as error:
            raise FolderRefused(folder, f"not readable: {error.strerror}") from error
        except WeightsRefused as refused:
            raise FolderRefused(folder, refused.reason) from refused

    def _digest(self, path: Path) -> str:
        status = path.stat()
        state = (status.st_ino, status.st_size, status.st_ctime_ns)
        with self._lock:
            known = self._known.get(path)
        if known is not None and known[0] == state:
            return known[1]
        refuse_hole(path.name, status)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with self._lock:
            self._known[path] = (state, digest)
        return digest


def combined(digests: dict[str, str]) -> str:
    """Join the hashes of a folder's files, or of parts of a model, into one."""
    lines = [f"{name}\0{digests[name]}\n" for name in sorted(digests)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files(folder: Path) -> Sequence[Path]:
    return [path for path in folder.iterdir() if path.suffix in _DECIDING and path.is_file()]


def _require(folder: Path, name: str, *, found: bool) -> None:
    if not found:
        raise FolderRefused(folder, f"it holds no {name}; weights of other formats are refused")
