"""The settings of the gateway: the section ``[gateway]`` of the config."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from monitor.patience import ConnectionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """Where the gateway listens, which engines it asks, and its limits.

    Empty ``upstreams`` means ``serving.engines``; empty ``service`` the address of ``[server]``;
    empty ``key`` the admin key in the data folder. If set, ``engine_key`` replaces the client's
    ``Authorization`` in requests to engines. ``passes`` are further paths of engines that clients
    may ask, beside those of ``monitor.gateway.passing``; one that ends in a slash includes all
    paths below it. ``trusted_proxies`` are networks of load balancers, which may hold connections
    for many clients.
    """

    host: str = "127.0.0.1"
    port: int = 8441
    upstreams: tuple[str, ...] = ()
    engine_key: str = field(default="", repr=False)
    service: str = ""
    key: str = field(default="", repr=False)
    keys: bool = False
    """True to admit only clients with a key of the scope ``ask``, and to ``/metrics`` ``read``."""
    passes: tuple[str, ...] = ()
    max_body: int = 32 * 1024 * 1024
    max_bodies: int = 512 * 1024 * 1024
    """Bytes of all open requests' bodies; no address may hold more than is still free."""
    trusted_proxies: tuple[str, ...] = ()
    connections: ConnectionSettings = field(default_factory=ConnectionSettings)
    connect_timeout: timedelta = timedelta(seconds=5)
    idle_timeout: timedelta = timedelta(minutes=5)
    total_timeout: timedelta = timedelta(minutes=10)
    lame_duck: timedelta = timedelta(seconds=3)
    """How long it announces its end before it stops listening."""
    drain: timedelta = timedelta(seconds=30)
    send_text: bool = True
    """True to send prompts and answers with the records; else nothing is measured on them."""
    top_logprobs: int = 5
    queue_records: int = 10_000
    queue_bytes: int = 64 * 1024 * 1024
    shadow_requests: int = 4
    """Copies for a shadow arm in flight at a time; more are dropped and counted."""
    resident_adapters: int = 8
    """The number of adapters an engine keeps loaded (vLLM's ``--max-loras``)."""
    preload: bool = True
    """True to load the versions worth keeping, by requests of one token."""
