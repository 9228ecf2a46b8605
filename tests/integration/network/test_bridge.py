"""Containers on bridges: as root in the host's network namespace."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from contextkernel.errors import Conflict, InvalidInput, LaunchFailed

GET = r"printf 'GET /index.html HTTP/1.0\n\n'"


def get(host: str) -> str:
    """A script that asks a web server, once that listens: a detached container has started its program, and no more."""
    return f"until {GET} | nc -w 20 {host} 80; do sleep 0.1; done"


pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]


def sh(engine, text: str, **more) -> str:
    done = engine.run("box", ["sh", "-c", text], remove=True, **more)
    assert done.exit_code == 0, done
    return done.stdout.decode()


def networks(engine):
    return engine._containers.networks


def state(engine, name: str):
    containers = engine._containers
    return containers.state(containers.find(name))


def test_the_default_network_is_a_bridge_with_an_address_and_a_way_out(engine):
    out = sh(engine, "ip -o -4 addr show eth0; ip route; cat /etc/hosts; hostname")
    record = networks(engine).find("bridge")
    subnet = ipaddress.ip_network(record.pools[0].subnet)
    address = str(subnet.network_address + 2)
    assert f"inet {address}/{subnet.prefixlen} brd {subnet.broadcast_address}" in out
    assert f"default via {record.pools[0].gateway} dev eth0" in out
    assert f"{address}\t{out.split()[-1]}\n" in out


def test_the_default_network_does_not_collide_with_a_route_of_the_host(engine):
    sh(engine, "true")
    subnet = ipaddress.ip_network(networks(engine).find("bridge").pools[0].subnet)
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        words = line.split()
        if not words[0].startswith("ck-") and words[7] != "00000000":
            first = socket.inet_ntoa(int(words[1], 16).to_bytes(4, "little"))
            mask = socket.inet_ntoa(int(words[7], 16).to_bytes(4, "little"))
            assert not subnet.overlaps(ipaddress.ip_network(f"{first}/{mask}"))


def test_ipv6_is_off_on_a_network_without_it_and_loopback_has_it(engine):
    out = sh(engine, "ip -6 addr")
    assert "::1/128" in out
    assert "fe80" not in out


def test_addresses_are_given_lowest_first_and_come_back(engine):
    networks(engine).create("net", subnets=["10.231.0.0/24"])
    for name in ("aa", "bb", "cc"):
        engine.run("box", ["sleep", "60"], name=name, network="net", detach=True)
    assert [state(engine, name).network.endpoints[0].ip for name in ("aa", "bb", "cc")] == [
        "10.231.0.2",
        "10.231.0.3",
        "10.231.0.4",
    ]
    engine.stop("bb", timeout=0)
    assert "10.231.0.3/24" in sh(engine, "ip addr", network="net")


def test_two_containers_find_each_other_by_name(engine):
    networks(engine).create("net", subnets=["10.231.0.0/24"])
    engine.run("box", ["httpd", "-f", "-p", "80", "-h", "/www"], name="web", network="net", detach=True)
    out = sh(engine, f"nslookup web; {get('10.231.0.2')}; cat /etc/resolv.conf", network="net")
    assert "10.231.0.2" in out
    assert "hello from the web" in out
    assert "nameserver 127.0.0.11\noptions ndots:0\n" in out


def test_the_outside_is_reached_under_the_hosts_address(engine):
    host = _address_of_host()
    with socket.create_server((host, 0)) as server:
        seen = []

        def serve() -> None:
            connection, peer = server.accept()
            with connection:
                seen.append(peer[0])
                connection.sendall(b"welcome\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        out = sh(engine, f"nc -w 20 {host} {server.getsockname()[1]} < /dev/null")
        thread.join(60)
    assert out == "welcome\n"
    assert len(seen) == 1


def test_networks_do_not_reach_each_other(engine):
    for name, subnet in (("one", "10.231.0.0/24"), ("two", "10.232.0.0/24")):
        networks(engine).create(name, subnets=[subnet])
    engine.run("box", ["httpd", "-f", "-p", "80", "-h", "/www"], name="web", network="one", detach=True)
    assert "hello" in sh(engine, f"{get('10.231.0.2')}", network="one")
    done = engine.run("box", ["nc", "-w", "2", "10.231.0.2", "80"], network="two", remove=True)
    assert done.exit_code != 0


def test_an_internal_network_has_no_way_out(engine):
    networks(engine).create("closed", subnets=["10.231.0.0/24"], internal=True)
    out = sh(engine, "ip route", network="closed")
    assert "default" not in out
    assert "10.231.0.0/24" in out


def test_none_has_nothing_but_loopback(engine):
    out = sh(engine, "ip -o addr; cat /etc/hosts", network="none")
    assert "eth0" not in out
    assert "inet 127.0.0.1/8" in out


def test_another_containers_network_is_shared(engine):
    engine.run("box", ["httpd", "-f", "-p", "80", "-h", "/www"], name="web", hostname="webhost", detach=True)
    out = sh(engine, f"{get('127.0.0.1')}; cat /etc/hosts; hostname", network="container:web")
    assert "hello from the web" in out
    assert f"{state(engine, 'web').network.endpoints[0].ip}\twebhost\n" in out
    assert out.endswith("webhost\n")
    engine.stop("web", timeout=0)
    with pytest.raises(LaunchFailed, match="cannot join network namespace of a non running container"):
        engine.run("box", ["true"], network="container:web", remove=True)


def test_a_network_that_is_not_there_is_a_clear_error(engine):
    with pytest.raises(LaunchFailed, match="failed to set up container networking: network nope not found"):
        engine.run("box", ["true"], network="nope", remove=True)


def test_a_network_in_use_is_not_removed_and_an_unused_one_is(engine, links):
    networks(engine).create("net", subnets=["10.231.0.0/24"])
    engine.run("box", ["sleep", "60"], name="user", network="net", detach=True)
    with pytest.raises(Conflict, match="network net has active endpoints"):
        networks(engine).remove("net")
    bridge = networks(engine).find("net").bridge
    assert bridge in links()
    engine.stop("user", timeout=0)
    networks(engine).remove("net")
    assert bridge not in links()


def test_subnets_that_overlap_are_refused(engine):
    networks(engine).create("net", subnets=["10.231.0.0/24"])
    with pytest.raises(Conflict, match="Pool overlaps with other one"):
        networks(engine).create("again", subnets=["10.231.0.128/25"])
    with pytest.raises(Conflict, match="network with name net already exists"):
        networks(engine).create("net")
    with pytest.raises(InvalidInput, match="predefined host network"):
        networks(engine).create("host")


def test_the_network_survives_the_death_of_its_service(engine, eventually):
    """The monitor starts another service, which gives the same address again, and takes everything away at the end."""
    networks(engine).create("net", subnets=["10.231.0.0/24"])
    engine.run("box", ["httpd", "-f", "-p", "80", "-h", "/www"], name="web", network="net", detach=True)
    before = state(engine, "web").network.endpoints
    killed = _service(engine.root)
    assert killed
    for pid in killed:
        with suppress(ProcessLookupError):  # one ends with the other
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: (now := _service(engine.root)) and not set(now) & set(killed), "a new service")
    assert state(engine, "web").network.endpoints == before
    # the address is known to be taken, names are resolved again
    out = sh(engine, f"ip -o -4 addr show eth0; nslookup web; {get('10.231.0.2')}", network="net")
    assert "10.231.0.3/24" in out
    assert "10.231.0.2" in out
    assert "hello from the web" in out


def test_a_monitor_that_is_killed_frees_what_its_container_had(engine, eventually, links):
    networks(engine).create("net", subnets=["10.231.0.0/24"])
    engine.run("box", ["sleep", "60"], name="aa", network="net", detach=True)
    init = state(engine, "aa").pid
    monitor = int(Path(f"/proc/{init}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(monitor, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{init}"), "the end of the container")
    eventually(lambda: not [name for name in links() if name.startswith("ckv")], "the end of its link")
    assert "10.231.0.2/24" in sh(engine, "ip addr", network="net")


def _service(root: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes()
        except OSError:
            continue
        if b"contextkernel.network.process" in words and root.encode() in words:
            found.append(int(entry.parent.name))
    return found


def _address_of_host() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))
        except OSError:
            pytest.skip("this host has no route to the outside")
        return str(probe.getsockname()[0])
