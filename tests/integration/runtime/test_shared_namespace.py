"""Everybody who works on one store with the same ids is in one user namespace, as long as anybody is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from contextkernel.linux.userns_shared import registry_key
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.runtime.client import NamespaceRuntime
from contextkernel.store.worker_client import LayerWorkerClient

MEMBER = """
import os, sys
import msgspec
from contextkernel.linux.userns_shared import enter_shared
from contextkernel.model.ids import IdMap
idmap = msgspec.json.decode(sys.argv[1], type=IdMap)
membership = enter_shared(idmap, sys.argv[2])
print(os.readlink("/proc/self/ns/user"), membership.shared, os.getuid(), flush=True)
for line in sys.stdin:
    if line == "fork\\n":
        go, gone = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(gone)
            membership.note()
            print(os.getpid(), flush=True)
            os.close(1)
            os.read(go, 1)  # until the kind of parent that holds on to it is gone, or tells
            os.read(0, 1)
            os._exit(0)
"""


class Member:
    """A process in the shared namespace, until its standard input ends."""

    def __init__(self, idmap: IdMap, registry: Path) -> None:
        import msgspec

        words = [sys.executable, "-c", MEMBER, msgspec.json.encode(idmap).decode(), str(registry)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def said(self) -> tuple[str, ...]:
        assert self.process.stdout is not None
        return tuple(self.process.stdout.readline().split())

    def ask(self, what: str) -> tuple[str, ...]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return self.said()

    def end(self) -> None:
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process.wait()


@pytest.fixture
def ids(idmap: IdMap) -> IdMap:
    """Root needs no user namespace, but can make one."""
    return IdMap((IdRange(0, 300000, 1000),), (IdRange(0, 300000, 1000),)) if idmap.identity else idmap


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    return tmp_path / "run" / "userns"


@pytest.fixture
def member(ids: IdMap, registry: Path):
    made: list[Member] = []

    def make(idmap: IdMap = ids) -> Member:
        made.append(Member(idmap, registry))
        return made[-1]

    yield make
    for one in made:
        one.end()


def entries(registry: Path) -> list[Path]:
    return sorted(path for path in registry.iterdir() if path.name != "turn.lock")


def test_the_second_joins_the_first(member):
    first, second = member(), member()
    space, shared, uid = first.said()
    assert (shared, uid) == ("True", "0")
    assert space != os.readlink("/proc/self/ns/user")
    assert second.said() == (space, "True", "0")


def test_a_race_of_many_ends_in_one_namespace(member, registry):
    members = [member() for _ in range(12)]
    assert len({one.said() for one in members}) == 1
    assert len(entries(registry)) == 12


def test_another_id_map_is_another_namespace(member, ids):
    uid, gid = os.geteuid(), os.getegid()
    alone = IdMap((IdRange(0, uid, 1),), (IdRange(0, gid, 1),))
    other = alone if uid and not ids.single else IdMap((IdRange(0, 310000, 2),), (IdRange(0, 310000, 2),))
    assert registry_key(other) != registry_key(ids)
    if uid and ids.single:
        return  # this user can have no other
    first, second = member(), member(other)
    assert first.said()[0] != second.said()[0]


def test_nothing_is_left_of_the_dead(member, registry):
    first, second = member(), member()
    first.said(), second.said()
    first.end(), second.end()
    assert len(entries(registry)) == 2
    third = member()
    assert third.said()[1] == "True"
    (entry,) = entries(registry)
    assert entry.read_text().split()[1] == str(third.process.pid)


def test_a_fork_keeps_the_namespace_when_its_parent_is_killed(member):
    first = member()
    space = first.said()
    (child,) = first.ask("fork")
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    assert member().said() == space
    os.kill(int(child), signal.SIGKILL)


def test_a_process_id_that_is_somebody_elses_by_now(member, registry):
    first = member()
    space = first.said()
    (entry,) = entries(registry)
    # as if the numbers had been given to others: this process, which is in another namespace, and nobody
    lines = entry.read_text().split()
    entry.write_text(f"{lines[0]}\n{os.getpid()}\n4194305\nrubbish\n{lines[1]}\n")
    assert member().said() == space


def test_an_entry_without_a_process_to_be_found_does_not_hold_anybody_up(member, registry):
    first = member()
    space = first.said()
    entries(registry)[0].write_text("")
    other = member().said()
    assert other[1] == "True"
    assert other[0] != space[0]


def test_where_the_registry_cannot_be_written_everybody_is_alone(ids, tmp_path):
    (tmp_path / "file").write_text("")
    one = Member(ids, tmp_path / "file" / "userns")
    assert one.said()[1:] == ("False", "0")
    one.end()


@pytest.mark.rootless
def test_containers_of_two_callers_are_below_one_user_namespace_and_can_be_linked(box, registry):
    """What networks of one user need: a veth pair between the network namespaces of two launchers' containers."""
    runtimes = [NamespaceRuntime(box.idmap, registry=str(registry)) for _ in range(2)]
    processes = [one.launch(box.request("sleep", "60", state=True)) for one in runtimes]
    worker = LayerWorkerClient(box.idmap, registry=str(registry))
    try:
        spaces = [os.readlink(f"/proc/{process.pid}/ns/user") for process in processes]
        assert spaces[0] == spaces[1] != os.readlink("/proc/self/ns/user")
        runtimes[0].close()  # its monitor still is in there
        code = f"""
import json, os, socket
from contextkernel.linux.namespaces import CLONE_NEWNET, setns
from contextkernel.linux.userns_shared import enter_shared
from contextkernel.model.ids import IdMap
import msgspec
from pyroute2 import IPRoute
idmap = msgspec.json.decode({json.dumps(_json(box.idmap))}, type=IdMap)
enter_shared(idmap, {str(registry)!r})
one, two = (os.open(f"/proc/{{pid}}/ns/net", os.O_RDONLY) for pid in {[process.pid for process in processes]})
setns(one, CLONE_NEWNET)
with IPRoute() as links:
    links.link("add", ifname="left", kind="veth", peer={{"ifname": "right", "net_ns_fd": two}})
    print(bool(links.link_lookup(ifname="left")), bool(links.link_lookup(ifname="right")))
setns(two, CLONE_NEWNET)
with IPRoute() as links:
    print(bool(links.link_lookup(ifname="left")), bool(links.link_lookup(ifname="right")))
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["True", "False", "False", "True"]
    finally:
        worker.close()
        for process in processes:
            process.signal(signal.SIGKILL)
            process.wait()
            process.close()
        for one in runtimes:
            one.close()


def _json(idmap: IdMap) -> str:
    import msgspec

    return msgspec.json.encode(idmap).decode()


@pytest.mark.rootless
def test_the_layer_worker_joins_the_launcher(box, registry, tmp_path):
    worker = LayerWorkerClient(box.idmap, registry=str(registry))
    runtime = NamespaceRuntime(box.idmap, registry=str(registry))
    threads = [
        threading.Thread(target=runtime.warm),
        threading.Thread(target=worker.remove, args=([str(tmp_path / "x")],)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process = runtime.launch(box.request("true"))
    process.wait()
    process.close()
    try:
        found = {path.read_text().split()[0] for path in entries(registry)}
        assert len(found) == 1
        assert len(entries(registry)) == 2
    finally:
        worker.close()
        runtime.close()
