"""The files of an adapter that are copied: those that its identity covers, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from monitor.probes.weights.adapter_folder import CONFIG, WEIGHTS

WANTED: Final[Mapping[str, int]] = MappingProxyType({WEIGHTS: 16 << 30, CONFIG: 1 << 20})
"""The most bytes of each. The config is the last: where it is, the weights are."""
