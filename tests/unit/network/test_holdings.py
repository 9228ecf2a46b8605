from __future__ import annotations

import pytest

from contextkernel.errors import Conflict
from contextkernel.model.networks import NetworkRecord, NetworkState, Pool, Wish
from contextkernel.network.holdings import Holdings

ONE = NetworkRecord(id="1" * 64, name="one", created=0, pools=(Pool(subnet="10.5.0.0/29", gateway="10.5.0.1"),))
TWO = NetworkRecord(id="2" * 64, name="two", created=0, pools=(Pool(subnet="10.6.0.0/29", gateway="10.6.0.1"),))
CLOSED = NetworkRecord(
    id="3" * 64, name="in", created=0, internal=True, pools=(Pool(subnet="10.7.0.0/29", gateway="10.7.0.1"),)
)


def wish(network: NetworkRecord, **more) -> tuple[Wish, NetworkRecord]:
    return Wish(network=network, endpoint="e" * 64, **more), network


def test_a_container_gets_an_address_and_a_link_on_each_network():
    holdings = Holdings()
    holdings.take("box", [wish(ONE, names=("box",)), wish(TWO, ip="10.6.0.5"), wish(CLOSED)], None)
    first, second, third = holdings.endpoints("box")
    assert (first.ip, first.bits, first.gateway, first.interface) == ("10.5.0.2", 29, "10.5.0.1", "eth0")
    assert (first.mac, first.names) == ("02:42:0a:05:00:02", ("box",))
    assert (second.ip, second.interface) == ("10.6.0.5", "eth1")
    assert (third.ip, third.gateway) == ("10.7.0.2", "")
    assert [container for container, _ in holdings.on(TWO.id)] == ["box"]


def test_all_or_nothing():
    holdings = Holdings()
    holdings.take("first", [wish(TWO, ip="10.6.0.5")], None)
    with pytest.raises(Conflict):
        holdings.take("second", [wish(ONE), wish(TWO, ip="10.6.0.5")], None)
    assert holdings.of("second") == ()
    holdings.take("third", [wish(ONE)], None)
    assert holdings.endpoints("third")[0].ip == "10.5.0.2"


def test_one_connection_to_a_network():
    holdings = Holdings()
    holdings.take("box", [wish(ONE)], None)
    with pytest.raises(Conflict, match="already exists in network one"):
        holdings.take("box", [wish(ONE)], None)
    assert len(holdings.of("box")) == 1


def test_the_name_of_a_link_that_was_given_back_is_the_next():
    holdings = Holdings()
    holdings.take("box", [wish(ONE), wish(TWO)], None)
    (gone,) = holdings.release("box", ONE.id)
    assert gone.endpoint.interface == "eth0"
    holdings.take("box", [wish(CLOSED)], None)
    assert {one.network: one.interface for one in holdings.endpoints("box")} == {"two": "eth1", "in": "eth0"}
    assert len(holdings.release("box")) == 2
    assert holdings.release("box") == ()


def test_what_it_had_before_it_has_again():
    old = Holdings()
    old.take("other", [wish(ONE)], None)
    old.take("box", [wish(ONE), wish(TWO)], None)
    before = NetworkState(mode="bridge", endpoints=old.endpoints("box"))
    new = Holdings()
    new.take("box", [wish(ONE), wish(TWO)], before)
    assert new.endpoints("box") == before.endpoints
    new.take("other", [wish(ONE)], None)
    assert new.endpoints("other")[0].ip == "10.5.0.2"
