from __future__ import annotations

from contextkernel.model.networks import Endpoint, NetworkRecord, Pool
from contextkernel.network import plan
from contextkernel.network.plan import Ground, mac_of, plan_endpoint, plan_gateways, plan_network, undo
from contextkernel.network.rules import (
    Accept,
    Drop,
    Entered,
    From,
    Known,
    Leaves,
    Masquerade,
    Redirect,
    Rule,
    Tcp,
    To,
    ToPort,
    rules_at,
    rules_for_names,
    rules_of,
)

HOST = Ground(shared=True, outbound="routed")
ID = "0123456789ab" + "0" * 52
BRIDGE = "ck-0123456789ab"
NETWORK = NetworkRecord(id=ID, name="web", created=0, pools=(Pool(subnet="10.5.0.0/24", gateway="10.5.0.1"),))


def network(**changes) -> NetworkRecord:
    import msgspec

    return msgspec.structs.replace(NETWORK, **changes)


def endpoint(**changes) -> Endpoint:
    values = {
        "network": "web",
        "network_id": ID,
        "id": "e" * 64,
        "interface": "eth0",
        "link": "ckveeee",
        "mac": "02:42:0a:05:00:02",
        "ip": "10.5.0.2",
        "bits": 24,
        "gateway": "10.5.0.1",
    }
    return Endpoint(**(values | changes))


def test_a_network_is_brought_up_in_this_order():
    assert plan_network(NETWORK, HOST) == (
        plan.AddRules(BRIDGE, BRIDGE, ("10.5.0.0/24",), closed=False, apart=False, redirect=0),
        plan.AcceptForwarded(BRIDGE),
        plan.AddBridge(BRIDGE, "02:42:0a:05:00:01", 1500),
        plan.Without6("", BRIDGE),
        plan.AddAddress("", BRIDGE, "10.5.0.1", 24),
        plan.LinkUp("", BRIDGE),
        plan.Forward(ipv6=False),
    )


def test_it_is_taken_back_in_the_reverse_order():
    assert undo(plan_network(NETWORK, HOST)) == (
        plan.RemoveLink(BRIDGE),
        plan.ForgetForwarded(BRIDGE),
        plan.RemoveRules(BRIDGE),
    )


def test_an_internal_network_is_closed_and_nothing_is_forwarded():
    steps = plan_network(network(internal=True), HOST)
    assert steps[0] == plan.AddRules(BRIDGE, BRIDGE, (), closed=True, apart=False, redirect=0)
    assert not any(isinstance(step, plan.Forward) for step in steps)


def test_in_a_namespace_of_our_own_no_other_firewall_is_touched():
    steps = plan_network(NETWORK, Ground(shared=False, outbound="tap"))
    assert not any(isinstance(step, plan.AcceptForwarded) for step in steps)
    assert steps[-1] == plan.Forward(ipv6=False)


def test_with_a_relay_outbound_connections_are_led_to_it_and_nothing_is_routed():
    rules, *rest = plan_network(NETWORK, Ground(shared=False, outbound="relay", redirect=4444, redirect6=4446))
    own = tuple(pool.subnet for pool in NETWORK.pools)
    expected = plan.AddRules(BRIDGE, BRIDGE, (), closed=True, apart=False, redirect=4444, redirect6=4446, own=own)
    assert rules == expected
    assert not any(isinstance(step, plan.Forward) for step in rest)


def test_without_a_packet_filter_there_are_no_rules():
    steps = plan_network(NETWORK, Ground(shared=False, outbound="none", filters=False))
    assert not any(isinstance(step, plan.AddRules | plan.Forward) for step in steps)


def test_both_families():
    both = network(ipv6=True, pools=(*NETWORK.pools, Pool(subnet="fd00::/64", gateway="fd00::1")))
    steps = plan_network(both, HOST)
    assert plan.AddAddress("", BRIDGE, "fd00::1", 64) in steps
    assert not any(isinstance(step, plan.Without6) for step in steps)
    assert steps[-1] == plan.Forward(ipv6=True)
    assert isinstance(steps[0], plan.AddRules)
    assert steps[0].masquerade == ("10.5.0.0/24", "fd00::/64")


def test_options_of_the_driver():
    options = {
        "com.docker.network.bridge.name": "br-mine",
        "com.docker.network.driver.mtu": "1400",
        "com.docker.network.bridge.enable_ip_masquerade": "false",
        "com.docker.network.bridge.enable_icc": "false",
    }
    steps = plan_network(network(options=options), HOST)
    assert steps[0] == plan.AddRules("br-mine", "br-mine", (), closed=False, apart=True, redirect=0)
    assert plan.AddBridge("br-mine", "02:42:0a:05:00:01", 1400) in steps


