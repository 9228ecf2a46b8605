"""What options about networks come to, and what docker 28 says of those that cannot be."""

from __future__ import annotations

import pytest

from contextkernel.commands.network_words import parse_network
from contextkernel.engine.asked.network import network_from, network_of
from contextkernel.errors import InvalidInput, UsageProblem
from contextkernel.model.networking import Networking, PortBinding
from contextkernel.model.networks import Joining, NetworkRecord, Pool
from contextkernel.runtime.network_rules import check_addresses, check_asked, first_join, published


@pytest.mark.parametrize(
    ("word", "joining"),
    [
        ("web", Joining(network="web")),
        ("container:web", Joining(network="container:web")),
        (
            "name=web,alias=a,alias=b,ip=10.0.0.9,ip6=fd00::9,mac-address=02:42:00:00:00:01,gw-priority=-3",
            Joining(
                network="web",
                aliases=("a", "b"),
                ip="10.0.0.9",
                ip6="fd00::9",
                mac="02:42:00:00:00:01",
                priority=-3,
            ),
        ),
        (
            "name=web,link-local-ip=169.254.1.1,driver-opt=K=v",
            Joining(network="web", link_local=("169.254.1.1",), options={"k": "v"}),
        ),
    ],
)
def test_network_words(word, joining):
    assert parse_network(word) == joining


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("name=net,foo=x", "invalid field key foo"),
        ("alias=x", "network name/id is not specified"),
        ("", "no name set for network"),
    ],
)
def test_network_words_that_cannot_be(word, problem):
    with pytest.raises(UsageProblem) as caught:
        parse_network(word)
    assert caught.value.problem.endswith(problem)


def test_a_plain_network_leaves_the_connection_to_the_kind():
    assert network_of({}) == "default"
    assert network_of({"network": "web"}) == "web"
    assert network_of({"networks": [Joining(network="a"), Joining(network="b")]}) == "a"
    assert network_from({}, "web").joins == ()
    assert first_join("web", Networking()) == (Joining(network="web"),)
    assert first_join("default", Networking(mac="02:42:00:00:00:01")) == (
        Joining(network="bridge", mac="02:42:00:00:00:01"),
    )
    for kind in ("none", "host", "container:x"):
        assert first_join(kind, Networking()) == ()


def test_settings_beside_the_network_are_of_the_first():
    asked = network_from(
        {
            "networks": [Joining(network="a"), Joining(network="b", ip="10.1.0.2")],
            "network_aliases": ["x"],
            "ip_address": "10.0.0.2",
        },
        "a",
    )
    assert asked.joins == (Joining(network="a", aliases=("x",), ip="10.0.0.2"), Joining(network="b", ip="10.1.0.2"))


def test_values():
    asked = network_from(
        {
            "dns": ["9.9.9.9"],
            "dns_search": ["example.org", "."],
            "dns_opt": ["ndots:2"],
            "extra_hosts": {"db": "10.0.0.9", "gate": "host-gateway"},
            "links": {"db": "store"},
            "mac_address": "02-42-00-00-00-AB",
            "ports": {"80/tcp": 8080},
            "expose": ["90"],
            "publish_all_ports": True,
            "domainname": "example.org",
        }
    )
    assert (asked.servers, asked.search, asked.options) == (("9.9.9.9",), ("example.org", "."), ("ndots:2",))
    assert asked.hosts == ("db:10.0.0.9", "gate:host-gateway")
    assert (asked.links, asked.mac) == (("db:store",), "02:42:00:00:00:ab")
    assert published(asked) == (
        PortBinding(container_port=80, host_port=8080, host_port_end=8080),
        PortBinding(container_port=90),
    )


@pytest.mark.parametrize(
    ("keywords", "problem"),
    [
        ({"dns": ["x"]}, "IP address is not correctly formatted: x"),
        ({"dns_search": ["a b"]}, "a b is not a valid domain"),
        ({"extra_hosts": ["x"]}, 'bad format for add-host: "x"'),
        ({"extra_hosts": ["x:1.2"]}, 'invalid IP address in add-host: "1.2"'),
        ({"mac_address": "x"}, "x is not a valid mac address"),
        ({"links": ["a:b:c"]}, "bad format for links: a:b:c"),
        ({"networks": [Joining(network="a"), Joining(network="a")]}, 'network "a" is specified multiple times'),
        (
            {"networks": [Joining(network="a", aliases=("x",))], "network_aliases": ["y"]},
            "conflicting options: cannot specify both --network-alias and per-network alias",
        ),
        (
            {"networks": [Joining(network="a", ip="10.0.0.2")], "ip_address": "10.0.0.3"},
            "conflicting options: cannot specify both --ip and per-network IPv4 address",
        ),
    ],
)
def test_values_that_cannot_be(keywords, problem):
    with pytest.raises(InvalidInput) as caught:
        network_from(keywords, "a")
    assert caught.value.problem == problem


_PORT = (PortBinding(container_port=80),)


@pytest.mark.parametrize(
    ("kind", "asked", "hostname", "problem"),
    [
        ("container:x", Networking(), True, "conflicting options: hostname and the network mode"),
        ("container:x", Networking(servers=("9.9.9.9",)), False, "conflicting options: dns and the network mode"),
        (
            "container:x",
            Networking(ports=_PORT),
            False,
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            "container:x",
            Networking(exposed=("80/tcp",)),
            False,
            "conflicting options: port exposing and the container type network mode",
        ),
        (
            "bridge",
            Networking(joins=(Joining(network="bridge", aliases=("x",)),)),
            False,
            "network-scoped aliases are only supported for user-defined networks",
        ),
        (
            "bridge",
            Networking(joins=(Joining(network="bridge", ip="172.17.0.9"),)),
            False,
            (
                "invalid config for network bridge: invalid endpoint settings:\n"
                "user specified IP address is supported on user defined networks only"
            ),
        ),
        (
            "web",
            Networking(joins=(Joining(network="web"), Joining(network="host"))),
            False,
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        ),
    ],
)
def test_what_does_not_go_together(kind, asked, hostname, problem):
    with pytest.raises(InvalidInput) as caught:
        check_asked(kind, asked, hostname=hostname)
    assert caught.value.problem == problem


GIVEN = NetworkRecord(
    id="a" * 64, name="web", created=0, given=True, pools=(Pool(subnet="10.5.0.0/24", gateway="10.5.0.1"),)
)
CHOSEN = NetworkRecord(id="a" * 64, name="web", created=0, pools=GIVEN.pools)


@pytest.mark.parametrize(
    ("record", "ip", "problem"),
    [
        (GIVEN, "x", "invalid IPv4 address: x"),
        (GIVEN, "10.6.0.1", "no configured subnet or ip-range contain the IP address 10.6.0.1"),
        (
            CHOSEN,
            "10.5.0.9",
            "user specified IP address is supported only when connecting to networks with user configured subnets",
        ),
    ],
)
def test_addresses_that_cannot_be_had(record, ip, problem):
    with pytest.raises(InvalidInput) as caught:
        check_addresses(Joining(network="web", ip=ip), record)
    assert caught.value.problem == f"invalid config for network web: invalid endpoint settings:\n{problem}"


def test_an_address_that_can_be_had():
    check_addresses(Joining(network="web", ip="10.5.0.9"), GIVEN)
