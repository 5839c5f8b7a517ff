"""Load adapters on one base: checked, by name, the least recently used unloaded first.

Imported only inside a worker: it loads torch and PEFT.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from peft import LoraConfig, PeftModel, set_peft_model_state_dict

from monitor.probes.errors import FolderRefused, ProbeFailed
from monitor.probes.local import fitting
from monitor.probes.local.model import CausalModel
from monitor.probes.weights.adapter_folder import WEIGHTS, parsed_config, read_raw_config
from monitor.probes.weights.errors import WeightsRefused
from monitor.probes.weights.files import opened
from monitor.probes.weights.identity import identity_of
from monitor.probes.weights.safetensors import tensors_of

BASE: Final = "__base__"
"""PEFT's name for no adapter, in a batch of several."""
_IDENTITY: Final = "identity"
_REFUSALS: Final = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    AttributeError,
    AssertionError,
    ImportError,
    re.error,
)
"""The exceptions of PEFT for an adapter that does not fit a base."""


class Adapters:
    """At most ``keep`` adapters beside one base, by folder and hash.

    Parameters
    ----------
    base_name
        The base's name, with ``@revision`` if pinned; compared with the base that an adapter was
        trained on, if both are hub names.
    """

    def __init__(self, model: CausalModel, *, base_name: str, keep: int) -> None:
        self.keep = keep
        self._model = model
        self._base_name = base_name
        self._held: OrderedDict[tuple[Path, str], str] = OrderedDict()
        self._numbers = itertools.count(1)
        self._peft = _wrapped(model)
        self._tuner: Any = self._peft.base_model
        self._active: str | None = None
        self._only_plain = True

    def load(self, folder: Path, weights: str) -> str:
        """Return the adapter's name in batches, loading it if needed.

        Raises
        ------
        FolderRefused
            The adapter does not fit the base, or must not be loaded.
        ProbeFailed
            The folder no longer holds ``weights``: it is being replaced.
        """
        key = (folder, weights)
        if key not in self._held:
            self._held[key] = self._add(folder, weights)
        self._held.move_to_end(key)
        while len(self._held) > self.keep:
            _, oldest = self._held.popitem(last=False)
            self._remove(oldest)
        return self._held[key]

    @property
    def mixable(self) -> bool:
        """True if PEFT can route rows of one batch through different adapters.

        False for good once an adapter was loaded that is not plain LoRA: PEFT's wrappers for it
        remain, and most of them refuse mixed batches even of other adapters.
        """
        return self._only_plain

    def mixed(self, ids: torch.Tensor, names: Sequence[str]) -> torch.Tensor:
        """Run each row through its own adapter; returns hidden states ``(b, l, h)``."""
        self.activate(_IDENTITY)
        return self._model.hidden(ids, network=self._peft, adapter_names=list(names))

    def activate(self, name: str) -> None:
        """Route later calls through one adapter, or through none."""
        if name == self._active:
            return
        if name == BASE:
            self._tuner.disable_adapter_layers()
        else:
            self._tuner.enable_adapter_layers()
            self._peft.set_adapter(name)
        self._active = name

    def _add(self, folder: Path, weights: str) -> str:
        config, state = _read(folder, weights)
        fitting.require_base(folder, config, base_name=self._base_name)
        fitting.require_loadable(folder, config)
        fitting.require_fit(folder, config, state, network=self._peft.get_base_model())
        name = f"v{next(self._numbers)}"
        self._only_plain = self._only_plain and fitting.is_plain(config, state)
        # newly wrapped modules do not know the active adapter yet
        self._active = None
        try:
            self._insert(name, config, state)
        except _REFUSALS as error:
            self._remove(name)
            raise FolderRefused(folder, f"PEFT cannot load it: {error}"[:600]) from error
        return name

    def _insert(
        self, name: str, config: Mapping[str, Any], state: Mapping[str, torch.Tensor]
    ) -> None:
        # the weights come from the file; PEFT's other initialisations would alter the base
        settings = {**config, "init_lora_weights": False, "inference_mode": True}
        lora = LoraConfig.from_peft_type(**settings)
        self._peft.add_adapter(name, lora, autocast_adapter_dtype=False)
        loaded: Any = set_peft_model_state_dict(self._peft, dict(state), adapter_name=name)
        if loaded.unexpected_keys:
            raise ValueError(f"nothing in the base takes {loaded.unexpected_keys[0]}")
        missing = [key for key in loaded.missing_keys if f".{name}." in f"{key}."]
        if missing:
            raise ValueError(f"{WEIGHTS} lacks {missing[0].replace(f'.{name}', '')}")
        self._peft.eval().requires_grad_(requires_grad=False)

    def _remove(self, name: str) -> None:
        # PEFT warns if the active adapter is removed
        self._active = None
        self.activate(_IDENTITY)
        if name in self._peft.peft_config:
            self._peft.delete_adapter(name)


def _read(folder: Path, weights: str) -> tuple[Mapping[str, Any], Mapping[str, torch.Tensor]]:
    """Read an adapter once, so that the checked and hashed bytes are the loaded ones."""
    try:
        raw = read_raw_config(folder)
        parsed_config(raw)
        with opened(folder, WEIGHTS) as file:
            tensors_of(file)
            body = file.read(0, file.size)
        found = identity_of(raw, weights=hashlib.sha256(body).hexdigest())
    except WeightsRefused as refused:
        raise FolderRefused(folder, refused.reason) from refused
    if found != weights:
        raise ProbeFailed(f"{folder} changed while it was read", permanent=False)
    state = safetensors.torch.load(body)
    for name, tensor in state.items():
        if not torch.isfinite(tensor.float()).all():
            raise FolderRefused(folder, f"tensor {name} holds NaN or infinite values")
    return json.loads(raw), state


def _wrapped(model: CausalModel) -> PeftModel:
    """Wrap a base with an adapter that changes nothing.

    PEFT can remove an adapter that failed to load, but not the first one's wrapping of the base.
    """
    first = next(
        name for name, part in model.network.named_modules() if isinstance(part, torch.nn.Linear)
    )
    config = LoraConfig(r=1, target_modules=f"^{re.escape(first)}$", inference_mode=True)
    peft = PeftModel(model.network, config, adapter_name=_IDENTITY, autocast_adapter_dtype=False)
    return peft.eval()
