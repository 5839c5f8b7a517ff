"""The files of an adapter that are copied."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from monitor.probes.weights.adapter_folder import CONFIG, WEIGHTS

WANTED: Final[Mapping[str, int]] = MappingProxyType(
    {
        WEIGHTS: 16 << 30,
        "tokenizer.json": 64 << 20,
        "tokenizer_config.json": 64 << 20,
        "chat_template.jinja": 1 << 20,
        "trainer_state.json": 64 << 20,
        CONFIG: 1 << 20,
    }
)
"""The most bytes of each. The config is the last: where it is, the others are."""
NEEDED: Final = frozenset({CONFIG, WEIGHTS})
