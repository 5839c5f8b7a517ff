"""What the gateway can be told: the section ``[gateway]`` of the config."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from monitor.patience import ConnectionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Where it listens, whom it asks, and how much it takes upon itself.

    Empty ``upstreams``: ``serving.engines``; empty ``service``: the address of ``[server]``;
    empty ``key``: the admin key in the data folder. With an ``engine_key`` engines get it in
    place of the client's ``Authorization``. ``passes`` are paths of engines that clients may ask
    beside those of ``monitor.gateway.passing``; one that ends in a slash stands for all below it.
    ``trusted_proxies`` are networks of load balancers, which may hold connections for many.
    """

    host: str = "127.0.0.1"
    port: int = 8441
    upstreams: tuple[str, ...] = ()
    engine_key: str = field(default="", repr=False)
    service: str = ""
    key: str = field(default="", repr=False)
    passes: tuple[str, ...] = ()
    max_body: int = 32 * 1024 * 1024
    max_bodies: int = 512 * 1024 * 1024
    """Bytes of all requests under way; no address may hold more than is still free."""
    trusted_proxies: tuple[str, ...] = ()
    connections: ConnectionSettings = field(default_factory=ConnectionSettings)
    connect_timeout: timedelta = timedelta(seconds=5)
    idle_timeout: timedelta = timedelta(minutes=5)
    total_timeout: timedelta = timedelta(minutes=10)
    lame_duck: timedelta = timedelta(seconds=3)
    """How long it says that it is about to end before it stops listening."""
    drain: timedelta = timedelta(seconds=30)
    send_text: bool = True
    """Whether prompts and answers go with the records; without, what is measured on them is not."""
    top_logprobs: int = 5
    queue_records: int = 10_000
    queue_bytes: int = 64 * 1024 * 1024
    shadow_requests: int = 4
    """Copies for a shadow arm that may be under way at a time; more are dropped and counted."""
    resident_adapters: int = 8
    """How many adapters an engine keeps loaded (vLLM's ``--max-loras``)."""
