"""Models on this machine: a base and its adapters in a process of their own.

Nothing here imports torch but what the worker imports.
"""

from monitor.probes.local.client import LocalProbe
from monitor.probes.local.settings import Device, LocalSettings

__all__ = ["Device", "LocalProbe", "LocalSettings"]
