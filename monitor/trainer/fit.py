"""Train in a process of its own: bounded, ended with the worker, and taken up where it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec

from monitor.environment import without_settings
from monitor.probes.asking import local_folder
from monitor.probes.weights.adapter_folder import opened_adapter
from monitor.probes.weights.errors import WeightsRefused
from monitor.probes.weights.hub import base_folder
from monitor.trainer import process
from monitor.trainer.errors import ProgramFailed, TrainingFailed, TrainingRefused
from monitor.trainer.files import PLAN, PROGRESS, RESULT, FitPlan, FitProgress, FitResult, written
from monitor.trainer.gathering import Tell
from monitor.trainer.settings import TrainerSettings

REFUSED: Final = 3
"""Exit code of a training whose data do not do."""
_OFFLINE: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}
_NEEDED: Final = ("torch", "transformers", "peft", "accelerate")
_SECRET: Final = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
_ENDING: Final = timedelta(minutes=10)
"""For the last measurements, after the training has ended in time."""


class ParentVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The version to train on, as the service describes it."""

    adapter: str
    version: str
    uri: str | None
    sha256: str | None
    base_model: str | None
    metadata: dict[str, Any] = {}

    @property
    def label(self) -> str:
        """``adapter@version``."""
        return f"{self.adapter}@{self.version}"

    @property
    def base_revision(self) -> str | None:
        """The registered revision of its base."""
        found = self.metadata.get("base_revision")
        return str(found) if found else None


FindsFiles = Callable[[ParentVersion], Path | None]
"""Returns the folder of a version's files; raises WeightsRefused where they cannot be fetched."""


def local_files(parent: ParentVersion) -> Path | None:
    """Return the folder that a version is registered with."""
    return local_folder(parent.uri or "")


class ParentWeights(msgspec.Struct, frozen=True, kw_only=True):
    """The parent's folder, the hash that it has now, and its base model's folder."""

    folder: str
    identity: str
    base: str


def parent_weights(
    settings: TrainerSettings, parent: ParentVersion, find: FindsFiles = local_files
) -> ParentWeights:
    """Find what to train from.

    Raises
    ------
    TrainingRefused
        It is not at hand, or is not what was registered.
    """
    folder = _files(parent, find)
    if folder is None:
        raise TrainingRefused(f"{parent.label} is registered without a folder of its weights")
    try:
        with opened_adapter(folder) as adapter:
            trained_on = adapter.config.base_model_name_or_path
            identity, of_file = adapter.identity, adapter.sha256
    except WeightsRefused as refused:
        raise TrainingRefused(f"the weights of {parent.label}: {refused.reason}") from None
    if parent.sha256 not in {None, identity, of_file}:
        raise TrainingRefused(f"the weights of {parent.label} are not those of its registration")
    named = [one for one in (settings.base, parent.base_model, trained_on) if one]
    known = (
        base_folder(str(_absolute(one)), revision=parent.base_revision, environ=os.environ)
        for one in named
    )
    base = next((one for one in known if one is not None), None)
    if base is None:
        raise TrainingRefused(
            f"the base model of {parent.label} is not on this machine: name its folder in"
            f" trainer.base (looked for: {', '.join(named) or 'nothing is named'})"
        )
    return ParentWeights(folder=str(folder), identity=identity, base=str(base))


def _files(parent: ParentVersion, find: FindsFiles) -> Path | None:
    try:
        return find(parent)
    except WeightsRefused as refused:
        raise TrainingRefused(f"the weights of {parent.label}: {refused.reason}") from None


def planned(settings: TrainerSettings, parent: ParentWeights, *, data: str, new: int) -> FitPlan:
    """Return what to train, from where, and how."""
    return FitPlan(
        base=parent.base,
        parent=parent.folder,
        identity=parent.identity,
        data=data,
        new=new,
        least=settings.least // 2,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        batch=settings.batch,
        context=settings.context,
        patience=settings.patience,
        looks=settings.looks,
        seed=settings.seed,
        max_s=settings.max_time.total_seconds(),
    )


def fit(folder: Path, plan: FitPlan, *, memory: int, tell: Tell) -> FitResult:
    """Train as planned, unless that is done.

    Raises
    ------
    TrainingRefused
        Too few examples fit, or the adapter learned nothing.
    TrainingFailed
        The process failed, or exceeded a limit: its log is ``fitting.log``.
    """
    if absent := [name for name in _NEEDED if find_spec(name) is None]:
        raise TrainingFailed(f"{absent[0]} is not installed: pip install 'driftline[train]'")
    written(folder / PLAN, msgspec.json.encode(plan))
    result = folder / RESULT
    if not result.exists():
        try:
            process.run(
                [sys.executable, "-m", "monitor.trainer.fitting", str(folder)],
                log=folder / "fitting.log",
                alive=lambda: _tell(folder / PROGRESS, tell),
                limit=timedelta(seconds=plan.max_s) + _ENDING,
                memory=memory,
                environ=_environ(os.environ),
            )
        except ProgramFailed as failed:
            if failed.code == REFUSED:
                raise TrainingRefused(failed.last) from None
            raise TrainingFailed(f"{failed}: {failed.last[:300]}") from None
    return msgspec.json.decode(result.read_bytes(), type=FitResult)


def _environ(environ: Mapping[str, str]) -> dict[str, str]:
    """Leave secrets out: a training needs none."""
    kept = {
        name: value
        for name, value in without_settings(environ).items()
        if not any(word in name for word in _SECRET)
    }
    return kept | _OFFLINE


def _tell(path: Path, tell: Tell) -> None:
    found = FitProgress(done=0.0, note="the models are loaded")
    if path.exists():
        found = msgspec.json.decode(path.read_bytes(), type=FitProgress)
    tell(found.done, found.note)


def _absolute(named: str) -> str | Path:
    """Return a path as an absolute one; names of the hub stay."""
    written_as_path = named.startswith(("/", "./", "../", "~")) or Path(named).is_dir()
    return Path(named).expanduser().resolve() if written_as_path else named
