"""Weight health: what an adapter's files say, read from safetensors by numpy alone.

Nothing is executed, nothing is loaded whole: a file is checked against the format before a
number of it is read, and numbers are read block by block.
"""

from monitor.probes.weights.errors import Refusal, WeightsRefused
from monitor.probes.weights.health import ModuleHealth
from monitor.probes.weights.inspection import Inspection, inspect_folder

__all__ = ["Inspection", "ModuleHealth", "Refusal", "WeightsRefused", "inspect_folder"]
