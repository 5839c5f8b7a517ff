"""Check that an adapter fits a base and may be loaded; errors name file and tensor."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from monitor.probes.errors import FolderRefused
from monitor.probes.local.folders import is_hub_name

_PLAIN_STARTS: Final = (True, False, None, "gaussian", "orthogonal")
"""Initialisations for training that leave the base unchanged."""
_REBUILDING: Final = (
    "layer_replication",
    "megatron_config",
    "loftq_config",
    "eva_config",
)
"""Settings that alter the base or import a module that the file names."""
_TOKENS: Final = "trainable_token_indices"
"""PEFT wraps the embedding for these, even for none, and never unwraps it: no other adapter
would load afterwards."""
_TENSOR: Final = re.compile(
    r"base_model\.model\.(?P<module>.+?)"
    r"\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
    r"(\.weight|\.bias)?"
)
_HEADS: Final = ("lm_head", "embed_out", "output_projection")

LARGEST_UNUSED: Final = 16
"""Times the largest rank of a tensor that a rank may be which no tensor needs to have."""


def require_base(folder: Path, config: Mapping[str, Any], *, base_name: str) -> None:
    """Compare an adapter's stated base with this one, if both are hub names.

    Organisations differ for mirrors of one model, so only the last part is compared; folder names
    are not, and shapes decide later.
    """
    name, _, revision = base_name.partition("@")
    trained_on = config.get("base_model_name_or_path")
    if not isinstance(trained_on, str) or not (is_hub_name(name) and is_hub_name(trained_on)):
        return
    if _last_part(name) != _last_part(trained_on):
        raise FolderRefused(
            folder, f"the adapter was trained on {trained_on}, the probe's base is {name}"
        )
    trained_revision = config.get("revision")
    if revision and trained_revision and revision != trained_revision:
        raise FolderRefused(
            folder,
            f"the adapter was trained on revision {trained_revision} of {trained_on},"
            f" the probe's base is revision {revision}",
        )


def require_loadable(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse adapters that are not LoRA, would alter the base, or would run code."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise FolderRefused(folder, f"peft_type is {kind!r}; only LORA is scored")
    altering = [key for key in _REBUILDING if config.get(key)]
    altering += [_TOKENS] if config.get(_TOKENS) is not None else []
    if altering:
        raise FolderRefused(folder, f"{altering[0]} would alter the base")
    start = config.get("init_lora_weights", True)
    if start not in _PLAIN_STARTS:
        reason = f"init_lora_weights {start!r} alters the base: save it converted to plain LoRA"
        raise FolderRefused(folder, reason)


def require_fit(
    folder: Path,
    config: Mapping[str, Any],
    state: Mapping[str, torch.Tensor],
    *,
    network: torch.nn.Module,
) -> None:
    """Check that every target and tensor has a module of its shape."""
    modules = {_bare(name): part for name, part in network.named_modules()}
    targets = config.get("target_modules")
    for target in targets if isinstance(targets, list) else ():
        if not any(name == target or name.endswith(f".{target}") for name in modules):
            raise FolderRefused(folder, f"the base has no module {target} (target_modules)")
    if not any(_TENSOR.fullmatch(name) for name in state):
        raise FolderRefused(folder, "it holds no LoRA tensor")
    _require_ranks(folder, config, state)
    for name, tensor in sorted(state.items()):
        found = _TENSOR.fullmatch(name)
        if found is None:
            continue
        module = modules.get(found["module"])
        if module is None:
            raise FolderRefused(folder, f"tensor {name}: the base has no module {found['module']}")
        _require_shape(folder, name, tensor=tensor, part=found["part"], module=module)


def _require_ranks(
    folder: Path, config: Mapping[str, Any], state: Mapping[str, torch.Tensor]
) -> None:
    """Refuse ranks far above the file's: PEFT allocates what the config says."""
    held = max((min(one.shape) for one in state.values() if one.dim() > 1), default=1)
    said = max([config["r"], *(config.get("rank_pattern") or {}).values()])
    if said > LARGEST_UNUSED * max(1, held):
        reason = f"its config says rank {said:,}, its tensors have {held:,} at most"
        raise FolderRefused(folder, reason)


def is_plain(config: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> bool:
    """True if it is LoRA below the head and nothing else, which PEFT mixes in a batch."""
    special = (
        "use_dora",
        "alora_invocation_tokens",
        "modules_to_save",
        "trainable_token_indices",
        "target_parameters",
        "use_qalora",
        "use_bdlora",
    )
    plain = not any(config.get(key) for key in special) and config.get("bias", "none") == "none"
    matches = [_TENSOR.fullmatch(name) for name in state]
    return plain and all(
        match is not None
        and match["part"] in {"lora_A", "lora_B"}
        and match["module"].rpartition(".")[2] not in _HEADS
        for match in matches
    )


def _require_shape(
    folder: Path, name: str, *, tensor: torch.Tensor, part: str, module: torch.nn.Module
) -> None:
    inputs, outputs = getattr(module, "in_features", None), getattr(module, "out_features", None)
    if inputs is None or outputs is None or part not in {"lora_A", "lora_B"}:
        return
    fits = tensor.shape[-1] == inputs if part == "lora_A" else tensor.shape[0] == outputs
    if not fits:
        raise FolderRefused(
            folder,
            f"tensor {name} is {tuple(tensor.shape)}, the base's module takes {inputs}"
            f" and gives {outputs}",
        )


def _bare(name: str) -> str:
    """Return a module's name as in a base without adapters."""
    return name.replace(".base_layer", "")


def _last_part(name: str) -> str:
    return name.rpartition("/")[2].lower()
