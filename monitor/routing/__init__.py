"""Who answers for an adapter: the route table, and when traffic moves.

:mod:`monitor.routing.table` is read and changed by people and the API,
:class:`monitor.routing.fallback.Breaker` moves traffic away from a critical version and
back, and a router of :data:`ROUTERS` carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from monitor.routing.routers import Router, TableOnly
from monitor.store.database import Database

ROUTERS: Final[Mapping[str, Callable[[Database], Router]]] = MappingProxyType({"none": TableOnly})
"""One entry for each way to carry a route out; the keys are words of the config."""
