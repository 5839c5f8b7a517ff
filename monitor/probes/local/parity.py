"""Two folders of weights against each other, exactly, with nothing else running."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detectors.parity import Parity
from monitor.probes.corpus import Corpus
from monitor.probes.embedding import Dtype
from monitor.probes.errors import FolderRefused
from monitor.probes.local.client import LocalProbe
from monitor.probes.local.folders import FolderKind, kind_of, trained_on
from monitor.probes.local.settings import LocalSettings
from monitor.probes.models import is_local


def parity_local(a: Path, b: Path, texts: Sequence[str], *, base: str | None = None) -> Parity:
    """Compare two folders exactly, in a worker of their own, in float32.

    float32, because rounding to bfloat16 would hide what a merge or a quantisation does.

    Parameters
    ----------
    base
        The base of an adapter's folder; None: the other folder where that is a whole
        model, else what the adapter says it was trained on.

    Raises
    ------
    ProbeError
        As :meth:`LocalProbe.parity`.
    """
    settings = LocalSettings(base=base or _base_for(a, b), dtype=Dtype.FLOAT32)
    probe = LocalProbe(settings, Corpus(name="none", documents=()))
    try:
        return probe.parity(a, b, texts)
    finally:
        probe.close()


def _base_for(a: Path, b: Path) -> str:
    kinds = {folder: kind_of(folder) for folder in (a, b)}
    adapters = [folder for folder, kind in kinds.items() if kind is FolderKind.ADAPTER]
    if not adapters:
        return str(a)
    for folder in adapters:
        said = trained_on(folder)
        if said and (Path(said).is_dir() or not is_local(said)):
            return said
    raise FolderRefused(adapters[0], "its base is not named by a folder or a hub: name the base")
