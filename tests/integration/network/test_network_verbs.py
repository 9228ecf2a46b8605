"""Networks through the command line and the engine, as root."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from contextkernel import Engine
from contextkernel.errors import Conflict, InvalidInput, NetworkNotFound
from contextkernel.model.networks import Pool

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]

GET = r"printf 'GET /index.html HTTP/1.0\n\n'"


def get(host: str) -> str:
    """A script that asks a web server, once that listens: a detached container has started its program, and no more."""
    return f"until {GET} | nc -w 20 {host} 80; do sleep 0.1; done"


def sh(engine, text: str, **more) -> str:
    done = engine.run("box", ["sh", "-c", text], remove=True, **more)
    assert done.exit_code == 0, done
    return done.stdout.decode()


def inside(engine, name: str, *words: str) -> str:
    """What a program of the host's sees in a container's network namespace and files."""
    pid = engine.inspect([name])[0]["State"]["Pid"]
    enter = ["nsenter", "-t", str(pid), "-n", "-m", "-r", *words]
    return subprocess.run(enter, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def documents(engine):
    def ask(name: str) -> dict:
        return engine.inspect([name])[0]["NetworkSettings"]

    return ask


def test_create_list_inspect_and_remove(engine, command):
    root = engine.root
    made = command(root, "network", "create", "--subnet", "10.233.0.0/24", "--label", "a=b", "net")
    assert (made.returncode, made.stderr) == (0, "")
    identity = made.stdout.strip()
    listed = command(root, "network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}").stdout
    assert listed == "bridge bridge local\nhost host local\nnet bridge local\nnone null local\n"
    assert command(root, "network", "ls", "-q", "--no-trunc", "--filter", "type=custom").stdout == f"{identity}\n"
    (document,) = json.loads(command(root, "network", "inspect", identity[:6]).stdout)
    assert document["IPAM"] == {"Driver": "default", "Options": {}, "Config": [{"Subnet": "10.233.0.0/24"}]}
    assert (document["Name"], document["Labels"], document["Containers"]) == ("net", {"a": "b"}, {})
    assert command(root, "network", "rm", "net", "bridge").returncode == 1
    assert [row.network.name for row in engine.networks()] == ["bridge", "host", "none"]
    gone = command(root, "network", "inspect", "net")
    assert (gone.returncode, gone.stdout) == (1, "[]\n")
    assert "network net not found" in gone.stderr


def test_prune_leaves_what_is_used(engine, command):
    for name in ("used", "unused"):
        engine.create_network(name)
    engine.run("box", ["sleep", "60"], network="used", detach=True)
    assert command(engine.root, "network", "prune", "-f").stdout == "Deleted Networks:\nunused\n\n"
    assert [row.network.name for row in engine.networks(filters={"type": ["custom"]})] == ["used"]
    (row,) = engine.networks(filters={"name": ["used"]})
    assert len(row.containers) == 1


def test_a_running_container_is_connected_and_taken_off(engine, documents):
    engine.create_network("net", subnets=["10.233.0.0/24"])
    engine.run("box", ["httpd", "-f", "-p", "80", "-h", "/www"], name="web", detach=True)
    engine.connect_network("net", "web", aliases=["www"])
    after = documents("web")["Networks"]
    assert sorted(after) == ["bridge", "net"]
    assert (after["net"]["IPAddress"], after["net"]["Aliases"]) == ("10.233.0.2", ["www"])
    assert "10.233.0.2\t" in inside(engine, "web", "cat", "/etc/hosts")
    # from then on names are resolved in it, too
    assert "nameserver 127.0.0.11" in inside(engine, "web", "cat", "/etc/resolv.conf")
    assert "hello from the web" in sh(engine, f"{get('www')}", network="net")
    assert next(iter(engine.inspect_network("net")["Containers"].values()))["Name"] == "web"
    with pytest.raises(Conflict, match="already exists in network net"):
        engine.connect_network("net", "web")
    engine.disconnect_network("net", "web")
    assert sorted(documents("web")["Networks"]) == ["bridge"]
    assert "10.233.0.2" not in inside(engine, "web", "cat", "/etc/hosts")
    assert "eth1" not in inside(engine, "web", "ip", "-o", "addr")
    with pytest.raises(Conflict, match="is not connected to the network net"):
        engine.disconnect_network("net", "web")
    # the address is free again
    assert "10.233.0.2/24" in sh(engine, "ip -o addr", network="net")


def test_what_was_connected_is_connected_again_after_the_service_was_lost(engine, documents, eventually):
    engine.create_network("net", subnets=["10.233.0.0/24"])
    engine.run("box", ["sleep", "60"], name="box1", detach=True)
    engine.connect_network("net", "box1")
    before = documents("box1")["Networks"]
    killed = _service(engine.root)
    assert killed
    for pid in killed:
        with suppress(ProcessLookupError):  # one ends with the other
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: (now := _service(engine.root)) and not set(now) & set(killed), "a new service")
    # both addresses are known to be taken
    assert "10.233.0.3/24" in sh(engine, "ip -o addr", network="net")
    assert documents("box1")["Networks"] == before


def _service(root: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = entry.read_bytes()
            if b"contextkernel.network.process" in words and root.encode() in words:
                found.append(int(entry.parent.name))
    return found


def test_the_way_out_moves_to_a_network_that_is_left(engine):
    engine.create_network("net", subnets=["10.233.0.0/24"])
    engine.run("box", ["sleep", "60"], name="box1", detach=True)
    engine.connect_network("net", "box1")
    engine.disconnect_network("bridge", "box1")
    assert "default via 10.233.0.1 dev eth1" in inside(engine, "box1", "ip", "route")


def test_a_stopped_container_is_connected_when_it_starts(engine, documents):
    engine.create_network("net", subnets=["10.233.0.0/24"])
    engine.create("box", ["sleep", "60"], name="later")
    engine.connect_network("net", "later", ipv4_address="10.233.0.77")
    engine.disconnect_network("bridge", "later")
    assert documents("later")["Networks"]["net"]["IPAMConfig"] == {"IPv4Address": "10.233.0.77"}
    engine.start("later")
    networks = documents("later")["Networks"]
    assert (sorted(networks), networks["net"]["IPAddress"]) == (["net"], "10.233.0.77")


def test_what_cannot_be_connected(engine):
    engine.create_network("net", subnets=["10.233.0.0/24"])
    engine.create("box", ["true"], name="plain")
    engine.create("box", ["true"], name="alone", network="none")
    engine.create("box", ["true"], name="hosted", network="host")
    for network, container, problem in (
        ("host", "plain", "cannot connect container to host network"),
        ("net", "alone", "private .none. mode"),
        ("net", "hosted", "sharing network namespace"),
    ):
        with pytest.raises(Conflict, match=problem):
            engine.connect_network(network, container)
    with pytest.raises(NetworkNotFound):
        engine.connect_network("nope", "plain")
    with pytest.raises(InvalidInput, match=r"no configured subnet or ip-range contain the IP address 10\.9\.9\.9"):
        engine.connect_network("net", "plain", ipv4_address="10.9.9.9")


def test_several_networks_with_all_their_settings(engine, command, documents):
    engine.create_network("one", subnets=["10.233.0.0/24"])
    engine.create_network("two", subnets=["10.234.0.0/24"])
    run = ["run", "-d", "--name", "both", "--network", "name=one,ip=10.233.0.50,alias=x", "--network"]
    done = command(engine.root, *run, "name=two,mac-address=02:42:00:00:00:09,gw-priority=5", "box", "sleep", "60")
    assert done.returncode == 0, done.stderr
    networks = documents("both")["Networks"]
    assert networks["one"]["IPAddress"] == "10.233.0.50"
    assert networks["two"]["MacAddress"] == "02:42:00:00:00:09"
    assert "default via 10.234.0.1" in inside(engine, "both", "ip", "route")


def test_both_families(engine, documents):
    engine.create_network("six", enable_ipv6=True, subnets=["fd00:233::/64", "10.233.0.0/24"])
    web = ["httpd", "-f", "-p", "80", "-h", "/www"]
    engine.run("box", web, name="web", network="six", ip6_address="fd00:233::9", ports=["80"], detach=True)
    out = sh(engine, f"ip -6 route; nslookup web; {get('fd00:233::9')}", network="six")
    assert "default via fd00:233::1 dev eth0" in out
    assert "Address: fd00:233::9" in out
    assert "hello from the web" in out
    (port,) = {binding["HostPort"] for binding in documents("web")["Ports"]["80/tcp"]}
    with socket.create_connection(("127.0.0.1", int(port)), 60) as client:
        client.sendall(b"GET /index.html HTTP/1.0\n\n")
        assert b"hello from the web" in client.makefile("rb").read()


def test_a_port_that_is_taken_is_refused_and_costs_nothing(engine, command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command(engine.root, "run", "--name", "late", "-p", f"127.0.0.1:{port}:80", "box", "true")
        assert done.returncode == 125
        assert f"failed to bind host port 127.0.0.1:{port}/tcp: address already in use" in done.stderr
    assert [row.state for row in engine.containers(all=True)] == ["created"]
    # neither the address nor the port was kept
    engine.run("box", ["true"], ports=[f"127.0.0.1:{port}:80"], remove=True)


def test_files_and_names_as_asked_for(engine):
    out = sh(
        engine,
        "cat /etc/hosts /etc/resolv.conf; hostname -f",
        hostname="box1",
        domainname="example.org",
        dns=["9.9.9.9"],
        dns_search=["example.org"],
        dns_opt=["ndots:3"],
        extra_hosts={"db": "10.0.0.9"},
    )
    assert "10.0.0.9\tdb\n" in out
    assert "\tbox1.example.org box1\n" in out
    assert "nameserver 9.9.9.9\nsearch example.org\noptions ndots:3\n" in out


def test_links_on_the_default_network_are_lines_of_hosts(engine, documents):
    engine.run("box", ["sleep", "60"], name="db", hostname="dbhost", detach=True)
    address = documents("db")["IPAddress"]
    assert f"{address}\tstore dbhost db\n" in sh(engine, "cat /etc/hosts", links={"db": "store"})


def test_events_of_networks(engine):
    identity = engine.create_network("net")
    engine.run("box", ["true"], network="net", remove=True)
    engine.remove_network("net")
    events = engine.events(since=0, until="0s", filters={"type": ["network"]})
    assert [(one.action, one.attributes["name"]) for one in events if one.id == identity] == [
        ("create", "net"),
        ("connect", "net"),
        ("disconnect", "net"),
        ("destroy", "net"),
    ]


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_root_without_the_right_to_make_networks(tmp_path, archive, nothing_left):
    """As in a container that was given CAP_SYS_ADMIN alone: the host's network, and inspect says why."""
    root = str(tmp_path / "store")
    with Engine(root) as engine:
        engine.import_image(str(archive), "box")

    def poorer(*words: str) -> subprocess.CompletedProcess[str]:
        program = "import sys; from contextkernel.cli import main; sys.exit(main())"
        enter = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", sys.executable, "-c", program]
        return subprocess.run([*enter, "--root", root, *words], capture_output=True, text=True, check=False)

    done = poorer("run", "--name", "hosted", "box", "readlink", "/proc/self/ns/net")
    assert (done.returncode, done.stdout.strip()) == (0, os.readlink("/proc/self/ns/net"))
    layout = "{{json .ContextKernel}}"
    ours = json.loads(poorer("inspect", "--format", layout, "hosted").stdout)
    assert ours["Network"] == "host"
    assert "may not set up networks" in ours["NetworkReason"]
    assert "CAP_NET_ADMIN" in ours["NetworkReason"]
    # a network of nothing but loopback needs no such right
    done = poorer("run", "--rm", "--network", "none", "box", "readlink", "/proc/self/ns/net")
    assert done.returncode == 0
    assert done.stdout.strip() != os.readlink("/proc/self/ns/net")
    # what was asked for by name is not replaced by something else
    poorer("network", "create", "net")
    done = poorer("run", "--rm", "--network", "net", "box", "true")
    assert done.returncode == 125
    assert "this process may not set up networks" in done.stderr
    assert poorer("rm", "hosted").returncode == 0
    nothing_left(root)


