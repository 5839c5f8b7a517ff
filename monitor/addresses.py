"""Addresses as people write them: of engines, of lists of engines, and of pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

BY_NAME: Final = "dns+"
IN_FILE: Final = "file://"
IN_CLUSTER: Final = "kubernetes+"
"""How lists of engines' addresses begin; see :mod:`monitor.engine_addresses`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointsWanted:
    """The endpoints that are engines: by namespace, label selector, and port number or name."""

    namespace: str
    selector: str
    port: int | str | None
    path: str

    @classmethod
    def of(cls, written: str) -> EndpointsWanted:
        """Read an address.

        Raises
        ------
        ValueError
            It is none; the text says what is wrong.

        >>> EndpointsWanted.of("kubernetes+http://vllm.models:8000").selector
        'kubernetes.io/service-name=vllm'
        >>> EndpointsWanted.of("kubernetes+http://models?selector=app%3Dvllm&port=http").port
        'http'
        """
        parts = urlsplit(written.removeprefix(IN_CLUSTER))
        if parts.scheme != "http":
            raise ValueError("endpoints are asked by http: certificates name hosts, not addresses")
        if "@" in parts.netloc or not parts.hostname:
            raise ValueError("expected kubernetes+http://SERVICE.NAMESPACE:PORT")
        asked = parse_qs(parts.query, strict_parsing=bool(parts.query))
        if unknown := sorted(asked.keys() - {"selector", "port"}):
            raise ValueError(f"{unknown[0]!r} is none of selector, port")
        names = parts.hostname.split(".")
        service = "" if "selector" in asked else names.pop(0)
        namespace = names.pop(0) if names else ""
        if not namespace or (names and names[0] != "svc"):
            raise ValueError("expected kubernetes+http://SERVICE.NAMESPACE:PORT, or a selector")
        return cls(
            namespace=namespace,
            selector=asked.get("selector", [f"kubernetes.io/service-name={service}"])[0],
            port=parts.port or _number_or_name(asked.get("port", [""])[0]),
            path=parts.path.rstrip("/"),
        )


def _number_or_name(port: str) -> int | str | None:
    return int(port) if port.isdecimal() else port or None


def is_web_address(text: str) -> bool:
    """True if a text is an address that a browser, or an HTTP client, may open.

    >>> [is_web_address(one) for one in ("https://wiki/x", "javascript:alert(1)", "http://")]
    [True, False, False]
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    sound = text.isprintable() and " " not in text and port != 0
    return sound and parts.scheme in {"http", "https"} and bool(parts.hostname)


def is_list(address: str) -> bool:
    """True if it stands for any number of addresses.

    >>> is_list("dns+http://engines:8000"), is_list("http://engines:8000")
    (True, False)
    """
    return address.startswith((BY_NAME, IN_FILE, IN_CLUSTER))


def is_service(host: str) -> bool:
    """True if a name server lists its replicas as SRV records, each with its port.

    >>> is_service("_http._tcp.engines.models.svc"), is_service("engines.models.svc")
    (True, False)
    """
    return host.startswith("_") and "._" in host


def list_fault(address: str) -> str | None:
    """Say what is wrong with an address for which :func:`is_list` is true."""
    if address.startswith(IN_CLUSTER):
        return _cluster_fault(address)
    try:
        parts = urlsplit(address.removeprefix(BY_NAME))
    except ValueError:
        return "it is no address"
    if address.startswith(IN_FILE):
        sound = parts.netloc in {"", "localhost"} and parts.path.startswith("/")
        sound = sound and not parts.query and not parts.fragment
        return None if sound else "expected file:/// and an absolute path, with # and ? as %23, %3F"
    if parts.scheme == "https":
        return "a name's addresses are asked by http: certificates name hosts, not addresses"
    fault = address_fault(address.removeprefix(BY_NAME))
    if fault is None and is_service(parts.hostname or "") and parts.port is not None:
        return f"{address!r:.100}: each replica's port is in its SRV record; write none"
    return fault


def _cluster_fault(address: str) -> str | None:
    try:
        EndpointsWanted.of(address)
    except ValueError as error:
        return str(error)
    return None


def address_fault(address: str) -> str | None:
    """Say what is wrong with an address, without quoting one that may hold a secret."""
    if "@" in address:
        return "an address carries no credentials; give them as a key"
    if not is_web_address(address):
        return f"expected an address such as http://10.0.3.7:8000, got {address!r:.100}"
    parts = urlsplit(address)
    if parts.query or parts.fragment:
        return f"{address!r:.100}: an address has no ? and no #"
    return None
