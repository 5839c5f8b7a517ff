"""Adapters of the demo, as PEFT saves them: sound ones, and ones broken on purpose."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from detectors.checks import Check
from detectors.weight_checks import WeightLimits, weight_checks
from examples.weights import BASE, DemoAdapter
from monitor.probes.weights.adapter_folder import CONFIG, WEIGHTS
from monitor.probes.weights.measures import measured
from monitor.probes.weights.process import WeightQuestion
from tests.weights.folders import Stored, bf16, safetensors

Tensors = dict[str, NDArray[Any] | Stored]
Change = Callable[[Tensors], Mapping[str, Any]]
"""Changes tensors in place, and returns the fields of the config to change."""
TRAVEL = DemoAdapter.TRAVEL_V1.path
LAYERS = "base_model.model.model.layers"
UP = f"{LAYERS}.1.mlp.up_proj"


def made(folder: Path, change: Change, *, of: Path = TRAVEL, size: float = 1.0) -> Path:
    """Save a changed copy of an adapter; ``size`` scales all of its updates first."""
    shutil.copytree(of, folder)
    tensors: Tensors = {
        # numpy knows no bfloat16
        name: (one.float() if one.dtype is torch.bfloat16 else one).numpy()
        for name, one in load_file(of / WEIGHTS).items()
    }
    scaled(size)(tensors)
    fields = change(tensors)
    config = json.loads((of / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(json.dumps(config | fields), encoding="utf-8")
    (folder / WEIGHTS).write_bytes(safetensors(tensors))
    return folder


def checked(folder: Path, *, parent: Path | None = None, base: Path = BASE) -> dict[str, Check]:
    """Measure a folder on a base, the demo's, and judge it by the defaults."""
    question = WeightQuestion(
        folder=str(folder), base=str(base), parent=None if parent is None else str(parent)
    )
    _, measures = measured(question)
    return {one.name: one for one in weight_checks(measures, WeightLimits())}


# --- changes ------------------------------------------------------------------------------


def unchanged(_tensors: Tensors) -> Mapping[str, Any]:
    return {}


def configured(**fields: Any) -> Change:
    return lambda _tensors: fields


def scaled(times: float, module: str = "") -> Change:
    """Multiply the updates of the modules whose name begins so."""

    def change(tensors: Tensors) -> Mapping[str, Any]:
        for name, one in factors_b(tensors).items():
            if name.startswith(module):
                tensors[name] = (one.astype(np.float32) * times).astype(one.dtype)
        return {}

    return change


def spoiled(value: float, name: str) -> Change:
    """Put a value where a number was."""

    def change(tensors: Tensors) -> Mapping[str, Any]:
        one = np.array(tensors[name])
        one[3, 3] = value
        tensors[name] = one
        return {}

    return change


def zeroed(name: str) -> Change:
    """Put zeros where a factor was."""

    def change(tensors: Tensors) -> Mapping[str, Any]:
        tensors[name] = np.zeros_like(np.array(tensors[name]))
        return {}

    return change


def stored(how: Callable[[NDArray[Any]], NDArray[Any] | Stored]) -> Change:
    """Write every tensor in another format."""

    def change(tensors: Tensors) -> Mapping[str, Any]:
        tensors.update({name: how(np.array(one)) for name, one in tensors.items()})
        return {}

    return change


def e4m3(values: NDArray[Any]) -> Stored:
    """Write the exponents and signs of numbers as float8, which serving does not load."""
    _, exponents = np.frexp(np.asarray(values, dtype=np.float32))
    raw = (np.clip(exponents + 6, 0, 14).astype(np.uint8) << 3) | (
        (values < 0).astype(np.uint8) << 7
    )
    return Stored("F8_E4M3", values.shape, raw.tobytes())


def of_rank(rank: int) -> Change:
    """Leave only so many directions in each factor B."""

    def change(tensors: Tensors) -> Mapping[str, Any]:
        for name, one in factors_b(tensors).items():
            left, values, right = np.linalg.svd(one.astype(np.float32), full_matrices=False)
            values[rank:] = 0.0
            tensors[name] = (left * values @ right).astype(one.dtype)
        return {}

    return change


def one_direction(tensors: Tensors) -> Mapping[str, Any]:
    """Let one direction of eight outweigh the others, at the same size."""
    for name, one in factors_b(tensors).items():
        kept = one.astype(np.float32)
        kept[:, 1:] *= 0.02
        size = np.linalg.norm(one.astype(np.float32)) / np.linalg.norm(kept)
        tensors[name] = (kept * size).astype(one.dtype)
    return {}


def without(name: str) -> Change:
    """Leave out a tensor."""

    def change(tensors: Tensors) -> Mapping[str, Any]:
        del tensors[name]
        return {}

    return change


def narrower(tensors: Tensors) -> Mapping[str, Any]:
    """Cut a factor to another model's width."""
    name = f"{UP}.lora_A.weight"
    tensors[name] = np.ascontiguousarray(np.array(tensors[name])[:, :-8])
    return {}


def trained_on(tensors: Tensors) -> Mapping[str, Any]:
    """Move a little, as a continued training does."""
    draws = np.random.default_rng(5)
    for name, one in tensors.items():
        numbers = np.array(one)
        noise = draws.normal(0.0, 0.2 * float(numbers.astype(np.float32).std()), numbers.shape)
        tensors[name] = (numbers + noise).astype(numbers.dtype)
    return {}


def factors_b(tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {name: np.array(one) for name, one in tensors.items() if ".lora_B." in name}


as_float32 = stored(lambda one: one.astype(np.float32))
as_float64 = stored(lambda one: one.astype(np.float64))
as_bfloat16 = stored(lambda one: bf16(one.astype(np.float32)))
as_float8 = stored(e4m3)
