"""Who answers for an adapter: the route table, and when traffic moves.

:mod:`monitor.routing.table` is read and changed by people and the API,
:class:`monitor.routing.fallback.Breaker` moves traffic away from a critical version and
back, and a router of :data:`monitor.routing.routers.ROUTERS` carries it out.
"""
