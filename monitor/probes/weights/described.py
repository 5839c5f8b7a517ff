"""Describe an adapter's folder for the registry: what it was trained on, how, and how well.

Only JSON and safetensors are read. ``training_args.bin`` is a pickle, and stays closed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from monitor.probes.weights.adapter_folder import opened_adapter, read_raw_config
from monitor.probes.weights.errors import damaged, missing
from monitor.probes.weights.files import exists, opened, read_small

TRAINER_STATE: Final = "trainer_state.json"
LARGEST_STATE: Final = 64 << 20
LARGEST_TOKENIZER: Final = 64 << 20
MOST_FILES: Final = 100_000
_LORA: Final = (
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "use_rslora",
    "use_dora",
    "bias",
)
_TRAINER: Final = ("num_train_epochs", "max_steps", "train_batch_size")
_REACHED: Final = ("epoch", "global_step", "best_metric")
_LOSSES: Final = ("eval_loss", "loss", "train_loss")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderDescribed:
    """The registry's fields that a folder gives; None: it does not say."""

    identity: str
    base_model: str | None
    base_revision: str | None
    precision: str
    tokenizer_hash: str | None
    template_hash: str | None
    hyper_parameters: Mapping[str, Any]
    metrics: Mapping[str, float]


def described(folder: Path) -> FolderDescribed:
    """Read an adapter's folder.

    The trainer's state is looked for in the folder and in the one above it, where checkpoints keep
    it.

    Raises
    ------
    WeightsRefused
        It is no adapter, or a file of it is damaged or too large.
    """
    config = _object(read_raw_config(folder), "adapter_config.json")
    with opened_adapter(folder) as adapter:
        kinds = sorted({tensor.dtype for tensor in adapter.tensors.values()})
        identity, known = adapter.identity, adapter.config
    state = _state(folder)
    lora = {name: config[name] for name in _LORA if config.get(name) not in (None, False)}
    trainer = {name: state[name] for name in _TRAINER if _is_number(state.get(name))}
    return FolderDescribed(
        identity=identity,
        base_model=known.base_model_name_or_path,
        base_revision=known.revision,
        precision="+".join(kinds),
        tokenizer_hash=_hash_of(folder, "tokenizer.json"),
        template_hash=_template_hash(folder),
        hyper_parameters=lora | trainer,
        metrics=_metrics(state),
    )


def dataset_hash(paths: Sequence[Path]) -> str:
    """Return one hash of files, and of all files in folders, by their names and contents.

    A single file has its own SHA-256. Links are not followed.

    Raises
    ------
    WeightsRefused
        There is no such file, or there are more than 100,000.
    """
    found = [each for path in paths for each in _files(path)]
    if not found:
        raise missing("there are no files")
    if len(found) > MOST_FILES:
        raise damaged(f"more than {MOST_FILES:,} files")
    sums = [(name, _sha256(path)) for name, path in found]
    return dataset_of(sums, single=len(sums) == 1 and paths[0].is_file())


def dataset_of(sums: Sequence[tuple[str, str]], *, single: bool = False) -> str:
    """Return one hash of files, by their names and SHA-256s; that of a single file is its own."""
    if single:
        return sums[0][1]
    lines = "".join(f"{total}  {name}\n" for name, total in sorted(sums))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield path.name, path
        return
    if not path.is_dir():
        raise missing(f"{path}: there is no such file")
    for each in path.rglob("*"):
        if each.is_file() and not each.is_symlink():
            yield each.relative_to(path).as_posix(), each


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise missing(f"{path}: {error.strerror}") from None


def _state(folder: Path) -> Mapping[str, Any]:
    for place in (folder, folder.resolve().parent):
        if exists(place, TRAINER_STATE):
            return _object(read_small(place, TRAINER_STATE, limit=LARGEST_STATE), TRAINER_STATE)
    return {}


def _metrics(state: Mapping[str, Any]) -> dict[str, float]:
    """Return how far the training came, and the last of each loss that it logged."""
    found = {name: state[name] for name in _REACHED if _is_number(state.get(name))}
    history = state.get("log_history")
    for entry in history if isinstance(history, list) else ():
        if isinstance(entry, dict):
            found |= {name: entry[name] for name in _LOSSES if _is_number(entry.get(name))}
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _hash_of(folder: Path, name: str) -> str | None:
    if not exists(folder, name):
        return None
    with opened(folder, name) as file:
        return file.sha256()


def _template_hash(folder: Path) -> str | None:
    """Hash the chat template, a file of its own or a field of the tokenizer's config."""
    if exists(folder, "chat_template.jinja"):
        return _hash_of(folder, "chat_template.jinja")
    if not exists(folder, "tokenizer_config.json"):
        return None
    raw = read_small(folder, "tokenizer_config.json", limit=LARGEST_TOKENIZER)
    template = _object(raw, "tokenizer_config.json").get("chat_template")
    return hashlib.sha256(template.encode()).hexdigest() if isinstance(template, str) else None


def _object(raw: bytes, name: str) -> Mapping[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise damaged(f"{name}: {error}") from None
    if not isinstance(found, dict):
        raise damaged(f"{name}: is no JSON object")
    return found
