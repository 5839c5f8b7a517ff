"""Open the gateway's connections: to any configured address except a cloud platform's.

Engines run in private networks, so the gateway cannot restrict where they are. It only refuses
addresses at which no engine runs: link-local ones, and those where a cloud hands out machine
credentials. A name that resolves to one, even for a moment, is refused as the connection is made.
"""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
import structlog

from alerts.addresses import of_the_platform

_LOG = structlog.get_logger(__name__)


class NotDialled(OSError):  # noqa: N818 (named as the outcome)
    """The address belongs to the cloud platform; nothing was sent."""


def connector(**settings: Any) -> aiohttp.TCPConnector:
    """Build a connection pool that checks each address as it connects."""
    return aiohttp.TCPConnector(socket_factory=_socket, **settings)


def _socket(found: tuple[Any, ...]) -> socket.socket:
    """Create the socket for exactly the address that is dialled next."""
    family, kind, protocol, _, place = found
    address = str(place[0]).partition("%")[0]
    if of_the_platform(address):
        _LOG.warning("address_not_dialled", address=address)
        raise NotDialled(f"{address} is the platform's, where no engine is")
    return socket.socket(family=family, type=kind, proto=protocol)
