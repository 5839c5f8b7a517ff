"""Whom outgoing connections trust to be who they say."""

from __future__ import annotations

import ssl
from functools import cache


@cache
def trust(ca_file: str | None, *, http: bool) -> ssl.SSLContext:
    """Give the TLS settings of all clients that trust the same authorities.

    The system's 140 take .8 MB and 6 ms to read, and a service has seven clients.

    Parameters
    ----------
    ca_file
        PEM file of the authorities; the system's where None.
    http
        Whether HTTP is what it offers to speak: the other end of a Redis may refuse that.

    Raises
    ------
    OSError
        The file cannot be read, or is none of certificates.
    """
    context = ssl.create_default_context(cafile=ca_file)
    if http:
        context.set_alpn_protocols(["http/1.1"])
    return context
