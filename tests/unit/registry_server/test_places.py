"""Registries as processes: they start, live on, come back as they were, and end."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contextkernel import Engine
from contextkernel.errors import Conflict, HostUnsupported, InvalidInput, LaunchFailed, NotFound
from contextkernel.registry_server.places import Place, Wanted, listen, pid_namespace
from contextkernel.testing.registry import ServedRegistry


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "store") as one:
        yield one
        for row in one.registries():
            one.remove_registry(row.name, force=True)


@pytest.fixture
def client(connect: Callable[..., object]) -> Callable[[str], object]:
    return lambda address: connect(ServedRegistry(address, None))  # type: ignore[arg-type]


def test_it_lives_on_and_comes_back(tmp_path, client):
    with Engine(tmp_path / "store") as engine:
        row = engine.start_registry(port=0)
        assert (row.running, row.read_only, row.user) == (True, False, "")
        digest, _ = client(row.address).push_image("team/demo", "v1")
    assert client(row.address)("GET", "/v2/").status == 200, "without the engine that started it"
    with Engine(tmp_path / "store") as engine:
        assert engine.start_registry() == row, "it runs already"
        assert engine.stop_registry() is True
        assert engine.stop_registry() is False
        (stopped,) = engine.registries()
        assert (stopped.running, stopped.address, stopped.tags) == (False, row.address, 1)
        with pytest.raises(ConnectionRefusedError):
            client(row.address)("GET", "/v2/")
        again = engine.start_registry()
        assert again == row
        answer = client(again.address)("GET", "/v2/team/demo/manifests/v1")
        assert answer.headers["docker-content-digest"] == digest
        (image,) = engine.registry_images()
        assert (image.repository, image.tag, image.digest, image.kind) == ("team/demo", "v1", digest, "image")
        assert image.size == len(b'{"architecture":"amd64","os":"linux"}') + len(b"layer")
        with pytest.raises(Conflict, match="is running"):
            engine.remove_registry("registry")
        engine.remove_registry("registry", force=True)
        assert engine.registries() == ()
        with pytest.raises(NotFound, match=r"no such registry: registry\n.*registry start makes one"):
            engine.stop_registry()


def test_several_beside_each_other(engine, client):
    first, second = engine.start_registry(port=0), engine.start_registry("other", port=0)
    assert first.address != second.address
    client(first.address).push_image("team/demo", "v1")
    assert client(second.address)("GET", "/v2/team/demo/manifests/v1").status == 404
    assert [row.name for row in engine.registries()] == ["other", "registry"]


def test_it_runs_otherwise(engine):
    row = engine.start_registry(port=0)
    engine.start_registry(images=False, user="")
    for wanted in ({"images": True}, {"user": "student", "password": "x"}, {"port": 1}):
        with pytest.raises(Conflict, match="registry registry runs already"):
            engine.start_registry(**wanted)
    engine.stop_registry()
    with pytest.raises(InvalidInput, match="a user needs a password"):
        engine.start_registry(user="student")
    assert engine.start_registry(user="student", password="a lesson").user == "student"
    engine.stop_registry()
    kept = engine.start_registry()
    assert (kept.user, kept.address) == ("student", row.address), "as it was the last time"
    engine.stop_registry()
    assert engine.start_registry(user="").user == ""


def test_a_password_is_asked_for_and_not_kept(engine, client):
    row = engine.start_registry(port=0, user="student", password="a lesson")
    assert row.reach == "whoever has the password of student"
    assert client(row.address)("GET", "/v2/").status == 401
    right = "Basic c3R1ZGVudDphIGxlc3Nvbg=="
    assert client(row.address)("GET", "/v2/", Authorization=right).status == 200
    for path in Path(engine.root, "registry").rglob("*"):
        if path.is_file():
            assert b"a lesson" not in path.read_bytes()
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_a_port_that_is_taken(engine):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Conflict, match=f"port {port} of 127.0.0.1 is taken"):
            engine.start_registry(port=port)
        assert engine.registries() == (), "nothing was started"
        for sock in listen(None, port):
            assert sock.getsockname()[1] != port
            sock.close()
    with pytest.raises(InvalidInput, match="not a port"):
        engine.start_registry(port=70_000)


def test_it_listens_on_loopback_alone(engine, client):
    row = engine.start_registry(port=0)
    port = int(row.address.rpartition(":")[2])
    listening = "0A"
    found = []
    for table, here in (("tcp", "0100007F"), ("tcp6", "0" * 24 + "01000000")):
        lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        found += [line.split()[1] == f"{here}:{port:04X}" for line in lines if is_of(line, port, listening)]
    assert found
    assert all(found)
    answer = client(row.address)("GET", "/v2/", Host="registry.example.org")
    assert (answer.status, answer.codes) == (403, ["DENIED"])


def is_of(line: str, port: int, state: str) -> bool:
    words = line.split()
    return words[1].endswith(f":{port:04X}") and words[3] == state


def test_one_that_was_killed(engine, client):
    row = engine.start_registry(port=0)
    client(row.address).push_image("team/demo", "v1")
    place = Place(engine.root, "registry")
    os.kill(holder(place), signal.SIGKILL)
    while place.running:
        pass
    assert [one.running for one in engine.registries()] == [False]
    assert engine.start_registry() == row
    assert client(row.address)("GET", "/v2/team/demo/manifests/v1").status == 200


def test_memory_does_not_grow_with_the_blob(engine, client):
    """Nor with the number of readers that are slow."""
    row = engine.start_registry(port=0)
    ask, pid, piece, count = client(row.address), holder(Place(engine.root, "registry")), bytes(1 << 20), 150
    before = peak(pid)
    state = hashlib.sha256()
    for _ in range(count):
        state.update(piece)
    digest = f"sha256:{state.hexdigest()}"
    answer = ask("POST", f"/v2/team/demo/blobs/uploads/?digest={digest}", (piece for _ in range(count)))
    assert answer.status == 201
    host, _, port = row.address.rpartition(":")
    slow = [socket.create_connection((host, int(port)), timeout=30) for _ in range(8)]
    for one in slow:
        one.sendall(f"GET /v2/team/demo/blobs/{digest} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert one.recv(100)
    for one in slow:
        one.close()
    assert peak(pid) - before < 60 << 10


def peak(pid: int) -> int:
    """KiB of memory that a process has had at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def holder(place: Place) -> int:
    while (held := place._holder()) is None:
        pass
    return held.pid


