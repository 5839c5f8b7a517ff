"""The engines that a name server lists as SRV records: host and port of each replica.

``dns+http://_http._tcp.engines.models.svc`` is such a name: RFC 2782's ``_service._protocol``
before a domain. Kubernetes answers it for a headless Service with a named port, Consul for its
services.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dns.resolver import Resolver


class NotListed(OSError):  # noqa: N818 (what name servers say)
    """No name server knows the service, or none answers; the text says which."""


def resolver() -> Resolver:
    """Return what asks the system's name servers as they are now; an answer may take 5 seconds."""
    from dns.resolver import Resolver  # noqa: PLC0415 (only those pay who name a service)

    return Resolver()


def listed(service: str) -> list[tuple[str, int]]:
    """Return host and port of each replica of a service, whatever their priority and weight.

    A name is completed by the domains that the system searches.

    Raises
    ------
    NotListed
        No server answers, or the name has no SRV record.
    """
    from dns.exception import DNSException  # noqa: PLC0415

    try:
        found = resolver().resolve(service, "SRV", search=True)
    except DNSException as error:
        raise NotListed(str(error)) from error
    # the root as a target says that the service is nowhere
    replicas = {(str(one.target).rstrip(".").lower(), one.port) for one in found}
    return sorted((host, port) for host, port in replicas if host and port)
