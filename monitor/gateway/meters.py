"""The gateway's Prometheus metrics."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from monitor.exposition import exposition, new_registry
from monitor.gateway.loading import Loaded, Loading

_OVERHEAD: Final = (0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_FIRST_BYTE: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

NO_ADAPTER: Final = ""
"""The label of requests whose model has no route, since clients may write any name."""


class Meters:
    """Counters and histograms of one gateway process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = new_registry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        arm = ("adapter", "version", "arm")
        self.requests = counter(
            "driftline_gateway_requests", "Requests answered, by who answered", (*arm, "status")
        )
        self.retries = counter(
            "driftline_gateway_retries",
            "Requests asked a second time, by the arm that could not answer",
            (*arm, "reason"),
        )
        self.broken = counter(
            "driftline_gateway_broken",
            "Answers that ended early: the client hung up, or the engine did",
            ("adapter", "by"),
        )
        self.overhead = histogram(
            "driftline_gateway_overhead_seconds",
            "Seconds that the gateway itself takes until the first byte",
            ("adapter",),
            buckets=_OVERHEAD,
        )
        self.first_byte = histogram(
            "driftline_gateway_first_byte_seconds",
            "Seconds from the complete request to the first byte of the answer",
            ("adapter", "version"),
            buckets=_FIRST_BYTE,
        )
        self.generation = gauge(
            "driftline_gateway_route_generation",
            "Generation of the route that this gateway goes by",
            ("adapter",),
        )
        self.epoch = gauge(
            "driftline_gateway_route_epoch",
            "Epoch of the table that this route is from, in seconds since 1970",
            ("adapter",),
        )
        self.refused = gauge(
            "driftline_gateway_route_refused",
            "1 while the service tells an older route than the one gone by, else 0",
            ("adapter",),
        )
        self.routes_seen = gauge(
            "driftline_gateway_routes_timestamp_seconds",
            "When the service last confirmed the routes; 0: not since the start",
        )

        self.records = counter(
            "driftline_gateway_records",
            "Sampled requests, by what became of the record",
            ("adapter", "outcome"),
        )
        self.shadows = counter(
            "driftline_gateway_shadows",
            "Copies of requests for the shadow arm, by what became of them",
            ("adapter", "version", "outcome"),
        )
        self.queue = gauge(
            "driftline_gateway_queue_records", "Records that wait to be sent to the service"
        )
        self.switch = gauge(
            "driftline_gateway_switch_seconds",
            "Seconds that a stream begins later where the replica does not hold the version",
            ("adapter", "version"),
        )
        self._shown: set[Loaded] = set()
        self.preloads = counter(
            "driftline_gateway_preloads",
            "Requests of one token that load a version worth keeping, by what became of them",
            ("adapter", "version", "outcome"),
        )
        self.keep_loaded = gauge(
            "driftline_gateway_keep_loaded",
            "1 for versions that engines should keep loaded, else 0",
            ("adapter", "version"),
        )

    def turned_away(self, status: int) -> None:
        """Count a request that the gateway refused for no adapter."""
        self.requests.labels(NO_ADAPTER, "", "", str(status)).inc()

    def show(self, loading: Loading) -> None:
        """Update the metrics that are computed from first bytes."""
        kept = set(loading.to_keep())
        for gone in self._shown - set(loading.seen):
            for gauge in (self.keep_loaded, self.switch):
                with suppress(KeyError):
                    gauge.remove(*gone)
        self._shown = set(loading.seen)
        for one in loading.seen:
            self.keep_loaded.labels(*one).set(one in kept)
            cost = loading.switch_seconds(one)
            if cost is not None:
                self.switch.labels(*one).set(cost)

    def exposition(
        self, names: Sequence[str] = (), *, adapters: Collection[str] | None = None
    ) -> bytes:
        """Write these metrics in Prometheus's text format; without names all of them.

        All of them are 2 MB and take .3 s with 500 adapters: call this from a thread.

        Parameters
        ----------
        adapters
            Those whose series are written, and none of other series; None: all.
        """
        chosen = self.registry.restricted_registry(names) if names else self.registry
        return exposition(chosen, adapters=adapters)
