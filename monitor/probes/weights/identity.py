"""Identify an adapter by a hash of its tensors and all of its config that matters.

The same tensors with twice the alpha are another adapter, and an adapter saved again by another
peft is the same one. So the hash covers the weights file as it is, and the config by its meaning:
without layout, defaults, and fields that do not affect the result.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from monitor.probes.weights.errors import damaged

LEFT_OUT: Final = frozenset(
    {
        # where it came from
        *("auto_mapping", "base_model_name_or_path", "revision", "peft_version", "task_type"),
        # how it was trained, and is run
        *("inference_mode", "init_lora_weights", "lora_dropout", "runtime_config"),
        *("loftq_config", "eva_config", "corda_config", "kasa_config", "lora_ga_config"),
        *("monteclora_config", "velora_config", "ephemeral_gpu_offload", "ensure_weight_tying"),
        *("megatron_config", "megatron_core", "qalora_group_size"),
    }
)
"""Fields that do not affect what the tensors compute; unknown fields count."""
_UNORDERED: Final = frozenset(
    {
        *("target_modules", "target_parameters", "modules_to_save", "exclude_modules"),
        *("layers_to_transform", "layers_pattern"),
    }
)
_DEFAULTS: Final = {"bias": "none"}


def identity_of(config: bytes, *, weights: str) -> str:
    """Hash an adapter from its ``adapter_config.json`` and the SHA-256 of its weights file.

    Raises
    ------
    WeightsRefused
        The config is not a JSON object.

    >>> one = identity_of(b'{"r": 8, "lora_alpha": 16}', weights="ab")
    >>> one == identity_of(b'{"lora_alpha":16.0, "r":8, "use_dora":false}', weights="ab")
    True
    >>> one == identity_of(b'{"r": 8, "lora_alpha": 32}', weights="ab")
    False
    """
    try:
        read = json.loads(config)
        meant = {name: _plain(name, value) for name, value in read.items() if _decides(name, value)}
        said = json.dumps(meant, sort_keys=True, separators=(",", ":"))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise damaged(f"adapter_config.json: {error}") from None
    return hashlib.sha256(f"config\0{said}\nweights\0{weights}\n".encode()).hexdigest()


def _decides(name: str, value: Any) -> bool:
    is_default = value is None or value is False or value in ([], {}, "")
    return name not in LEFT_OUT and not is_default and value != _DEFAULTS.get(name)


def _plain(name: str, value: Any) -> Any:
    if name in _UNORDERED and isinstance(value, list):
        return sorted(set(value), key=str)
    return _number(value)


def _number(value: Any) -> Any:
    """Write 16.0 as 16, at any depth."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _number(one) for name, one in value.items()}
    return [_number(one) for one in value] if isinstance(value, list) else value
