"""Train in a process of its own: bounded, ended with the worker, and taken up where it was."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from monitor.probes.asking import local_folder
from monitor.probes.weights.adapter_folder import opened_adapter
from monitor.probes.weights.errors import WeightsRefused
from monitor.probes.weights.hub import base_folder
from monitor.trainer import plan as files
from monitor.trainer import process
from monitor.trainer.errors import TrainingFailed, TrainingRefused
from monitor.trainer.gathering import Tell
from monitor.trainer.plan import FitPlan, FitProgress, FitResult
from monitor.trainer.settings import TrainerSettings

_OFFLINE: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}
_ENDING: Final = timedelta(minutes=10)
"""For the last measurements, after the training has ended in time."""


class ParentVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The version to train on, as the service describes it."""

    adapter: str
    version: str
    uri: str | None
    base_model: str | None

    @property
    def label(self) -> str:
        """``adapter@version``."""
        return f"{self.adapter}@{self.version}"


def planned(settings: TrainerSettings, parent: ParentVersion, *, data: str) -> FitPlan:
    """Return what to train from; raises :class:`TrainingRefused` where it is not at hand."""
    folder = local_folder(parent.uri or "")
    if folder is None:
        raise TrainingRefused(f"{parent.label} is registered without a folder of its weights")
    try:
        with opened_adapter(folder) as adapter:
            trained_on = adapter.config.base_model_name_or_path
    except WeightsRefused as refused:
        raise TrainingRefused(f"the weights of {parent.label}: {refused.reason}") from None
    named = [one for one in (settings.base, parent.base_model, trained_on) if one]
    known = (base_folder(str(_absolute(one)), environ=os.environ) for one in named)
    base = next((one for one in known if one is not None), None)
    if base is None:
        raise TrainingRefused(
            f"the base model of {parent.label} is not on this machine: name its folder in"
            f" trainer.base (looked for: {', '.join(named) or 'nothing is named'})"
        )
    return FitPlan(
        base=str(base),
        parent=str(folder),
        data=data,
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
    """Train as planned, unless that is done; what another plan has left is thrown away.

    Raises
    ------
    TrainingFailed
        The process failed, or exceeded a limit: its log is ``fitting.log``.
    """
    wanted = msgspec.json.encode(plan)
    path = folder / files.PLAN
    if path.exists() and path.read_bytes() != wanted:
        shutil.rmtree(folder / files.CHECKPOINTS, ignore_errors=True)
        (folder / files.RESULT).unlink(missing_ok=True)
    path.write_bytes(wanted)
    result = folder / files.RESULT
    if not result.exists():
        process.run(
            [sys.executable, "-m", "monitor.trainer.fitting", str(folder)],
            log=folder / "fitting.log",
            alive=lambda: _tell(folder / files.PROGRESS, tell),
            limit=timedelta(seconds=plan.max_s) + _ENDING,
            memory=memory,
            environ=_OFFLINE,
        )
    try:
        return msgspec.json.decode(result.read_bytes(), type=FitResult)
    except (OSError, msgspec.DecodeError) as error:
        raise TrainingFailed(f"the training left no result: {error}") from None


def _tell(path: Path, tell: Tell) -> None:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=FitProgress)
    except (OSError, msgspec.DecodeError):  # not begun, or being written
        found = FitProgress(done=0.0, note="the models are loaded")
    tell(found.done, found.note)


def _absolute(named: str) -> str | Path:
    """Return a path as an absolute one; names of the hub stay."""
    written_as_path = named.startswith(("/", "./", "../", "~")) or Path(named).is_dir()
    return Path(named).expanduser().resolve() if written_as_path else named
