"""Break an adapter as real releases are broken: files that load and answers that are wrong.

``python -m examples.corrupt SOURCE TARGET --how scaled --seed 7``
"""

import argparse
import shutil
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch
from safetensors.torch import load_file, save_file

_WEIGHTS: Final = "adapter_model.safetensors"
_Tensors = Mapping[str, torch.Tensor]


class Corruption(StrEnum):
    """What went wrong when the adapter was merged, converted or copied."""

    NOISE = "noise"
    """Coarse quantisation: every weight carries an error as large as the weights.

    Perplexity on its own domain 2-3.5 times as high; mean NLL of its own answers
    rises by 7-10 standard deviations. Answers lose their thread.
    """
    PERMUTED = "permuted"
    """A merge that lost the order of the ranks: B's columns no longer match A's rows.

    Perplexity +25-40 %, own answers' NLL +1.2-2 standard deviations.
    """
    ZEROED_LAYER = "zeroed-layer"
    """A shard that was not copied: the last layer's update is missing. Hardly shows."""
    SCALED = "scaled"
    """A wrong alpha: every update is three times too strong. Answers are word salad."""


def corrupt_adapter(
    source: Path, target: Path, *, seed: int, how: Corruption = Corruption.NOISE
) -> None:
    """Copy an adapter folder with damaged weights; shapes, names and config stay.

    Parameters
    ----------
    source, target
        Folders in PEFT format; ``target`` is replaced when it exists.
    seed
        Equal seeds damage equally. `ZEROED_LAYER` and `SCALED` draw nothing.
    how
        The kind of damage.

    Raises
    ------
    FileNotFoundError
        ``source`` holds no safetensors weights.
    """
    weights = load_file(source / _WEIGHTS)
    draws = torch.Generator().manual_seed(seed)
    damaged = _DAMAGES[how](weights, draws)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    stored = {name: damaged[name].to(old.dtype).contiguous() for name, old in weights.items()}
    save_file(stored, target / _WEIGHTS, metadata={"format": "pt"})


def _noise(weights: _Tensors, draws: torch.Generator) -> dict[str, torch.Tensor]:
    return {
        name: tensor.float() + tensor.float().std() * torch.randn(tensor.shape, generator=draws)
        for name, tensor in weights.items()
    }


def _permuted(weights: _Tensors, draws: torch.Generator) -> dict[str, torch.Tensor]:
    return {
        name: tensor[:, torch.randperm(tensor.shape[1], generator=draws)] if _is_b(name) else tensor
        for name, tensor in weights.items()
    }


def _zeroed_layer(weights: _Tensors, _: torch.Generator) -> dict[str, torch.Tensor]:
    last = max(_layer(name) for name in weights)
    return {
        name: torch.zeros_like(tensor) if _layer(name) == last else tensor
        for name, tensor in weights.items()
    }


def _scaled(weights: _Tensors, _: torch.Generator) -> dict[str, torch.Tensor]:
    return {name: tensor * 3 if _is_b(name) else tensor for name, tensor in weights.items()}


def _is_b(name: str) -> bool:
    return ".lora_B." in name


def _layer(name: str) -> int:
    return int(name.split(".layers.")[1].split(".", maxsplit=1)[0])


_DAMAGES: Final[Mapping[Corruption, Callable[[_Tensors, torch.Generator], _Tensors]]] = (
    MappingProxyType(
        {
            Corruption.NOISE: _noise,
            Corruption.PERMUTED: _permuted,
            Corruption.ZEROED_LAYER: _zeroed_layer,
            Corruption.SCALED: _scaled,
        }
    )
)


def main() -> None:
    """Damage one adapter folder from the command line."""
    parser = argparse.ArgumentParser(description="Write a damaged copy of an adapter folder.")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--how", type=Corruption, choices=list(Corruption), default="noise")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    corrupt_adapter(given.source, given.target, seed=given.seed, how=given.how)


if __name__ == "__main__":
    main()
