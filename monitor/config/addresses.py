"""What HTTP is answered and asked by: addresses, networks and limits that cannot be."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

from monitor.config.sections import Config
from monitor.domain import is_web_address


def contradictions(config: Config) -> list[str]:
    """Say which addresses are none, or carry what no address should."""
    gateway = config.gateway
    asked = {
        "serving.engines": config.serving.engines,
        "gateway.upstreams": gateway.upstreams,
        "gateway.service": tuple(filter(None, [gateway.service])),
        "server.public_url": tuple(filter(None, [config.server.public_url])),
    }
    found = [
        f"{where}: {problem}"
        for where, urls in asked.items()
        for problem in filter(None, map(_unfit, urls))
    ]
    if config.server.deadline <= timedelta():
        found.append("server.deadline: must be longer than 0")
    found += _proxies("server.trusted_proxies", config.server.trusted_proxies)
    found += _proxies("gateway.trusted_proxies", gateway.trusted_proxies)
    found += [f"server.connections.{one}" for one in config.server.connections.problems]
    found += [f"gateway.connections.{one}" for one in gateway.connections.problems]
    found += [
        f"gateway.passes: {path!r:.60} is no path; write one such as /v1/rerank, or /v1/audio/ for"
        " all below it"
        for path in gateway.passes
        if not path.startswith("/") or path == "/" or not path.isascii() or set(path) & set("%?#* ")
    ]
    named = {f"adapters.{name}": own.runbook for name, own in config.adapters.items()}
    found += [
        f"{where}.runbook: expected an address that begins with https:// or http://"
        for where, runbook in (named | {"defaults": config.defaults.runbook}).items()
        if runbook is not None and not is_web_address(runbook)
    ]
    return found


def _unfit(url: str) -> str | None:
    """Say what is wrong with an address; it is not quoted where it may hold a secret."""
    if "@" in url:
        return "an address carries no credentials; give them as a key"
    if not is_web_address(url):
        return f"expected an address such as http://10.0.3.7:8000, got {url!r:.100}"
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        return f"{url!r:.100}: an address has no ? and no #"
    return None


def _proxies(where: str, networks: Iterable[str]) -> Iterator[str]:
    for one in networks:
        try:
            ipaddress.ip_network(one)
        except ValueError:
            yield f"{where}: {one!r:.60} is no network such as 10.0.0.0/16, and no address"
