"""Weights that are not those which were approved: merged, copied, converted or trained wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch

from benchmarks.adapters.ways.way import (
    Expected,
    OfServing,
    OfWeights,
    Shelf,
    Tensors,
    Way,
    Weights,
)

FAMILY: Final = "weights"
EXPECTED: Final = Expected(seen=True, blame=("adapter",), moved=True)


def alpha(weights: Weights, factor: float) -> Weights:
    """Scale every update by a wrong ``lora_alpha``; the tensors stay as they are."""
    scaled = weights.config["lora_alpha"] * factor
    return Weights(tensors=weights.tensors, config={**weights.config, "lora_alpha": scaled})


def zeroed_layer(weights: Weights) -> Weights:
    """Lose the first layer's update: a shard that was not copied."""
    first = min(layer(name) for name in weights.tensors)
    return _each(weights, lambda name, t: torch.zeros_like(t) if layer(name) == first else t)


def noise(weights: Weights, level: float) -> Weights:
    """Add an error of ``level`` times each tensor's own spread."""
    draws = torch.Generator().manual_seed(7)

    def noisy(_: str, tensor: torch.Tensor) -> torch.Tensor:
        return tensor + level * tensor.std() * torch.randn(tensor.shape, generator=draws)

    return _each(weights, noisy)


def sign_flip(weights: Weights) -> Weights:
    """Subtract the update in place of adding it, as a merge with the wrong sign does."""
    return _each(weights, lambda name, t: -t if is_b(name) else t)


def swapped(weights: Weights) -> Weights:
    """Take A for B and B for A wherever the shapes allow it, each filled up or cut to fit."""
    others = {name: weights.tensors[partner(name)] for name in weights.tensors}
    return _each(weights, lambda name, t: fitted(others[name].T, t))


def not_a_number(weights: Weights) -> Weights:
    """Put one NaN into the last layer: an overflow that was saved."""
    last = max(layer(name) for name in weights.tensors)

    def spoiled(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if layer(name) != last or not is_b(name):
            return tensor
        broken = tensor.clone()
        broken.view(-1)[0] = torch.nan
        return broken

    return _each(weights, spoiled)


def rounded(weights: Weights, bits: int) -> Weights:
    """Round each tensor to so many bits with one scale, and back."""
    steps = 2 ** (bits - 1) - 1

    def coarse(_: str, tensor: torch.Tensor) -> torch.Tensor:
        scale = tensor.abs().max().clamp_min(1e-12) / steps
        return torch.mul(torch.round(tensor / scale), scale)

    return _each(weights, coarse)


def truncated_rank(weights: Weights) -> Weights:
    """Keep two of the eight ranks: a conversion to a smaller ``r`` that cut the rest off."""
    return _each(weights, lambda name, t: _cut(t, 2) if is_b(name) else t)


def half_trained(shelf: Shelf) -> Path:
    """A run that stopped after a tenth of its steps."""
    return shelf.version("half-trained")


def over_trained(shelf: Shelf) -> Path:
    """A run that learned sixteen examples by heart."""
    return shelf.version("over-trained")


def layer(name: str) -> int:
    """Number of the layer that a tensor belongs to."""
    return int(name.split(".layers.")[1].split(".", maxsplit=1)[0])


def is_b(name: str) -> bool:
    """Whether it is the second factor of an update."""
    return ".lora_B." in name


def partner(name: str) -> str:
    """The other factor of the same update."""
    return (
        name.replace(".lora_B.", ".lora_A.") if is_b(name) else name.replace(".lora_A.", ".lora_B.")
    )


def fitted(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Cut or fill with zeros to another tensor's shape."""
    made = torch.zeros_like(like)
    rows, columns = (min(a, b) for a, b in zip(tensor.shape, like.shape, strict=True))
    made[:rows, :columns] = tensor[:rows, :columns]
    return made


def _cut(tensor: torch.Tensor, ranks: int) -> torch.Tensor:
    kept = tensor.clone()
    kept[:, ranks:] = 0
    return kept


def _each(weights: Weights, change: Callable[[str, torch.Tensor], torch.Tensor]) -> Weights:
    changed: Tensors = {
        name: change(name, tensor.float()).to(tensor.dtype)
        for name, tensor in weights.tensors.items()
    }
    return Weights(tensors=changed, config=weights.config)


def _way(name: str, says: str, change: Callable[[Weights], Weights]) -> Way:
    return Way(
        name=name, family=FAMILY, says=says, fault=OfWeights(change=change), expected=EXPECTED
    )


def _trained(name: str, says: str, choose: Callable[[Shelf], Path]) -> Way:
    return Way(
        name=name, family=FAMILY, says=says, fault=OfServing(choose=choose), expected=EXPECTED
    )


WAYS: Final = (
    _way("alpha-doubled", "lora_alpha is twice what it was trained with", lambda w: alpha(w, 2)),
    _way("alpha-halved", "lora_alpha is half of what it was trained with", lambda w: alpha(w, 0.5)),
    _way("layer-zeroed", "the first layer's update is missing", zeroed_layer),
    _way("noise-0.1", "each weight is off by .1 of the weights' spread", lambda w: noise(w, 0.1)),
    _way("noise-0.3", "each weight is off by .3 of the weights' spread", lambda w: noise(w, 0.3)),
    _way("noise-1", "each weight is off by as much as the weights' spread", lambda w: noise(w, 1)),
    _way("noise-3", "each weight is off by 3 times the weights' spread", lambda w: noise(w, 3)),
    _way("sign-flipped", "the update is subtracted in place of added", sign_flip),
    _way("factors-swapped", "A and B of each update are swapped", swapped),
    replace(
        _way("not-a-number", "one weight of the last layer is NaN", not_a_number),
        poisons=True,  # NaN times a weight of 0 is NaN: in each block of the cache that held one
    ),
    _way("rounded-int8", "weights are rounded to 8 bits", lambda w: rounded(w, 8)),
    _way("rounded-int4", "weights are rounded to 4 bits", lambda w: rounded(w, 4)),
    _way("rank-truncated", "two of eight ranks are left", truncated_rank),
    _trained("half-trained", "training stopped after a tenth of its steps", half_trained),
    _trained(
        "over-trained",
        "sixteen examples were learned by heart, at four times the rate",
        over_trained,
    ),
)
