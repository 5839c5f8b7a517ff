"""The route table of each adapter, and the automatic moves of its traffic.

:mod:`monitor.traffic.table` is read and changed by people and the API,
:class:`monitor.traffic.fallback.breaker.Breaker` moves traffic away from a critical version and
back, and a router of :data:`monitor.traffic.routers.ROUTERS` carries it out.
"""
