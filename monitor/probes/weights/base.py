"""Read the base model's weights, if at hand: which an adapter changes, and their norm."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from monitor.probes.weights.errors import damaged
from monitor.probes.weights.files import exists, opened, read_small
from monitor.probes.weights.safetensors import Tensor, tensors_of

SINGLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
LARGEST_INDEX: Final = 16 << 20
PLAIN: Final = frozenset({"F64", "F32", "F16", "BF16"})
"""Types whose numbers are the weights; others need scales that are stored elsewhere."""
_WRAPPED: Final = ".base_layer"


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


class BaseWeights:
    """Tensors of a base model by name; files are opened on first use."""

    def __init__(self, folder: Path, stack: ExitStack, places: Mapping[str, str]) -> None:
        self._folder = folder
        self._stack = stack
        self._places = places
        self._files: dict[str, Mapping[str, Tensor]] = {}

    def of_module(self, module: str) -> Tensor | None:
        """Return the weight that a module's update is added to, quantised or not."""
        for name in _names(module):
            if not self._places or name in self._places:
                found = self._file(self._places.get(name, SINGLE)).get(name)
                if found is not None:
                    return found
        return None

    def _file(self, name: str) -> Mapping[str, Tensor]:
        if name not in self._files:
            file = self._stack.enter_context(opened(self._folder, name))
            self._files[name] = tensors_of(file)
        return self._files[name]


@contextmanager
def opened_base(folder: Path) -> Iterator[BaseWeights]:
    """Open a base model's folder, with one safetensors file or with shards and their index.

    Raises
    ------
    WeightsRefused
        There are no such files, or the index leads out of the folder.
    """
    with ExitStack() as stack:
        places = _places(folder) if exists(folder, INDEX) else {}
        if not places:
            stack.enter_context(opened(folder, SINGLE))
        yield BaseWeights(folder, stack, places)


def norm(tensor: Tensor) -> float:
    """Return a tensor's Frobenius norm, block by block; non-finite if the weights are."""
    total = 0.0
    for block in tensor.flat():
        wide = block.astype(np.float64 if block.dtype == np.float64 else np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            total += float(np.dot(wide, wide))
    return math.sqrt(total)


def _places(folder: Path) -> Mapping[str, str]:
    raw = read_small(folder, INDEX, limit=LARGEST_INDEX)
    try:
        places = msgspec.json.decode(raw, type=_Index).weight_map
    except (ValueError, RecursionError) as error:
        raise damaged(f"{INDEX}: {error}") from None
    for name in set(places.values()):
        with opened(folder, name):  # every named file must be in the folder, used or not
            pass
    if not places:
        raise damaged(f"{INDEX}: names no tensor")
    return places


def _names(module: str) -> Iterator[str]:
    """Yield a base's possible names for a module's weight: prefixes differ between models."""
    plain = module.removesuffix(_WRAPPED)
    yield f"{plain}.weight"
    yield plain  # parameters adapted without a module around them
    yield f"{plain.removeprefix('model.')}.weight"
    yield f"model.{plain}.weight"
    yield f"{plain}.qweight"  # GPTQ and AWQ
