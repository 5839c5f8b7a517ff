"""What looks like a change and is none: nobody may be told of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import torch

from benchmarks.adapters.ways.way import (
    Ask,
    Expected,
    Fault,
    Moment,
    OfClients,
    OfEngine,
    OfWeights,
    Setup,
    Shelf,
    Way,
    Weights,
)

FAMILY: Final = "harmless"
A_DAY: Final = 60
"""Requests from one peak of the traffic to the next."""


def saved_again(weights: Weights) -> Weights:
    """Save the same weights as fp16."""
    halves = {name: tensor.to(torch.float16) for name, tensor in weights.tensors.items()}
    return Weights(tensors=halves, config=weights.config)


def as_it_was(setup: Setup, _: Shelf) -> Setup:
    """Start the same engine anew."""
    return setup


def unchanged(ask: Ask, _: Moment) -> Ask:
    """Ask the same."""
    return ask


def seeded(ask: Ask, moment: Moment) -> Ask:
    """Clients give a seed for sampling."""
    return replace(ask, body={**ask.body, "seed": moment.number})


def day_and_night(number: int) -> float:
    """Traffic between a third and three times the usual."""
    return math.pow(3.0, math.sin(2 * math.pi * number / A_DAY))


def _way(name: str, says: str, fault: Fault) -> Way:
    return Way(
        name=name,
        family=FAMILY,
        says=says,
        fault=fault,
        expected=Expected(seen=False),
        harmless=True,
    )


_FAULTS: Final[Mapping[str, tuple[str, Fault]]] = {
    "saved-again": ("the same weights are saved as fp16", OfWeights(change=saved_again)),
    "load": ("requests come ten times as fast", OfClients(change=unchanged, pace=lambda _: 10.0)),
    "day-and-night": (
        "traffic swings between a third and three times the usual",
        OfClients(change=unchanged, pace=day_and_night),
    ),
    "sampling-seed": ("clients give a seed for sampling", OfClients(change=seeded)),
    "restart": ("the engine is restarted as it was", OfEngine(change=as_it_was)),
    "replica-added": (
        "a second engine of the same adapters joins",
        OfEngine(change=as_it_was, beside=True),
    ),
}
WAYS: Final = tuple(_way(name, says, fault) for name, (says, fault) in _FAULTS.items())
