"""Models on this machine: a base and its adapters in their own process.

Only the worker's modules import torch.
"""

from monitor.probes.local.client import LocalProbe
from monitor.probes.local.settings import Device, LocalSettings

__all__ = ["Device", "LocalProbe", "LocalSettings"]
