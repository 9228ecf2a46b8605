"""Which name is found where: docker's rules."""

from __future__ import annotations

import pytest

from contextkernel.network.names import Found, Names, View, reversed_address, servers_in


@pytest.fixture
def names() -> Names:
    made = Names()
    made.add("n1", "e1", ["web", "0123456789ab", "Shop"], ipv4="10.0.0.2")
    made.add("n1", "e2", ["db", "shop"], ipv4="10.0.0.3", ipv6="fd00::3")
    made.add("n2", "e3", ["db"], ipv4="10.1.0.9")
    made.add("n2", "e4", ["a.b"], ipv4="10.1.0.4")
    return made


BOTH = View(networks=(("n1", "front"), ("n2", "back.end")))
FRONT = View(networks=(("n1", "front"),))


@pytest.mark.parametrize(
    ("name", "view", "found"),
    [
        ("web", FRONT, Found(("10.0.0.2",))),
        ("WEB.", FRONT, Found(("10.0.0.2",))),
        ("0123456789ab", FRONT, Found(("10.0.0.2",))),
        ("shop", FRONT, Found(("10.0.0.2", "10.0.0.3"), ("fd00::3",))),
        ("db", FRONT, Found(("10.0.0.3",), ("fd00::3",))),
        ("db", BOTH, Found(("10.0.0.3",), ("fd00::3",))),
        ("db", View(networks=tuple(reversed(BOTH.networks))), Found(("10.1.0.9",))),
        ("db.front", BOTH, Found(("10.0.0.3",), ("fd00::3",))),
        ("db.back.end", BOTH, Found(("10.1.0.9",))),
        ("a.b", BOTH, Found(("10.1.0.4",))),
        ("a.b.back.end", BOTH, Found(("10.1.0.4",))),
        ("db.back", BOTH, None),
        ("db.back.end", FRONT, None),
        ("example.com", BOTH, None),
        ("", BOTH, None),
        (".", BOTH, None),
        ("web", View(), None),
    ],
)
def test_finding(names, name, view, found):
    assert names.find(name, view) == found


def test_names_that_only_one_container_has(names):
    view = View(networks=BOTH.networks, links={"n2": {"Store": "db", "web": "a.b"}})
    assert names.find("store", view) == Found(("10.1.0.9",))
    assert names.find("store.back.end", view) == Found(("10.1.0.9",))
    assert names.find("store.front", view) is None
    assert names.find("web", view) == Found(("10.1.0.4",))  # before the container of this name


def test_what_has_gone_is_not_found(names):
    names.remove("n1", "e1")
    names.remove("n1", "e1")
    assert names.find("web", FRONT) is None
    assert names.find("shop", FRONT) == Found(("10.0.0.3",), ("fd00::3",))
    names.add("n1", "e2", ["other"], ipv4="10.0.0.7")
    assert names.find("db", FRONT) is None


def test_what_an_address_is_called(names):
    assert names.name_of("10.0.0.2", BOTH) == "web.front"
    assert names.name_of("fd00::3", BOTH) == "db.front"
    assert names.name_of("10.1.0.9", FRONT) is None
    assert names.name_of("8.8.8.8", BOTH) is None


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("4.3.2.1.in-addr.arpa.", "1.2.3.4"),
        ("4.3.2.1.IN-ADDR.ARPA", "1.2.3.4"),
        ("3." + "0." * 27 + "0.0.d.f.ip6.arpa", "fd00::3"),
        ("3.2.1.in-addr.arpa", None),
        ("300.2.2.1.in-addr.arpa", None),
        ("x.3.2.1.in-addr.arpa", None),
        ("g." + "0." * 31 + "ip6.arpa", None),
        ("10." + "0." * 30 + "ip6.arpa", None),
        ("example.com", None),
        ("", None),
    ],
)
def test_addresses_that_are_asked_for_their_name(name, address):
    assert reversed_address(name) == address


def test_name_servers_of_a_file():
    text = (
        "# mine\nnameserver 10.0.0.1\nnameserver fe80::1%eth0 x\nsearch a\n nameserver\t::1\nnameserver no\nnameserver"
    )
    assert servers_in(text) == ("10.0.0.1", "fe80::1%eth0", "::1")
    assert servers_in("nameserver 1.1.1.1\n" * 3 + "".join(f"nameserver 1.1.1.{n}\n" for n in range(2, 9))) == (
        "1.1.1.1",
        "1.1.1.2",
        "1.1.1.3",
    )
