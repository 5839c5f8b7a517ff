"""Models as they answer: a base, one adapter on it, an adapter per row, another model.

Imported only inside a worker: it loads torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from monitor.probes.local.adapters import Adapters
from monitor.probes.local.model import CausalModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A model without adapters."""

    model: CausalModel

    @property
    def device(self) -> torch.device:
        return self.model.device

    def hidden(self, ids: torch.Tensor, texts: Sequence[int]) -> torch.Tensor:  # noqa: ARG002 - of the protocol
        return self.model.hidden(ids)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.model.logits(hidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swapped:
    """The base with one adapter for all rows, or with none."""

    model: CausalModel
    adapters: Adapters
    name: str

    @property
    def device(self) -> torch.device:
        return self.model.device

    def hidden(self, ids: torch.Tensor, texts: Sequence[int]) -> torch.Tensor:  # noqa: ARG002 - of the protocol
        self.adapters.activate(self.name)
        return self.model.hidden(ids)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        self.adapters.activate(self.name)
        return self.model.logits(hidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedAdapters:
    """The base with each text's own adapter; none of them may have its own head."""

    model: CausalModel
    adapters: Adapters
    names: Sequence[str]

    @property
    def device(self) -> torch.device:
        return self.model.device

    def hidden(self, ids: torch.Tensor, texts: Sequence[int]) -> torch.Tensor:
        return self.adapters.mixed(ids, [self.names[i] for i in texts])

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.model.logits(hidden)
