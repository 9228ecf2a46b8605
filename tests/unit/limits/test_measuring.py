"""Docker's arithmetic on what control groups and /proc say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contextkernel.runtime import measuring
from contextkernel.runtime.cgroups import Group
from contextkernel.runtime.measuring import Measured, cpu_percent, measure, resident, traffic_of

NET = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
    lo:  999       9    0    0    0     0          0         0      999       9    0    0    0     0       0          0
  eth0: 5030      40    0    0    0     0          0         0      126       3    0    0    0     0       0          0
  eth1:   70      40    0    0    0     0          0         0       74       3    0    0    0     0       0          0
"""


def tree(directory: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (directory / name).write_text(text)
    return str(directory)


def test_processor_share_counts_one_processor_as_100(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    before, after = Measured(processor=1000, system=10_000), Measured(processor=2000, system=14_000)
    assert cpu_percent(before, after) == 100.0
    assert cpu_percent(after, before) == 0.0
    assert cpu_percent(before, before) == 0.0


def test_traffic_leaves_the_loopback_out() -> None:
    assert traffic_of(NET) == (5100, 200)
    assert traffic_of("") == (0, 0)


def test_resident_memory_is_what_belongs_to_no_file() -> None:
    assert resident("VmRSS:\t 100 kB\nRssAnon:\t 40 kB\nRssFile:\t 50 kB\nRssShmem:\t 10 kB\n") == 50 * 1024
    assert resident("Name:\tkthreadd\n") == 0


def test_version_1(tmp_path: Path) -> None:
    place = tree(
        tmp_path,
        {
            "cpuacct.usage": "5000\n",
            "memory.usage_in_bytes": "8192\n",
            "memory.limit_in_bytes": "67108864\n",
            "memory.stat": "cache 1\ninactive_file 7\ntotal_inactive_file 4096\n",
            "blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 20\n8:16 Read 5\n8:0 Total 30\n",
            "pids.current": "3\n",
        },
    )
    group = Group(1, dict.fromkeys(("memory", "cpuacct", "blkio", "pids"), place))
    seen = measure(group, (), 0)
    assert (seen.processor, seen.memory, seen.memory_limit) == (5000, 4096, 67108864)
    assert (seen.read, seen.written, seen.processes, seen.whole) == (15, 20, 3, True)
    assert seen.system > 0


def test_version_1_without_a_limit_has_the_hosts_memory(tmp_path: Path) -> None:
    place = tree(tmp_path, {"memory.limit_in_bytes": "9223372036854771712\n", "memory.usage_in_bytes": "1\n"})
    seen = measure(Group(1, dict.fromkeys(("memory", "cpuacct"), place)), (), 0)
    assert seen.memory_limit == measuring.host_memory()


def test_version_2(tmp_path: Path) -> None:
    place = tree(
        tmp_path,
        {
            "cpu.stat": "usage_usec 5\nuser_usec 3\n",
            "memory.current": "8192\n",
            "memory.max": "max\n",
            "memory.stat": "anon 1\ninactive_file 10000\n",  # more than is used: docker takes all of it
            "io.stat": "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=5 wbytes=0\n",
            "pids.current": "2\n",
        },
    )
    seen = measure(Group(2, dict.fromkeys(("memory", "pids", "io"), place)), (), 0)
    assert (seen.processor, seen.memory, seen.memory_limit) == (5000, 8192, measuring.host_memory())
    assert (seen.read, seen.written, seen.processes) == (15, 20, 2)


def test_without_a_group_its_processes_are_added_up() -> None:
    seen = measure(None, (os.getpid(), 2**22 + 1), os.getpid())
    assert seen.processes >= 1
    assert seen.memory > 1 << 20
    assert (seen.whole, seen.received) == (False, 0)


def test_a_group_without_memory_does_not_count() -> None:
    assert not measuring.counts(None)
    assert not measuring.counts(Group(1, {"devices": "/a"}))
    assert not measuring.counts(Group(1, {"memory": "/a"}))
    assert measuring.counts(Group(1, {"memory": "/a", "cpuacct": "/b"}))
    assert measuring.counts(Group(2, {"memory": "/a"}))
