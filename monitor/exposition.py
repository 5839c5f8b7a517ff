"""Metrics in Prometheus's text format, as every process exposes them, and a team's part of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector


def new_registry() -> CollectorRegistry:
    """Return a separate registry with every process's metrics."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class OfAdapters:
    """A collector of those series of a registry that are of some adapters."""

    def __init__(self, registry: Collector, adapters: Collection[str]) -> None:
        self._registry = registry
        self._adapters = adapters

    def collect(self) -> Iterator[Metric]:
        """Return the families that have any, with these alone."""
        for family in self._registry.collect():
            chosen = Metric(family.name, family.documentation, family.type, family.unit)
            chosen.samples = [
                one for one in family.samples if one.labels.get("adapter") in self._adapters
            ]
            if chosen.samples:
                yield chosen


def exposition(registry: Collector, *, adapters: Collection[str] | None = None) -> bytes:
    """Return the text of everything, or of those ``adapters`` alone."""
    return generate_latest(registry if adapters is None else OfAdapters(registry, adapters))
