"""What a way to go wrong is: one function, what it is a fault of, and what should come of it.

A function changes exactly one thing: an adapter's weights, what is served under its name, the
engine, or what clients ask. The experiment applies it; the function itself touches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

import torch

from benchmarks.adapters.tasks import Task
from monitor.probes.search import has_bfloat16

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weights:
    """An adapter's files: tensors by name, and the config that says how they are scaled."""

    tensors: Tensors
    config: Mapping[str, Any]


class Shelf(Protocol):
    """Folders of adapters that a fault of serving may take in place of the right one."""

    @property
    def adapter(self) -> str: ...
    @property
    def base(self) -> Path: ...

    def version(self, name: str, *, of: str | None = None) -> Path:
        """Weights of the adapter, or of another one: ``v1``, ``v2``, ``over-trained`` and so on."""
        ...

    def nothing(self) -> Path:
        """An adapter that changes nothing: what serving the base under its name is."""
        ...

    def on_revision(self) -> Path:
        """The same adapter trained on another revision of the base."""
        ...

    def revision(self) -> Path:
        """Another revision of the base."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How an engine is started."""

    model: Path
    dtype: str = field(default_factory=lambda: "bfloat16" if has_bfloat16() else "float32")
    """A CPU that does not multiply bfloat16 takes several times as long in it."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """What the engine takes of the model's config in another way."""
    arguments: Sequence[str] = ()
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request of a client."""

    messages: Sequence[Mapping[str, str]]
    user: str
    body: Mapping[str, Any]
    """Everything else of the request: ``temperature``, ``max_tokens``, ``stop`` …"""
    patience_s: float | None = None
    """After which the client hangs up."""
    times: int = 1

    @property
    def question(self) -> str:
        """The last thing the user says."""
        return self.messages[-1]["content"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a request is made: its number since the change, its task, and a source of chance."""

    number: int
    task: Task
    chance: Random


ChangesWeights = Callable[[Weights], Weights]
ChoosesFolder = Callable[[Shelf], Path]
ChangesEngine = Callable[[Setup, Shelf], Setup]
ChangesAsk = Callable[[Ask, Moment], Ask]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfWeights:
    """The adapter's folder is damaged and loaded again under its name."""

    change: ChangesWeights


@dataclass(frozen=True, slots=True, kw_only=True)
class OfServing:
    """Another folder is loaded under the adapter's name.

    ``cached``: it answers the clients' questions first, then the right one is loaded again and
    the engine keeps what it has cached of the other.
    """

    choose: ChoosesFolder
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OfEngine:
    """An engine that is started otherwise takes over (``beside``: joins the other one)."""

    change: ChangesEngine
    beside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OfClients:
    """Clients ask something else, or otherwise, or at another ``pace`` (times the usual)."""

    change: ChangesAsk
    pace: Callable[[int], float] = lambda _: 1.0


Fault = OfWeights | OfServing | OfEngine | OfClients


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What should come of it: somebody is told, the blame is one of these, traffic moves."""

    seen: bool
    blame: Sequence[str] = ()
    moved: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to go wrong, or, ``harmless``, one that only looks like it."""

    name: str
    family: str
    says: str
    fault: Fault
    expected: Expected
    harmless: bool = False
    poisons: bool = False
    """The engine is not to be trusted after it: what it left in the cache spoils other answers."""
