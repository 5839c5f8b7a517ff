import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.addresses import of_the_platform, parse_networks, reachable

INSIDE = [
    "0.0.0.0",  # noqa: S104 - an address to refuse, not to listen on
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.31.255.255",
    "192.0.0.8",
    "192.88.99.1",
    "192.168.1.1",
    "198.19.255.255",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::1",
    "2001:1ff:ffff::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:c0a8:101::",
    "3fff:fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_that_lead_inside_are_unreachable(address: str) -> None:
    assert not reachable(address, allowed=())


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "93.184.215.14",
        "100.128.0.1",
        "172.32.0.1",
        "2606:4700::1111",
        "2001:200::1",
        "2003::1",
    ],
)
def test_addresses_of_the_internet_are_reachable(address: str) -> None:
    assert reachable(address, allowed=())


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.1", "0x7f.0.0.1", "0177.0.0.1", "1.1.1.1/8"]
)
def test_what_is_not_a_plain_address_is_unreachable(text: str) -> None:
    assert not reachable(text, allowed=parse_networks(["0.0.0.0/0", "::/0"]))


def test_an_allowed_network_is_reachable_and_its_neighbours_are_not() -> None:
    allowed = parse_networks(["10.20.0.0/16", "::1/128"])
    assert reachable("10.20.3.4", allowed=allowed)
    assert reachable("::ffff:10.20.3.4", allowed=allowed)
    assert reachable("::1", allowed=allowed)
    assert not reachable("10.21.0.1", allowed=allowed)


@pytest.mark.parametrize("cidr", ["10.0.0.1/8", "10.0.0.0/33", "everywhere", ""])
def test_a_network_that_is_none_is_refused(cidr: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_networks([cidr])


@given(st.ip_addresses())
def test_nothing_that_python_calls_private_is_reachable(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    mapped = isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped
    judged = mapped or address
    if judged.is_private or judged.is_multicast or judged.is_reserved:
        assert not reachable(str(address), allowed=())


PLATFORM = ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200")


@pytest.mark.parametrize("address", PLATFORM)
def test_a_network_that_has_the_platform_in_it_does_not_mean_it(address: str) -> None:
    wide = parse_networks(["10.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "fc00::/7"])
    alone = parse_networks([address])
    assert not reachable(address, allowed=wide)
    assert reachable(address, allowed=alone)


@pytest.mark.parametrize(
    "disguise",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
        "fe80::1",
    ],
)
def test_the_platform_is_seen_through_disguises(disguise: str) -> None:
    assert of_the_platform(disguise)


@pytest.mark.parametrize("engine", ["10.0.3.7", "127.0.0.1", "192.168.1.4", "fd12::7", "8.8.8.8"])
def test_engines_may_be_wherever_the_operator_has_them(engine: str) -> None:
    assert not of_the_platform(engine)
