from __future__ import annotations

import pytest

from contextkernel.errors import Conflict, InvalidInput
from contextkernel.model.networks import NetworkRecord, Pool
from contextkernel.network.ipam import Addresses, Ipam


def pool(subnet: str, gateway: str = "", **more) -> Pool:
    return Pool(subnet=subnet, gateway=gateway, **more)


def take(addresses: Addresses, count: int) -> list[str]:
    return [str(addresses.take()) for _ in range(count)]


def test_the_lowest_free_address_is_given_and_reserved_ones_never():
    addresses = Addresses(pool("10.0.0.0/29", "10.0.0.1", auxiliary={"printer": "10.0.0.3"}))
    assert take(addresses, 4) == ["10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"]
    with pytest.raises(Conflict, match="no available IPv4 addresses"):
        addresses.take()


def test_an_address_that_was_given_back_is_the_next():
    addresses = Addresses(pool("10.0.0.0/24", "10.0.0.1"))
    take(addresses, 3)
    addresses.give_back("10.0.0.3")
    addresses.give_back("10.0.0.3")
    assert take(addresses, 2) == ["10.0.0.3", "10.0.0.5"]


def test_the_range_limits_what_is_given_but_not_what_is_asked_for():
    addresses = Addresses(pool("10.0.0.0/24", "10.0.0.1", ip_range="10.0.0.128/30"))
    assert take(addresses, 4) == ["10.0.0.128", "10.0.0.129", "10.0.0.130", "10.0.0.131"]
    with pytest.raises(Conflict):
        addresses.take()
    assert str(addresses.take("10.0.0.9")) == "10.0.0.9"
    addresses.give_back("10.0.0.9")
    with pytest.raises(Conflict):
        addresses.take()


@pytest.mark.parametrize("wanted", ["10.0.0.1", "10.0.0.2", "10.0.0.0", "10.0.0.255", "10.0.0.7"])
def test_an_address_in_use_is_refused(wanted):
    addresses = Addresses(pool("10.0.0.0/24", "10.0.0.1", auxiliary={"x": "10.0.0.7"}))
    addresses.take("10.0.0.2")
    with pytest.raises(Conflict, match="address already in use"):
        addresses.take(wanted)


@pytest.mark.parametrize("wanted", ["10.0.1.2", "fd00::2", "nonsense"])
def test_an_address_outside_is_refused(wanted):
    with pytest.raises(InvalidInput):
        Addresses(pool("10.0.0.0/24", "10.0.0.1")).take(wanted)


def test_ipv6_has_no_broadcast_address():
    addresses = Addresses(pool("fd00::/126", "fd00::1"))
    assert take(addresses, 2) == ["fd00::2", "fd00::3"]


NETWORK = NetworkRecord(
    id="a" * 64, name="both", created=0, pools=(pool("10.0.0.0/29", "10.0.0.1"), pool("fd00::/64", "fd00::1"))
)


def test_both_families_are_given_together_or_not_at_all():
    ipam = Ipam()
    ipam.open(NETWORK)
    assert [str(address) for address in ipam.take(NETWORK.id)] == ["10.0.0.2", "fd00::2"]
    with pytest.raises(Conflict):
        ipam.take(NETWORK.id, ip6="fd00::2")
    assert ipam.taken(NETWORK.id) == 2
    ipam.give_back(NETWORK.id, "10.0.0.2", "", "fd00::2")
    assert ipam.taken(NETWORK.id) == 0


def test_a_family_that_the_network_does_not_have_cannot_be_asked_for():
    ipam = Ipam()
    single = NetworkRecord(id="b" * 64, name="four", created=0, pools=(pool("10.0.0.0/29", "10.0.0.1"),))
    ipam.open(single)
    assert [str(address) for address in ipam.take(single.id)] == ["10.0.0.2", "None"]
    with pytest.raises(InvalidInput, match="no configured subnet contains"):
        ipam.take(single.id, ip6="fd00::2")
    assert ipam.taken(single.id) == 1
