from __future__ import annotations

import ipaddress

import msgspec
import pytest

from contextkernel.errors import Conflict, InvalidInput
from contextkernel.model.networks import Endpoint, NetworkRecord, Pool
from contextkernel.network.subnets import (
    actual_pools,
    asked_pools,
    choose_pool,
    choose_pool6,
    host_networks,
    placed,
)

ROUTE = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
ROUTE6 = (
    "fd4e370dc8e300000000000000000000 40 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
    "00000000000000000000000000000001 80 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 00000000 00000002 00000000 80200001       lo\n"
)


def test_routes_of_the_host_are_read_without_default_routes_and_loopback():
    found = host_networks(ROUTE, ROUTE6)
    assert [str(network) for network in found] == ["172.17.0.0/16", "192.0.2.0/24", "fd4e:370d:c8e3::/64"]
    assert [str(network) for network in host_networks(ROUTE, without=["docker0"])] == ["192.0.2.0/24"]
    assert host_networks("", "") == ()


def networks(*texts: str) -> list:
    return [ipaddress.ip_network(text) for text in texts]


@pytest.mark.parametrize(
    ("taken", "subnet", "gateway"),
    [
        ((), "172.17.0.0/16", "172.17.0.1"),
        (("172.17.0.0/16",), "172.18.0.0/16", "172.18.0.1"),
        (("172.17.0.0/16", "172.18.3.0/24", "172.19.0.0/16"), "172.20.0.0/16", "172.20.0.1"),
        (("172.16.0.0/12",), "192.168.0.0/20", "192.168.0.1"),
        (("172.16.0.0/12", "192.168.1.0/24"), "192.168.16.0/20", "192.168.16.1"),
    ],
)
def test_the_first_default_subnet_that_is_free_is_chosen(taken, subnet, gateway):
    pool = choose_pool(networks(*taken))
    assert (pool.subnet, pool.gateway) == (subnet, gateway)


def test_when_all_default_subnets_are_taken_it_says_so():
    with pytest.raises(InvalidInput, match="fully subnetted"):
        choose_pool(networks("172.16.0.0/12", "192.168.0.0/16"))


def test_an_ipv6_subnet_is_unique_local_and_the_same_each_time():
    first = choose_pool6("seed", [])
    assert choose_pool6("seed", []) == first
    assert ipaddress.ip_network(first.subnet).subnet_of(ipaddress.ip_network("fd00::/8"))
    second = choose_pool6("seed", networks(first.subnet))
    assert second != first


def test_what_is_asked_for_is_put_together_by_what_contains_what():
    pools = asked_pools(
        ["fd00:61::/64", "10.61.0.0/24"], ["10.61.0.128/25"], ["10.61.0.9"], [("x", "10.61.0.1"), ("y", "fd00:61::5")]
    )
    first, second = pools
    assert (first.subnet, first.gateway, first.ip_range) == ("10.61.0.0/24", "10.61.0.9", "10.61.0.128/25")
    assert (first.auxiliary, first.gateway_chosen) == ({"x": "10.61.0.1"}, False)
    assert (second.subnet, second.gateway, second.auxiliary) == ("fd00:61::/64", "fd00:61::1", {"y": "fd00:61::5"})
    assert second.gateway_chosen


# as docker 28 answers
@pytest.mark.parametrize(
    ("subnets", "ranges", "gateways", "auxiliary", "problem"),
    [
        (["10.61.0.0/24"], [], ["10.62.0.1"], [], "no matching subnet for gateway 10.62.0.1"),
        (["10.61.0.1/24"], [], [], [], "invalid subnet 10.61.0.1/24: it should be 10.61.0.0/24"),
        (["10.61.0.0/24", "10.61.0.0/25"], [], [], [], "multiple overlapping subnet configuration is not supported"),
        (["10.61.0.0"], [], [], [], "invalid subnet 10.61.0.0: invalid CIDR block notation"),
        (["10.61.0.0/33"], [], [], [], "invalid subnet 10.61.0.0/33: invalid CIDR block notation"),
        ([], [], ["10.61.0.1"], [], "every ip-range or gateway must have a corresponding subnet"),
        ([], ["10.61.0.1/25"], [], [], "every ip-range or gateway must have a corresponding subnet"),
        ([], [], [], [("x", "10.61.0.1")], "no matching subnet for aux-address 10.61.0.1"),
        (["10.61.0.0/24", "10.62.0.0/24"], [], [], [], "bridge driver doesn't support multiple subnets"),
    ],
)
def test_what_cannot_be_is_refused_as_docker_refuses_it(subnets, ranges, gateways, auxiliary, problem):
    with pytest.raises(InvalidInput) as caught:
        asked_pools(subnets, ranges, gateways, auxiliary)
    assert caught.value.problem == problem


def test_the_subnets_of_a_network_are_those_its_containers_have():
    record = NetworkRecord(
        id="a" * 64, name="n", created=0, pools=(Pool(subnet="172.18.0.0/16", gateway="172.18.0.1"),)
    )
    here = Endpoint(
        network="n", network_id="a" * 64, id="e", interface="eth0", link="l", mac="m", ip="172.18.0.2", bits=16
    )
    moved = msgspec.structs.replace(here, ip="172.20.0.2", gateway="172.20.0.1")
    assert actual_pools(record, None) == actual_pools(record, here) == record.pools
    assert actual_pools(record, moved) == (Pool(subnet="172.20.0.0/16", gateway="172.20.0.1"),)
    given = msgspec.structs.replace(record, given=True)
    assert actual_pools(given, moved) == record.pools


def test_a_network_is_placed_beside_all_others():
    pools = (Pool(subnet="172.18.0.0/16", gateway="172.18.0.1"), Pool(subnet="fd00::/64", gateway="fd00::1"))
    record = NetworkRecord(id="a" * 64, name="net", pools=pools, created=0)
    assert placed(record, networks("172.17.0.0/16", "fd01::/64")) is record
    assert placed(record, networks("172.17.0.0/16", "172.18.5.0/24")).pools == (
        Pool(subnet="172.19.0.0/16", gateway="172.19.0.1"),
        pools[1],
    )
    given = msgspec.structs.replace(record, given=True)
    with pytest.raises(Conflict, match=r"network net cannot be used now: this host has a route to 172\.18\.5\.0/24"):
        placed(given, networks("172.18.5.0/24"))
