"""Who answers for an adapter: the route table, and when traffic moves.

:mod:`monitor.routing.table` is read and changed by people and the API,
:class:`monitor.routing.fallback.Breaker` moves traffic away from a critical version and
back, and a router of :data:`ROUTERS` carries it out.
"""

from __future__ import annotations

from monitor.routing.routers import ROUTERS

__all__ = ["ROUTERS"]
