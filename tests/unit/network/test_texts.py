from __future__ import annotations

from contextkernel.model.networks import Endpoint
from contextkernel.network.texts import changed_hosts, hosts_file, own_names, resolv_file

HOST = "# by somebody\nnameserver 127.0.0.53\nnameserver 10.0.0.53\nsearch lan\noptions edns0\n"
ONE = Endpoint(network="a", network_id="1", id="e", interface="eth0", link="l", mac="m", ip="10.5.0.2", ip6="fd00::2")
TWO = Endpoint(network="b", network_id="2", id="f", interface="eth1", link="k", mac="n", ip="10.6.0.2")


def test_hosts_has_dockers_lines_then_those_asked_for_then_the_containers_own():
    assert hosts_file([("db", "10.0.0.9")], [ONE], own_names("box", "example.org")) == (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::\tip6-localnet\n"
        "ff00::\tip6-mcastprefix\n"
        "ff02::1\tip6-allnodes\n"
        "ff02::2\tip6-allrouters\n"
        "10.0.0.9\tdb\n"
        "10.5.0.2\tbox.example.org box\n"
        "fd00::2\tbox.example.org box\n"
    )


def test_a_host_name_with_dots_is_found_by_its_first_part_too():
    assert own_names("box.example.org", "") == "box.example.org box"
    assert own_names("box.lab", "example.org") == "box.lab.example.org box"
    assert own_names("box", "") == "box"


def test_a_change_of_connections_keeps_what_the_program_has_written():
    before = hosts_file([], [ONE], "box") + "10.9.9.9\tmine\n"
    after = changed_hosts(before, [ONE], [ONE, TWO], "box")
    assert after.endswith("10.9.9.9\tmine\n10.5.0.2\tbox\nfd00::2\tbox\n10.6.0.2\tbox\n")
    assert after.count("10.5.0.2\tbox\n") == 1
    assert "10.5.0.2" not in changed_hosts(after, [ONE, TWO], [TWO], "box")


def test_without_a_resolver_the_hosts_servers_are_those_that_can_be_reached():
    assert resolv_file(HOST, resolver=False) == "nameserver 10.0.0.53\nsearch lan\noptions edns0\n"
    assert resolv_file("nameserver 127.0.0.1\n", resolver=False) == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_what_was_asked_for_replaces_what_the_host_has():
    assert (
        resolv_file(HOST, resolver=False, servers=["9.9.9.9"], search=["example.org"], options=["ndots:3"])
        == "nameserver 9.9.9.9\nsearch example.org\noptions ndots:3\n"
    )
    assert "search" not in resolv_file(HOST, resolver=False, search=["."])


def test_with_a_resolver_it_is_the_only_server():
    assert resolv_file(HOST, resolver=True, servers=["9.9.9.9"]) == (
        "nameserver 127.0.0.11\nsearch lan\noptions edns0 ndots:0\n"
    )
    assert resolv_file("", resolver=True, options=["ndots:2"]) == "nameserver 127.0.0.11\noptions ndots:2\n"