def test_one_that_cannot_serve_says_why(engine):
    engine.start_registry(port=0)
    engine.stop_registry()
    index = Path(engine.root, "registry/registry/layout/index.json")
    index.unlink()
    index.mkdir()
    with pytest.raises(LaunchFailed, match="cannot be started: IsADirectoryError"):
        engine.start_registry()
    assert [row.running for row in engine.registries()] == [False]


def test_nobody_else_is_ended(engine):
    """A lock that is held with the id of some other process in it: a server of another container, say."""
    place = Place(engine.root, "registry")
    engine.start_registry(port=0)
    pid = holder(place)
    lock = Path(place.path, "lock")
    lock.write_text(f'{{"pid":{os.getpid()},"namespace":{pid_namespace() + 1}}}')
    with pytest.raises(HostUnsupported, match="another container"):
        engine.stop_registry()
    lock.write_text(f'{{"pid":{pid},"namespace":{pid_namespace()}}}')


def test_a_server_notices_that_its_directory_is_gone(tmp_path):
    place = Place(str(tmp_path), "one")
    os.makedirs(place.path)
    lock = os.open(f"{place.path}/lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        assert place.holds(lock)
        os.rename(f"{place.path}/lock", f"{place.path}/old")
        assert not place.holds(lock)
        Path(place.path, "lock").write_text("another's")
        assert not place.holds(lock)
    finally:
        os.close(lock)


def test_without_the_kernel_s_table_a_password_is_needed(tmp_path, monkeypatch):
    from contextkernel.registry_server.access import Peers

    monkeypatch.setattr(Peers, "known", False)
    place = Place(str(tmp_path), "one")
    with pytest.raises(HostUnsupported, match="any user of it could push"):
        place.start(Wanted(port=0))
    assert not place.exists


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-x", "x" * 64, "a b"])
def test_names_that_are_none(engine, name):
    with pytest.raises(InvalidInput, match="cannot name a registry"):
        engine.start_registry(name)


def test_what_it_keeps_is_counted(engine, client):
    """In a line below docker's four, and within the store's bound."""
    assert [row.type for row in engine.disk_usage()] == ["Images", "Containers", "Local Volumes", "Build Cache"]
    row = engine.start_registry(port=0)
    before = engine.store_room()
    client(row.address).push_image("team/demo", "v1")
    running = engine.disk_usage()[-1]
    assert (running.type, running.total, running.active, running.reclaimable) == ("Registries", 1, 1, 0)
    assert running.size == engine.registries()[0].size > 0
    engine.stop_registry()
    stopped = engine.disk_usage()[-1]
    assert (stopped.active, stopped.size, stopped.reclaimable) == (0, running.size, running.size)
    room = engine.store_room()
    assert room.registries - before.registries >= running.size
    assert room.used >= before.used + running.size
    assert [row.name for row in engine.disk_usage_details().registries] == ["registry"]
