"""Look at what is reached by HTTP: channels, the provider of logins, and own processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from alerts.channels import open_channel, reach_receiver
from alerts.outgoing import Blocked, ConnectFailed, OutgoingClient, OutgoingError
from monitor import tracing
from monitor.config.channels import ChannelEntry
from monitor.config.routing import inside_of
from monitor.config.sections import Config
from monitor.daemon.backups import KEY_FILES
from monitor.daemon.checkup.diagnosis import Diagnosis, fault, fine, note
from monitor.daemon.parts import oidc_of

ANSWER_S: Final = 10.0
_EVERYWHERE: Final[Mapping[str, str]] = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104
"""Addresses to listen at, and those to ask instead."""


def check_channels(config: Config) -> Iterator[Diagnosis]:
    """Connect to the receiver of every channel."""
    if not config.channels:
        advice = "add one under [channels]"
        yield note("channels", "none, so nobody is told of anything", advice)
        return
    client = OutgoingClient(config.outgoing)
    with ThreadPoolExecutor(len(config.channels)) as pool:  # all wait for the network alone
        yield from pool.map(partial(_channel, client=client), config.channels)


def _channel(entry: ChannelEntry, *, client: OutgoingClient) -> Diagnosis:
    """Open a channel, and a connection to its receiver, over which nothing is sent."""
    part, named = "channels", f"{entry.name} ({entry.kind})"
    try:
        open_channel(entry.kind, entry.options, client=client)
        reached = reach_receiver(entry.kind, entry.options, client=client, timeout=ANSWER_S)
    except ValueError as error:
        return fault(part, f"{entry.name}: {error}")
    except OutgoingError as error:
        return fault(part, f"{named}: {error}", _way_out(error))
    told = "it writes on this machine" if reached is None else f"{reached} is reached"
    tried = f"`driftline channels test {entry.name}` sends it a message"
    return fine(part, f"{named}: {told}", tried)


def _way_out(error: OutgoingError) -> str:
    """Say what lets a connection be made."""
    if isinstance(error, Blocked):
        return "outgoing.allow lists the private networks that may be reached"
    if "certificate" in str(error):
        return "outgoing.ca_file names the authorities to trust instead of the system's"
    return "let this machine resolve its name and reach its port: name server, firewall, policy"


def check_login(config: Config) -> Iterator[Diagnosis]:
    """Ask the provider of logins for what it says of itself."""
    provider = oidc_of(config, clock=lambda: datetime.now(UTC))
    if provider is None:
        return
    from monitor.oidc.login import LoginRefused  # noqa: PLC0415 (brings cryptography)

    part, issuer = "login", config.oidc.issuer
    try:
        provider.begin()
    except LoginRefused as error:
        advice = "let this machine reach it, and oidc.issuer be exactly what it calls itself"
        yield fault(part, f"{issuer}: {error}", advice)
    else:
        yield fine(part, f"{issuer} says how people log in")


def check_traces(config: Config) -> Iterator[Diagnosis]:
    """Look for the extra, and open a connection to the collector, over which nothing is sent."""
    part, url = "traces", config.service.traces
    if not url:
        return
    try:
        tracing.load()
        inside_of(config).reach(url, timeout=ANSWER_S)
    except tracing.TracesMissing as error:
        yield fault(part, str(error))
    except OutgoingError as error:
        yield fault(part, f"{url}: {error}", _way_out(error))
    else:
        yield fine(part, f"{url} is reached")


def check_service(config: Config) -> Iterator[Diagnosis]:
    """Ask the service; that it does not run is a fault once it has run here."""
    begun = (config.service.data_dir / KEY_FILES[0]).exists()
    yield from _process(
        "service",
        _url(config.server.host, config.server.port),
        config,
        absent=lambda told: (fault if begun else note)("service", told, "driftline serve"),
    )


def check_gateway(config: Config) -> Iterator[Diagnosis]:
    """Ask the gateway, where one is of use."""
    if config.gateway.upstreams or config.serving.engines:
        yield from _process(
            "gateway",
            _url(config.gateway.host, config.gateway.port),
            config,
            absent=lambda told: note("gateway", told, "driftline gateway"),
        )


def _url(host: str, port: int) -> str:
    """Return where to ask a process that listens there.

    >>> _url("0.0.0.0", 8440), _url("fd00::7", 8440)
    ('http://127.0.0.1:8440', 'http://[fd00::7]:8440')
    """
    named = _EVERYWHERE.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{named}:{port}"


def _process(
    part: str, url: str, config: Config, *, absent: Callable[[str], Diagnosis]
) -> Iterator[Diagnosis]:
    """Ask a process whether it is ready, and what it warns of."""
    try:
        reply = inside_of(config).get(f"{url}/readyz", timeout=ANSWER_S)
    except ConnectFailed:
        yield absent(f"none answers at {url}")
        return
    except OutgoingError as error:
        yield fault(part, f"{url}: {error}")
        return
    said = _said(reply.body_start)
    if reply.status == HTTPStatus.OK:
        yield fine(part, f"{url} is ready")
        for warning in said.get("warnings", ()):
            yield note(part, str(warning))
        return
    reasons: Sequence[Any] = said.get("reasons", ())
    yield fault(part, f"{url}: {'; '.join(map(str, reasons)) or f'HTTP {reply.status}'}")


def _said(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
