"""``stats`` and ``namespaces``: docker's table, templates, frames; and what is read from /proc of other processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.humanize import memory_size
from contextkernel.commands.outcome import Table, Text
from contextkernel.commands.tables import text_of
from contextkernel.runtime import seeing
from contextkernel.runtime.seeing import HOST, Seen, namespace_rows
from contextkernel.testing.fake_engine import FakeEngine
from contextkernel.testing.fake_resources import DB_ID, stats_rows
from contextkernel.testing.fake_resources import namespace_rows as canned_namespaces


class Face:
    """A face that keeps what a live view shows."""

    program, stdin, namespace = "docker", None, None

    def __init__(self) -> None:
        self.frames: list[Any] = []

    @contextmanager
    def live(self) -> Iterator[Callable[[Any], None]]:
        yield self.frames.append


def text(*words: str) -> str:
    return text_of(execute(FakeEngine(), words, Face()).value)


def test_the_table_is_dockers() -> None:
    assert text("stats", "--no-stream", "-a").splitlines() == [
        "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O       BLOCK I/O    PIDS",
        "3cca44ea2680   web       50.13%    332KiB / 64MiB      0.51%     862B / 126B   4.1kB / 0B   1",
        "0690b69cf74e   db        0.00%     0B / 0B             0.00%     0B / 0B       0B / 0B      0",
    ]


def test_json_and_templates_are_dockers() -> None:
    first = text("stats", "--no-stream", "--format", "json").splitlines()[0]
    assert first == (
        '{"BlockIO":"4.1kB / 0B","CPUPerc":"50.13%","Container":"web","ID":"3cca44ea2680","MemPerc":"0.51%",'
        '"MemUsage":"332KiB / 64MiB","Name":"web","NetIO":"862B / 126B","PIDs":"1"}'
    )
    assert text("stats", "--no-stream", "--format", "table {{.Name}}\t{{.PIDs}}").splitlines()[0] == "NAME      PIDS"
    assert DB_ID in text("stats", "--no-stream", "--no-trunc")


def test_a_stream_shows_one_table_after_another() -> None:
    engine, face = FakeEngine(), Face()
    execute(engine, ("stats", "web"), face)
    assert [type(value) for value in face.frames] == [Table, Table]
    assert engine.calls == [("stats_stream", {"containers": ("web",)})]
    execute(engine, ("stats", "--format", "{{.Name}}"), face)
    assert face.frames[-1] == Text("web\ndb\n")


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0B"), (1023, "1023B"), (1024, "1KiB"), (339968, "332KiB"), (25276514304, "23.54GiB"), (1 << 30, "1GiB")],
)
def test_memory_is_shown_in_binary_units(size: int, shown: str) -> None:
    assert memory_size(size) == shown


def test_namespaces_as_a_table() -> None:
    lines = text("namespaces").splitlines()
    assert lines[0].split() == ["NAME", "TYPE", "NAMESPACE", "WHOSE", "SEES"]
    assert lines[3].split(maxsplit=4) == ["web", "pid", "4026532501", "own", "process 1 is sleep 1000"]


def test_frames_have_the_same_dtypes_empty_and_full() -> None:
    from contextkernel.notebook.frames import to_frame

    for kind, rows in (("stats", stats_rows()), ("namespaces", canned_namespaces())):
        full, empty = to_frame(Table(kind, rows)), to_frame(Table(kind, ()))  # type: ignore[arg-type]
        assert list(full.dtypes) == list(empty.dtypes)
    frame = to_frame(Table("stats", stats_rows()))
    assert frame.memory[0] == 332 << 10
    assert "332KiB" in repr(frame)
    assert "50.13%" in repr(frame)
    assert "whole" not in repr(frame)


def test_this_process_shares_all_with_itself() -> None:
    me = os.getpid()
    rows = namespace_rows(Seen("", HOST, me, "here"), [Seen("a" * 64, "web", me, "there")])
    assert {row.whose for row in rows} == {"host"}
    assert {row.type for row in rows if row.name == "web"} >= {"mnt", "uts", "ipc", "pid", "net", "user"}
    seen = {row.type: row.sees for row in rows if row.name == "web"}
    assert seen["uts"] == "host name there"
    assert seen["mnt"].endswith(" mounts")


def test_whom_a_namespace_is_shared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {1: {"net": 10, "user": 20}, 2: {"net": 11, "user": 21}, 3: {"net": 11, "user": 22}}
    monkeypatch.setattr(seeing, "namespaces_of", numbers.__getitem__)
    monkeypatch.setattr(seeing, "sees", lambda _, kind: kind)
    rows = namespace_rows(Seen("", HOST, 1, ""), [Seen("a", "web", 2, ""), Seen("b", "db", 3, "")])
    assert [(row.name, row.type, row.whose) for row in rows] == [
        (HOST, "net", "host"),
        (HOST, "user", "host"),
        ("web", "net", "with db"),
        ("web", "user", "own"),
        ("db", "net", "with web"),
        ("db", "user", "own"),
    ]


TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 172.17.0.0
        /16 link UNICAST
Local:
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 172.17.0.2
        /32 host LOCAL
     |-- 172.17.255.255
        /32 link BROADCAST
"""


def test_a_network_in_words() -> None:
    devices = "head\nhead\n    lo: 0 0\n  eth0: 1 2\n"
    six = "fe80000000000000004211fffe110002 05 40 20 80 eth0\n00000000000000000000000000000001 01 80 10 80 lo\n"
    assert seeing.network_text(devices, TRIE, six) == "2 interfaces: lo, eth0; 127.0.0.1, 172.17.0.2, ::1"
    assert seeing.network_text("head\nhead\n lo: 0\n", "", "") == "1 interface: lo; no address"


def test_maps_groups_and_clocks_in_words() -> None:
    assert seeing.map_text("         0          0 4294967295\n") == "users are the host's"
    assert seeing.map_text("0 1000 1\n1 100000 65536\n") == (
        "user 0 is 1000 outside; users 1-65536 are 100000-165535 outside"
    )
    assert seeing.map_text("") == "no user is mapped"
    assert seeing.cgroup_text("9:pids:/a\n4:memory:/a/bb\n0::/\n") == "group /a/bb"
    assert seeing.time_text("monotonic 0 0\nboottime 0 0\n") == "clocks are the host's"
    assert seeing.time_text("monotonic 86400 0\nboottime 86400 0\n") == (
        "monotonic clock moved by 86400 s, boottime clock moved by 86400 s"
    )
