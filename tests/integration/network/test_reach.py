"""What containers reach, and what they do not: as root and as an ordinary user, with whatever way out there is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(180)

GET = r"printf 'GET /index.html HTTP/1.0\r\n\r\n'"
OUTSIDE = "203.0.113.9"  # RFC 5737: nobody's, used where nothing is to be reached


def sh(engine, text: str, **more) -> str:
    done = engine.run("box", ["sh", "-c", text], remove=True, **more)
    assert done.exit_code == 0, done
    return done.stdout.decode()


def get(host: str) -> str:
    """A script that asks a web server, once that listens: a detached container has started its program, and no more."""
    return f"until {GET} | nc -w 20 {host} 80; do sleep 0.1; done"


def serve_web(engine, name: str, **more) -> None:
    engine.run("box", ["httpd", "-f", "-p", "80", "-h", "/www"], name=name, detach=True, **more)


def networks(engine):
    return engine._containers.networks


def address(engine, name: str) -> str:
    containers = engine._containers
    return containers.state(containers.find(name)).network.endpoints[0].ip


@pytest.fixture
def outside() -> Iterator[tuple[str, int]]:
    """A server of this machine, at an address that is not its loopback; it says what it was sent, and welcome."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((OUTSIDE, 9))
        except OSError:
            pytest.skip("this machine has no address but its loopback")
        host = probe.getsockname()[0]
    with socket.create_server((host, 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    connection.settimeout(60)
                    data = b""
                    while (piece := connection.recv(1 << 16)) != b"":
                        data += piece
                    connection.sendall(b"%d bytes, welcome\n" % len(data))

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()
        server.shutdown(socket.SHUT_RDWR)
        thread.join(20)


def test_the_outside(engine, outside):
    host, port = outside
    assert sh(engine, f"echo hello | nc -w 20 {host} {port}") == "6 bytes, welcome\n"


def test_much_to_the_outside(engine, outside):
    host, port = outside
    script = f"head -c 5000000 /dev/zero | nc -w 20 {host} {port}"
    assert sh(engine, script) == "5000000 bytes, welcome\n"


def test_a_port_outside_where_nobody_listens(engine, outside):
    host, _ = outside
    with socket.create_server((host, 0)) as free:
        nobody = free.getsockname()[1]
    done = engine.run("box", ["sh", "-c", f"echo hello | nc -w 5 {host} {nobody}"], remove=True)
    assert done.stdout == b""


def test_the_loopback_of_the_host_is_not_to_be_had(engine):
    """Neither by its own address, nor by the gateway's: what listens there (a notebook server) is this user's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        script = f"""
gateway=$(ip route | grep default | cut -d' ' -f3)
for address in 127.0.0.1 $gateway; do echo leak | nc -w 2 $address {port}; done
true"""
        sh(engine, script)
        with pytest.raises(TimeoutError):
            server.accept()


def test_containers_of_one_network_by_name_alias_and_id(engine):
    networks(engine).create("net")
    serve_web(engine, "web", network="net")
    identity = next(row.id for row in engine.containers())
    for name in ("web", "WEB", "web.net", identity[:12]):
        assert "hello from the web" in sh(engine, get(name), network="net")
    ip = address(engine, "web")
    assert "name = web.net" in sh(engine, f"nslookup {ip}", network="net")


def test_a_name_is_gone_with_its_container(engine):
    networks(engine).create("net")
    serve_web(engine, "web", network="net")
    engine.remove_container("web", force=True)
    done = engine.run("box", ["sh", "-c", "ping -c 1 -w 2 web"], network="net", remove=True)
    assert done.exit_code != 0
    assert b"bad address" in done.stderr


def test_a_container_may_have_port_53_for_itself(engine):
    networks(engine).create("net")
    listens = "grep -qE ' 0+:0035 0+:0000 0A ' /proc/net/tcp /proc/net/tcp6"
    script = f"until {listens}; do sleep 0.05; done; nslookup $(hostname); nc -w 20 127.0.0.1 53"
    out = sh(engine, f"(echo mine | nc -l -p 53) & {script}", network="net")
    assert "mine" in out
    assert "Address: " in out


def test_names_of_another_network_are_not_known_and_its_addresses_not_reached(engine):
    for name in ("one", "two"):
        networks(engine).create(name)
    serve_web(engine, "web", network="one")
    done = engine.run("box", ["sh", "-c", "ping -c 1 -w 2 web"], network="two", remove=True)
    assert b"bad address" in done.stderr
    out = engine.run("box", ["sh", "-c", f"{GET} | nc -w 3 {address(engine, 'web')} 80"], network="two", remove=True)
    assert b"hello" not in out.stdout


def test_an_internal_network_reaches_its_own_and_nothing_else(engine, outside):
    host, port = outside
    networks(engine).create("closed", internal=True)
    serve_web(engine, "web", network="closed")
    assert "hello from the web" in sh(engine, get("web"), network="closed")
    done = engine.run("box", ["sh", "-c", f"echo hello | nc -w 3 {host} {port}"], network="closed", remove=True)
    assert done.stdout == b""


def test_two_terminals_of_one_user_share_networks(engine, command):
    """Each command is a process of its own with a launcher of its own, and ends before the next one starts."""
    networks(engine).create("net")
    for name in ("aa", "bb"):
        done = command(engine.root, "run", "-d", "--name", name, "--network", "net", "box", "httpd", "-f", "-h", "/www")
        assert done.returncode == 0, done.stderr
    done = command(engine.root, "run", "--rm", "--network", "net", "box", "sh", "-c", get("aa"))
    assert "hello from the web" in done.stdout, done.stderr
    spaces = {os.readlink(f"/proc/{pid}/ns/user") for pid in _inits(engine)}
    assert len(spaces) == 1


def _inits(engine) -> list[int]:
    containers = engine._containers
    return [containers.state(containers.find(row.id)).pid for row in engine.containers()]


def test_the_service_is_killed_and_the_containers_have_their_network_again(engine, eventually):
    networks(engine).create("net")
    serve_web(engine, "web", network="net")
    before = address(engine, "web")
    killed = _service(engine.root)
    assert killed
    for pid in killed:
        with suppress(ProcessLookupError):  # one ends with the other
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: (now := _service(engine.root)) and not set(now) & set(killed), "a new service")
    assert address(engine, "web") == before
    out = sh(engine, f"nslookup web; {get('web')}", network="net")
    assert before in out
    assert "hello from the web" in out


def _service(root: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            name = (entry / "comm").read_text().strip()
            if name.startswith("ck-network") and f"{root}/network" in (entry / "cmdline").read_text():
                found.append(int(entry.name))
    return found


def test_what_is_said_of_the_way_out(engine):
    engine.run("box", ["sleep", "60"], name="aa", detach=True)
    (document,) = engine.inspect(["aa"])
    fact = next(fact for fact in engine.host_report().facts if fact.name == "outbound")
    assert document["ContextKernel"]["NetworkOutbound"] == fact.reason


@pytest.mark.rootless
def test_with_a_single_id_too(tmp_path, archive, outside, nothing_left):
    """Whatever ids the user may have; without a range there is one user namespace all the same."""
    code = f"""
import sys
from contextkernel import Engine
from contextkernel.host import inspect
from contextkernel.model.ids import IdMap, IdRange
import msgspec, os
root, archive, host, port = sys.argv[1:]
found = inspect(root)
one = IdMap((IdRange(0, os.geteuid(), 1),), (IdRange(0, os.getegid(), 1),))
report = msgspec.structs.replace(found.report, tier="rootless-single")
with Engine(root, host=msgspec.structs.replace(found, idmap=one, report=report)) as engine:
    engine.import_image(archive, "box")
    engine._containers.networks.create("net")
    engine.run("box", ["httpd", "-f", "-h", "/www"], name="web", network="net", detach=True)
    done = engine.run("box", ["sh", "-c", r"{get("web")}; echo hi | nc -w 20 " + host + " " + port],
                      network="net", remove=True)
    engine.remove_container("web", force=True)
    print(done.stdout.decode(), done.stderr.decode())
"""
    root = str(tmp_path / "store")
    done = subprocess.run(
        [sys.executable, "-c", code, root, str(archive), *map(str, outside)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "hello from the web" in done.stdout, done.stderr
    assert "3 bytes, welcome" in done.stdout
    nothing_left(root)