def test_an_endpoint_is_connected_in_this_order():
    assert plan_endpoint(NETWORK, endpoint(), "box") == (
        plan.AddVeth("ckveeee", BRIDGE, "box", "eth0", "02:42:0a:05:00:02", 1500),
        plan.Without6("box", "eth0"),
        plan.LinkUp("box", "eth0"),
        plan.AddAddress("box", "eth0", "10.5.0.2", 24),
    )
    assert undo(plan_endpoint(NETWORK, endpoint(), "box")) == (plan.RemoveLink("ckveeee"),)


def test_an_endpoint_with_both_families_keeps_ipv6():
    steps = plan_endpoint(NETWORK, endpoint(ip6="fd00::2", bits6=64), "box")
    assert steps[1:] == (
        plan.LinkUp("box", "eth0"),
        plan.AddAddress("box", "eth0", "10.5.0.2", 24),
        plan.AddAddress("box", "eth0", "fd00::2", 64),
    )


def test_the_way_out_is_that_of_the_highest_priority_then_of_the_first_name():
    first = endpoint(network="b", gateway="10.5.0.1")
    second = endpoint(network="a", interface="eth1", gateway="10.6.0.1", gateway6="fd00::1")
    third = endpoint(network="z", interface="eth2", gateway="10.7.0.1", priority=1)
    assert plan_gateways((first, second), "box") == (
        plan.SetGateway("box", "eth1", 4, "10.6.0.1"),
        plan.SetGateway("box", "eth1", 6, "fd00::1"),
    )
    assert plan_gateways((first, second, third), "box") == (
        plan.SetGateway("box", "eth2", 4, "10.7.0.1"),
        plan.SetGateway("box", "eth1", 6, "fd00::1"),
    )
    assert plan_gateways((endpoint(gateway=""),), "box") == ()


def test_a_link_address_follows_from_the_address():
    assert mac_of("172.17.0.2", "") == "02:42:ac:11:00:02"
    assert mac_of("", "fd00::1:2") == "02:46:00:01:00:02"
    assert mac_of("172.17.0.2", "fd00::9") == "02:42:ac:11:00:02"


def test_the_rules_of_a_bridge():
    wanted = plan.AddRules("t", "br", ("10.5.0.0/24",), closed=False, apart=False, redirect=0)
    assert rules_of(wanted) == (
        Rule("postrouting", (From("10.5.0.0/24"), Leaves("br", other=True), Masquerade())),
        Rule("forward", (Entered("br"), Leaves("br"), Accept())),
        Rule("forward", (Leaves("br"), Known(), Accept())),
        Rule("forward", (Leaves("br"), Drop())),
    )


def test_the_rules_of_a_closed_bridge_whose_containers_are_apart():
    own = ("10.5.0.0/24", "fd00::/64", "10.6.0.0/24")
    wanted = plan.AddRules("t", "br", (), closed=True, apart=True, redirect=4444, redirect6=4446, own=own)
    assert rules_of(wanted) == (
        Rule("forward", (Entered("br"), Leaves("br"), Drop())),
        Rule("forward", (Entered("br"), Drop())),
        Rule("forward", (Leaves("br"), Drop())),
        Rule(
            "prerouting",
            (
                Entered("br"),
                Tcp(4),
                To("10.5.0.0/24", other=True),
                To("10.6.0.0/24", other=True),
                Redirect(4444),
            ),
        ),
        Rule("prerouting", (Entered("br"), Tcp(6), To("fd00::/64", other=True), Redirect(4446))),
    )


def test_questions_are_led_to_the_resolver():
    wanted = plan.LeadNames("c", "127.0.0.11", 4000, 4001)
    assert rules_for_names(wanted) == (
        Rule("output", (To("127.0.0.11/32"), ToPort("udp", 53), Redirect(4000))),
        Rule("output", (To("127.0.0.11/32"), ToPort("tcp", 53), Redirect(4001))),
    )


def test_nothing_comes_in_by_a_link_to_the_outside_but_answers():
    assert rules_at("tap0") == (
        Rule("input", (Entered("tap0"), Known(), Accept())),
        Rule("input", (Entered("tap0"), Drop())),
    )
    assert plan.undo((plan.GuardLink("tap0"),)) == (plan.RemoveRules("tap0"),)
