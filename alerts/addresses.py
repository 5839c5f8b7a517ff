"""The network addresses that outgoing requests may never reach.

Our own list, because ``ipaddress.is_global`` reports *global* for addresses that lead back inside:
``64:ff9b::7f00:1`` (NAT64 of 127.0.0.1), ``2002:7f00:1::`` (6to4 of it), ``::127.0.0.1``,
``192.0.0.8`` and multicast.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DENIED: tuple[Network, ...] = tuple(
    ip_network(cidr)
    for cidr in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT, cloud metadata of some providers
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        # All of IPv6 but 2000::/3, the only block routed on the internet. Among the rest:
        # ::1, ::/96 and ::ffff:0:0/96 (IPv4 in disguise), 64:ff9b::/96 and 64:ff9b:1::/48
        # (NAT64), 5f00::/16, fc00::/7, fe80::/10, fec0::/10, ff00::/8.
        "::/3",
        "4000::/2",
        "8000::/1",
        "2001::/23",  # Teredo and other tunnels
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)


PLATFORM: tuple[Network, ...] = tuple(
    ip_network(cidr)
    for cidr in (
        "169.254.0.0/16",  # link-local, cloud metadata
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle Cloud
        "fe80::/10",  # link-local
        "fd00:ec2::/64",  # Amazon EC2
        "fd20:ce::/64",  # Google Compute Engine
    )
)
"""Addresses where cloud platforms hand out machine credentials; no engine runs there."""

PRIVATE_NETWORKS: tuple[str, ...] = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
)
"""Networks of engines and others that the operator's settings name; no other private address may be
reached through these."""

_NAT64 = ip_network("64:ff9b::/96")
_COMPATIBLE = ip_network("::/96")


def parse_networks(cidrs: Iterable[str]) -> tuple[Network, ...]:
    """Read CIDRs such as ``10.1.0.0/16`` or ``::1/128``.

    Raises
    ------
    ValueError
        One text is not a network, or has bits set to the right of its prefix.
    """
    return tuple(ip_network(cidr) for cidr in cidrs)


def reachable(text: str, *, allowed: tuple[Network, ...]) -> bool:
    """True if connections to this resolved address are permitted.

    An IPv4 address written inside IPv6 (``::ffff:127.0.0.1``) is judged as the IPv4 address that
    the kernel would connect to. Text that is not an address is unreachable. A cloud platform's
    address is reachable only if ``allowed`` names exactly that address; a larger network that
    contains it is not enough.
    """
    try:
        address = _plain(ip_address(text))
    except ValueError:
        return False
    if _within(address, PLATFORM):
        return _within(address, tuple(one for one in allowed if one.num_addresses == 1))
    return _within(address, allowed) or not _within(address, DENIED)


def is_address(text: str) -> bool:
    """Whether a text is a numeric address, as :mod:`ipaddress` reads it."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def of_the_platform(text: str) -> bool:
    """True if this resolved address, in any encoding, is a cloud platform's."""
    address = ip_address(text)
    return any(_within(one, PLATFORM) for one in (address, *_inside(address)))


def _inside(address: Address) -> tuple[IPv4Address, ...]:
    """List the IPv4 addresses that a network may derive from an IPv6 one."""
    if isinstance(address, IPv4Address):
        return ()
    written = [address.ipv4_mapped, address.sixtofour]
    if address in _NAT64 or address in _COMPATIBLE:
        written.append(IPv4Address(int(address) & 0xFFFF_FFFF))
    return tuple(one for one in written if one is not None)


def _plain(address: Address) -> Address:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)
