"""Bombs, and a pull that is killed, with the real layer worker: the room on disk and memory are bounded."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from judge import faulty
from judge.faulty import REPOSITORY, Faulty, Image

from contextkernel import Engine
from contextkernel.errors import ContextKernelError, InvalidArchive
from contextkernel.registry.retrying import Tries

MIB = 1 << 20
FREE = 48 * MIB
MOST_MEMORY = 200 * MIB


@pytest.fixture
def server() -> Iterator[Faulty]:
    with Faulty() as made:
        yield made


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "store") as made:
        yield made


def bomb(pack: str, size: int) -> bytes:
    """A layer of one file of zeros that is packed to almost nothing; ``size`` in bytes, a multiple of 64 MiB."""
    part = bytes(64 * MIB)
    info = tarfile.TarInfo("zeros")
    info.size = size
    header = info.tobuf(tarfile.USTAR_FORMAT)
    squeeze = (lambda data: gzip.compress(data, 1, mtime=0)) if pack == "gzip" else zstandard.ZstdCompressor(1).compress
    return squeeze(header) + squeeze(part) * (size // len(part)) + squeeze(bytes(1024))


def memory_of_children() -> int:
    """The most that any process started from here has had, in bytes."""
    most, left = 0, [os.getpid()]
    while left:
        for task in Path(f"/proc/{left.pop()}/task").glob("*/children"):
            for child in task.read_text().split():
                left.append(int(child))
                status = Path(f"/proc/{child}/status").read_text()
                most = max([most, *(int(line.split()[1]) << 10 for line in status.splitlines() if "VmHWM" in line)])
    return most


@pytest.mark.parametrize("pack", ["gzip", "zstd"])
def test_a_bomb_does_not_fill_the_disk(
    engine: Engine, server: Faulty, monkeypatch: pytest.MonkeyPatch, pack: str
) -> None:
    layer = bomb(pack, 4 << 30)
    assert len(layer) < 32 * MIB, "or it is no bomb"
    image = Image([layer], ["sha256:" + "0" * 64])
    image.media_type = faulty.LAYER_GZIP if pack == "gzip" else faulty.LAYER_ZSTD
    image.publish(server, REPOSITORY, "v1")
    monkeypatch.setattr("contextkernel.store.bound.free_space", lambda _root: FREE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    with pytest.raises(InvalidArchive, match=f"larger than {FREE} bytes") as told:
        engine.pull(f"{server.address}/{REPOSITORY}:v1")
    assert told.value.hint
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before < MOST_MEMORY
    assert 0 < memory_of_children() < MOST_MEMORY
    assert engine.images() == ()
    assert engine.check_store() == ()
    assert left_on_disk(engine) < MIB


def left_on_disk(engine: Engine) -> int:
    """Bytes of everything unpacked or half-made."""
    room = engine.store_room()
    return room.layers + room.working


_PULL = """
import sys
from contextkernel import Engine
with Engine(sys.argv[1]) as engine:
    print("ready", flush=True)
    engine.pull(sys.argv[2])
"""


def test_a_pull_that_is_killed_leaves_nothing_but_what_it_goes_on_with(tmp_path: Path, server: Faulty) -> None:
    image = Image.of({"one": faulty.incompressible(300_000)}, {"two": faulty.incompressible(200_000)})
    image.publish(server, REPOSITORY, "v1")
    name = f"{server.address}/{REPOSITORY}:v1"
    stall = server.fail(f"/blobs/{faulty.digest_of(image.layers[1])}", stall=100_000)
    child = subprocess.Popen([sys.executable, "-c", _PULL, str(tmp_path / "store"), name], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        deadline = time.monotonic() + 60
        while not server.asked(faulty.digest_of(image.layers[1]), "GET"):
            assert time.monotonic() < deadline, "the second layer is not asked for"
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
    server.faults.remove(stall)
    with Engine(tmp_path / "store") as engine:
        assert engine.images() == ()
        assert engine.check_store(repair=True) is not None
        assert engine.check_store() == ()
        engine.pull(name)
        assert engine.check_store() == ()
        assert len(engine.images()) == 1


def test_a_secret_of_the_registry_is_in_nothing_that_is_said(
    engine: Engine, server: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong: messages, events and the files of the store have no password, token or signature."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setattr("contextkernel.registry.pull.Tries", lambda **_: Tries(sleep=lambda _seconds: None))
    (tmp_path / "docker").mkdir()
    document = {"auths": {server.address: {"auth": faulty.BASIC}}}
    (tmp_path / "docker" / "config.json").write_text(json.dumps(document))
    Image.of({"one": b"1"}).publish(server, REPOSITORY, "v1")
    token = "t0ken-of-the-server"
    server.pages["/token"] = faulty.Page(200, {}, json.dumps({"token": token}).encode())
    realm = f'Bearer realm="http://{server.address}/token",service="x"'
    said: list[str] = []

    def hear(event: object) -> None:
        said.append(repr(event))

    for fault in (
        {"path": "/v2/", "status": 401, "headers": {"WWW-Authenticate": realm}},
        {"path": "/token", "status": 403},
        {"path": "/token", "body": f'{{"token": ["{token}"]}}'.encode()},
        {"path": "/blobs/", "status": 404},
        {"path": "/blobs/", "status": 307, "headers": {"Location": f"http://127.0.0.1:1/x?sig={token}"}},
        {"path": "/manifests/", "status": 500, "body": b"oops"},
    ):
        if fault["path"] == "/token":
            server.fail("/v2/", status=401, headers={"WWW-Authenticate": realm})
        server.fail(**fault)  # type: ignore[arg-type]
        with pytest.raises(ContextKernelError) as told:
            engine.pull(f"{server.address}/{REPOSITORY}:v1", report=hear)
        said += [str(told.value), repr(told.value), repr(vars(told.value))]
        server.faults.clear()
    engine.pull(f"{server.address}/{REPOSITORY}:v1", report=hear)
    secrets = (faulty.PASSWORD, faulty.BASIC, token)
    assert any(faulty.BASIC in str(seen.headers) for seen in server.seen), "the password was never used"
    assert [text for text in said if any(secret in text for secret in secrets)] == []
    for folder, _, names in os.walk(tmp_path / "store"):
        for name in names:
            path = Path(folder) / name
            if path.is_file():
                assert not any(secret.encode() in path.read_bytes() for secret in secrets), path
