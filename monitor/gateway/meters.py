"""What the gateway tells Prometheus of itself."""

from __future__ import annotations

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import generate_latest

_OVERHEAD: Final = (0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_FIRST_BYTE: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

NO_ADAPTER: Final = ""
"""The label of requests whose model is no adapter with a route: clients write any name."""


class Meters:
    """Counters and histograms of one gateway process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        arm = ("adapter", "version", "arm")
        self.requests = Counter(
            "driftline_gateway_requests",
            "Requests answered, by who answered",
            (*arm, "status"),
            registry=self.registry,
        )
        self.retries = Counter(
            "driftline_gateway_retries",
            "Requests asked a second time, by the arm that could not answer",
            (*arm, "reason"),
            registry=self.registry,
        )
        self.broken = Counter(
            "driftline_gateway_broken",
            "Answers that ended early: the client hung up, or the engine did",
            ("adapter", "by"),
            registry=self.registry,
        )
        self.overhead = Histogram(
            "driftline_gateway_overhead_seconds",
            "Seconds that the gateway itself takes until the first byte",
            ("adapter",),
            buckets=_OVERHEAD,
            registry=self.registry,
        )
        self.first_byte = Histogram(
            "driftline_gateway_first_byte_seconds",
            "Seconds from the complete request to the first byte of the answer",
            ("adapter", "version"),
            buckets=_FIRST_BYTE,
            registry=self.registry,
        )
        self.generation = Gauge(
            "driftline_gateway_route_generation",
            "Generation of the route that this gateway goes by",
            ("adapter",),
            registry=self.registry,
        )
        self.routes_seen = Gauge(
            "driftline_gateway_routes_timestamp_seconds",
            "When the service last confirmed the routes; 0: not since the start",
            registry=self.registry,
        )

    def exposition(self) -> bytes:
        """Write everything in Prometheus's text format."""
        return generate_latest(self.registry)
