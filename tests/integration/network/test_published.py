"""Published ports, from the host: as root and as an ordinary user."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from contextkernel.errors import ContextKernelError
from contextkernel.linux.userns_shared import registry_of

pytestmark = pytest.mark.timeout(180)

PATIENCE = 60
WEB = ["httpd", "-f", "-p", "80", "-h", "/www"]

#: a program that answers datagrams, in a container's network namespace; the image has none
ANSWERS = """
import os, socket, sys
import msgspec
from contextkernel.linux.namespaces import CLONE_NEWNET, setns
from contextkernel.linux.userns_shared import enter_shared
from contextkernel.model.ids import IdMap
enter_shared(msgspec.json.decode(sys.argv[1], type=IdMap), sys.argv[2])
setns(os.open(f"/proc/{sys.argv[3]}/ns/net", os.O_RDONLY), CLONE_NEWNET)
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("", 5353))
print("ready", flush=True)
while True:
    data, sender = one.recvfrom(65535)
    one.sendto(data.upper(), sender)
"""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def bound(engine, name: str, port: str = "80/tcp") -> list[tuple[str, int]]:
    return [(one["HostIp"], int(one["HostPort"])) for one in engine.ports(name)[port] or ()]


def fetch_once(host: str, port: int) -> str:
    with urllib.request.urlopen(f"http://{host}:{port}/index.html", timeout=PATIENCE) as answer:
        text: str = answer.read().decode()
        return text


def fetch(host: str, port: int) -> str:
    """What the server says, once it listens: a detached container has started its program, and no more."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return fetch_once(host, port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_a_web_server_by_ipv4_and_ipv6(engine):
    engine.run("box", WEB, name="web", ports=["80"], detach=True)
    places = dict(bound(engine, "web"))
    assert fetch("127.0.0.1", places["0.0.0.0"]) == "hello from the web\n"  # noqa: S104
    if "::" in places:
        assert fetch("[::1]", places["::"]) == "hello from the web\n"
        assert len(set(places.values())) == 1


def test_it_is_relayed_on_a_network_of_ones_own_too(engine):
    engine._containers.networks.create("net")
    engine.run("box", WEB, name="web", network="net", ports=["127.0.0.1::80"], detach=True)
    ((host, port),) = bound(engine, "web")
    assert fetch(host, port) == "hello from the web\n"


def test_many_requests_at_once(engine):
    engine.run("box", WEB, name="web", ports=["127.0.0.1::80"], detach=True)
    ((host, port),) = bound(engine, "web")
    answers = [fetch(host, port)]
    threads = [threading.Thread(target=lambda: answers.append(fetch(host, port))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert answers == ["hello from the web\n"] * 41


@pytest.fixture
def answering(engine) -> Iterator[Callable[[str], None]]:
    made: list[subprocess.Popen[str]] = []

    def start(name: str) -> None:
        containers = engine._containers
        pid = containers.state(containers.find(name)).pid
        words = [msgspec.json.encode(engine._idmap).decode(), registry_of(engine.root), str(pid)]
        one = subprocess.Popen([sys.executable, "-c", ANSWERS, *words], stdout=subprocess.PIPE, text=True)
        made.append(one)
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"

    yield start
    for one in made:
        one.kill()
        assert one.stdout is not None
        one.stdout.close()
        one.wait()


def test_datagrams(engine, answering):
    engine.run("box", ["sleep", "60"], name="echo", ports=["127.0.0.1::5353/udp"], detach=True)
    answering("echo")
    ((host, port),) = bound(engine, "echo", "5353/udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect((host, port))
        for word in (b"one", b"two"):
            client.send(word)
            assert client.recv(100) == word.upper()


def test_a_port_that_is_taken_is_told_before_the_program_starts(engine):
    engine.run("box", WEB, name="first", ports=["127.0.0.1::80"], detach=True)
    ((host, port),) = bound(engine, "first")
    with pytest.raises(ContextKernelError) as caught:
        engine.run("box", ["true"], name="second", ports=[f"{host}:{port}:80"])
    assert f"Bind for {host}:{port} failed: port is already allocated" in str(caught.value)
    assert "container first has it" in (caught.value.hint or "")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ContextKernelError, match=f"failed to bind host port 127.0.0.1:{port}/tcp: address already"):
            engine.run("box", ["true"], name="third", ports=[f"127.0.0.1:{port}:80"])


def test_a_port_is_free_again_when_its_container_has_ended(engine):
    engine.run("box", WEB, name="first", ports=["127.0.0.1::80"], detach=True)
    ((host, port),) = bound(engine, "first")
    engine.stop("first", timeout=0)
    engine.run("box", WEB, name="second", ports=[f"{host}:{port}:80"], detach=True)
    assert fetch(host, port) == "hello from the web\n"


def test_nobody_listens_inside(engine):
    engine.run("box", ["sleep", "60"], name="idle", ports=["127.0.0.1::80"], detach=True)
    ((host, port),) = bound(engine, "idle")
    with pytest.raises(OSError, match="reset by peer"):
        fetch_once(host, port)


def test_the_port_outlives_the_command_that_published_it(engine, command):
    done = command(engine.root, "run", "-d", "--name", "web", "-p", "127.0.0.1::80", "box", *WEB)
    assert done.returncode == 0, done.stderr
    listed = command(engine.root, "port", "web", "80").stdout.strip()
    host, _, port = listed.rpartition(":")
    assert fetch(host, int(port)) == "hello from the web\n"
    assert f"{listed}->80/tcp" in command(engine.root, "ps").stdout


@pytest.mark.rootless
def test_a_low_port_is_for_root(engine):
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 81:
        return  # this host lets everybody have it
    with pytest.raises(ContextKernelError) as caught:
        engine.run("box", ["true"], ports=["127.0.0.1:81:80"], remove=True)
    assert "failed to bind host port 127.0.0.1:81/tcp: permission denied" in str(caught.value)
    assert "-p 8081:80" in (caught.value.hint or "")
