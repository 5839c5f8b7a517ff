"""Which models are served: one base model and adapters that come and go."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from transformers import PreTrainedModel

from examples.engine.errors import RefusalError, invalid_input, not_found
from examples.weights import load_base, load_merged


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Served:
    """A model that answers under a name; requests keep it alive while they run."""

    name: str
    root: Path
    model: PreTrainedModel
    parent: str | None = None
    created: int = field(default_factory=lambda: int(time.time()))


class Shelf:
    """Names to models; safe to use from any thread.

    Each adapter is kept as a merged copy of the base model (4 MB for the demo's
    million parameters): no extra products at every layer, and a request that
    runs while its adapter is unloaded or replaced ends on the weights it began with.
    """

    def __init__(self, base: Path, *, base_name: str = "base") -> None:
        self._lock = threading.Lock()
        self._base = Served(name=base_name, root=base, model=load_base(base))
        self._served = {base_name: self._base}

    @property
    def base(self) -> Served:
        """The base model."""
        return self._base

    def all(self) -> list[Served]:
        """Everything served, base model first, then in order of loading."""
        with self._lock:
            return list(self._served.values())

    def find(self, name: str) -> Served:
        """Find a model by the name that clients use; unknown names are 404."""
        with self._lock:
            served = self._served.get(name)
        if served is None:
            message = f"The model `{name}` does not exist. Valid aliases: {self._base.name}."
            raise not_found(message, param="model")
        return served

    def load(self, name: str, path: Path, *, in_place: bool = False) -> None:
        """Read an adapter folder and serve it as ``name``.

        Raises
        ------
        RefusalError
            400 when the name is the base model's or taken (unless ``in_place``),
            404 when the folder holds no adapter, 500 when it cannot be read or
            does not fit the base model.
        """
        self._check_free(name, in_place=in_place)
        served = Served(name=name, root=path, model=self._read(name, path), parent=self._base.name)
        with self._lock:
            self._served[name] = served

    def unload(self, name: str) -> None:
        """Stop serving an adapter; requests that run end undisturbed. Unknown names are 404."""
        with self._lock:
            if name == self._base.name or name not in self._served:
                raise not_found(f"The lora adapter '{name}' cannot be found.")
            del self._served[name]

    def _check_free(self, name: str, *, in_place: bool) -> None:
        if name == self._base.name:
            raise invalid_input(f"The lora adapter name '{name}' is the name of the base model.")
        with self._lock:
            taken = name in self._served
        if taken and not in_place:
            raise invalid_input(
                f"The lora adapter '{name}' has already been loaded. If you want to load the "
                "adapter in place, set 'load_inplace' to True."
            )

    def _read(self, name: str, path: Path) -> PreTrainedModel:
        try:
            return load_merged(path, self._base.root)
        except FileNotFoundError as error:
            raise not_found(f"Loading lora {name} failed: No adapter found for {path}") from error
        except (ValueError, RuntimeError, OSError) as error:
            message = f"Loading lora {name} failed: {error}"
            raise RefusalError(message=message, kind="InternalServerError", code=500) from error