def test_a_new_network_does_not_get_the_subnet_that_another_one_had_to_take(engine, tmp_path, archive, nothing_left):
    """The default network's is in use on this host when it is needed, so that it has another than its record says."""
    networks = engine._containers.networks

    def subnet(one: Engine, name: str) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(one.inspect_network(name)["IPAM"]["Config"][0]["Subnet"])

    def record(name: str, wanted: ipaddress.IPv4Network) -> None:
        pool = Pool(subnet=str(wanted), gateway=str(wanted.network_address + 1))
        engine._store.networks.replace(msgspec.structs.replace(networks.find(name), pools=(pool,)))

    root = str(tmp_path / "other")
    with Engine(root) as other:
        other.import_image(str(archive), "box")
        other.run("box", ["sleep", "60"], name="holder", detach=True)
        record("bridge", subnet(other, "bridge"))
        engine.run("box", ["sleep", "60"], name="first", detach=True)
        moved = subnet(engine, "bridge")
        assert not moved.overlaps(subnet(other, "bridge"))
        engine.create_network("net")
        assert not moved.overlaps(subnet(engine, "net"))
        record("net", moved)  # as if that had been done when it was free
        engine.run("box", ["httpd", "-f", "-p", "80", "-h", "/www"], name="web", network="net", detach=True)
        assert not moved.overlaps(subnet(engine, "net"))
        assert "hello from the web" in sh(engine, get("web"), network="net")
        other.remove_container("holder", force=True)
    nothing_left(root)


def test_two_stores_at_once_have_networks_that_do_not_collide(engine, tmp_path, archive, nothing_left):
    root = str(tmp_path / "other")
    with Engine(root) as other:
        other.import_image(str(archive), "box")
        engine.create_network("same")
        record = engine._containers.networks.find("same")
        # this one has chosen the same subnet when it was not in use
        other._store.networks.add(msgspec.structs.replace(record, id="5a" * 32))
        first = record.pools[0].subnet
        engine.run("box", ["sleep", "60"], name="one", network="same", detach=True)
        other.run("box", ["sleep", "60"], name="two", network="same", detach=True)
        subnets = [one.inspect_network("same")["IPAM"]["Config"][0]["Subnet"] for one in (engine, other)]
        assert subnets[0] == first
        assert subnets[1] != first
        other.remove_container("two", force=True)
    nothing_left(root)
    assert Path(root).exists()
