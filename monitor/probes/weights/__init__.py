"""Inspect an adapter's weights, reading safetensors with numpy alone.

Nothing is executed and nothing is loaded whole: a file's format is checked before any of its
numbers are read, and numbers are read block by block.
"""

from monitor.probes.weights.errors import Remedy, WeightsRefused
from monitor.probes.weights.health import ModuleHealth
from monitor.probes.weights.inspection import Inspection, inspect_folder

__all__ = ["Inspection", "ModuleHealth", "Remedy", "WeightsRefused", "inspect_folder"]
