"""Connections of the gateway: to whatever the config names, but for the platform's addresses.

Engines stand in private networks, so where one may be is not for the gateway to say. What
it never dials is what no engine is at: link-local addresses, and those from which a cloud
hands its machines credentials. A name that leads there, if only for a moment, is refused as
the connection is made.
"""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
import structlog

from alerts.addresses import of_the_platform

_LOG = structlog.get_logger(__name__)


class NotDialled(OSError):  # noqa: N818 (named as the outcome)
    """The address belongs to the platform; nothing was sent."""


def connector(**settings: Any) -> aiohttp.TCPConnector:
    """Build a pool of connections of which each was checked as it was made."""
    return aiohttp.TCPConnector(socket_factory=_socket, **settings)


def _socket(found: tuple[Any, ...]) -> socket.socket:
    """Make the socket for the very address that is dialled next."""
    family, kind, protocol, _, place = found
    address = str(place[0]).partition("%")[0]
    if of_the_platform(address):
        _LOG.warning("address_not_dialled", address=address)
        raise NotDialled(f"{address} is the platform's, where no engine is")
    return socket.socket(family=family, type=kind, proto=protocol)
