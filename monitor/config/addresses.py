"""Check addresses, networks and limits of HTTP settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from datetime import timedelta

from monitor.addresses import address_fault, is_list, list_fault
from monitor.capture.wire import MAX_TOP
from monitor.config.places import ServerSection, ServiceSection, ServingSection
from monitor.gateway.settings import GatewaySettings


def service_problems(service: ServiceSection) -> list[str]:
    """List the problems of addresses in ``[service]``."""
    return _fit("service.traces", [service.traces])


def server_problems(server: ServerSection) -> list[str]:
    """List the problems of ``[server]``."""
    found = [*_port("server.port", server.port), *_fit("server.public_url", [server.public_url])]
    if server.worker_port:
        found += _port("server.worker_port", server.worker_port)
    if server.deadline <= timedelta():
        found.append("server.deadline: must be longer than 0")
    found += _proxies("server.trusted_proxies", server.trusted_proxies)
    found += [f"server.connections.{one}" for one in server.connections.problems]
    return found


def serving_problems(serving: ServingSection) -> list[str]:
    """List the problems of ``[serving]``."""
    return _engines("serving.engines", serving.engines)


def embedding_problems(url: str | None) -> list[str]:
    """List the problems of ``[probes.embedding]``."""
    return _fit("probes.embedding.url", [url] if url else [])


def gateway_problems(gateway: GatewaySettings) -> list[str]:
    """List the problems of ``[gateway]``."""
    found = [
        f"gateway.{name}: must be longer than 0"
        for name in ("connect_timeout", "idle_timeout", "total_timeout")
        if getattr(gateway, name) <= timedelta()
    ]
    found += _port("gateway.port", gateway.port)
    if not 0 <= gateway.top_logprobs <= MAX_TOP:
        found.append(f"gateway.top_logprobs: must be from 0 to {MAX_TOP}")
    found += _engines("gateway.upstreams", gateway.upstreams)
    found += _fit("gateway.service", [gateway.service])
    found += _proxies("gateway.trusted_proxies", gateway.trusted_proxies)
    found += [f"gateway.connections.{one}" for one in gateway.connections.problems]
    found += [
        f"gateway.passes: {path!r:.60} is no path; write one such as /v1/rerank, or /v1/audio/ for"
        " all below it"
        for path in gateway.passes
        if not path.startswith("/") or path == "/" or not path.isascii() or set(path) & set("%?#* ")
    ]
    return found


def _port(where: str, port: int) -> list[str]:
    return [] if 1 <= port <= 65_535 else [f"{where}: {port} is no port"]  # noqa: PLR2004 (the last)


def _engines(where: str, addresses: Iterable[str]) -> list[str]:
    """List the problems of engines' addresses, of which some may stand for many."""
    written = tuple(addresses)
    lists = filter(is_list, written)
    return [
        *_fit(where, (one for one in written if not is_list(one))),
        *(f"{where}: {problem}" for problem in map(list_fault, lists) if problem),
    ]


def _fit(where: str, urls: Iterable[str]) -> list[str]:
    return [f"{where}: {problem}" for problem in map(address_fault, filter(None, urls)) if problem]


def _proxies(where: str, networks: Iterable[str]) -> Iterator[str]:
    for one in networks:
        try:
            ipaddress.ip_network(one)
        except ValueError:
            yield f"{where}: {one!r:.60} is no network such as 10.0.0.0/16, and no address"
