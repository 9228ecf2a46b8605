"""update, stats and namespaces of running containers; and what a killed monitor leaves."""

from __future__ import annotations

import os
import signal
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from contextkernel.errors import Conflict, ContainerNotFound, InvalidInput

if TYPE_CHECKING:
    from conftest import Here

MIB = 1 << 20


def test_update_of_a_running_container(here: Here) -> None:
    grouped = "memory" in here.base.places
    identity = here.start("changed", mem_limit="48m", pids_limit=30)
    # without groups what was lowered cannot be raised again
    memory, pids = (64, 40) if grouped else (32, 20)
    wanted = {"mem_limit": f"{memory}m", "memswap_limit": f"{memory}m", "pids_limit": pids, "nano_cpus": 5 * 10**8}
    warnings = here.engine.update("changed", **wanted)
    assert bool(warnings) is not grouped
    document = here.document("changed")
    assert document["HostConfig"]["Memory"] == memory * MIB
    assert document["HostConfig"]["PidsLimit"] == pids
    assert document["HostConfig"]["NanoCpus"] == 5 * 10**8
    if grouped and here.base.version == 1:
        assert here.file(identity, "memory", "memory.limit_in_bytes") == str(memory * MIB)
        assert here.file(identity, "pids", "pids.max") == str(pids)
        assert here.file(identity, "cpu", "cpu.cfs_quota_us") == "50000"
    assert set(here.kept("changed")) == {"--memory", "--memory-swap", "--pids-limit", "--cpus"}
    with pytest.raises(InvalidInput, match="already set memoryswap limit"):
        here.engine.update("changed", mem_limit="128m")
    here.engine.remove_container("changed", force=True)


def test_update_of_a_container_that_does_not_run(here: Here) -> None:
    here.run("true", name="still")
    here.engine.update("still", pids_limit=7)
    assert here.document("still")["HostConfig"]["PidsLimit"] == 7
    assert set(here.kept("still")) == {"--pids-limit"}


def test_stats(here: Here) -> None:
    here.start("busy", "while :; do :; done")
    here.run("true", name="ended")
    rows = {row.name: row for row in here.engine.stats(all=True)}
    assert rows["busy"].cpu_percent > 1
    assert rows["busy"].memory > 0
    assert rows["busy"].memory_limit >= rows["busy"].memory
    assert rows["busy"].pids >= 1
    assert rows["busy"].whole is ("memory" in here.base.places)
    assert (rows["ended"].pids, rows["ended"].memory_limit) == (0, 0)
    assert "ended" not in {row.name for row in here.engine.stats()}
    (row,) = here.engine.stats(["busy"])
    assert row.container == "busy"
    with pytest.raises(ContainerNotFound):
        here.engine.stats(["nobody"])
    here.engine.remove_container("busy", force=True)


def test_a_stream_ends_with_the_last_container(here: Here) -> None:
    here.start("short")
    stream = here.engine.stats_stream(["short"])
    assert [row.pids for (row,) in islice(stream, 1)] == [1]
    here.engine.remove_container("short", force=True)
    assert list(stream) == []


def test_namespaces(here: Here) -> None:
    here.start("apart", hostname="apart")
    rows = {row.type: row for row in here.engine.namespaces(["apart"]) if row.name == "apart"}
    hosts = {row.type: row for row in here.engine.namespaces(["apart"]) if row.name == "(host)"}
    assert {kind: rows[kind].whose for kind in ("mnt", "uts", "ipc", "net")} == dict.fromkeys(
        ("mnt", "uts", "ipc", "net"), "own"
    )
    assert rows["net"].inode != hosts["net"].inode
    assert rows["uts"].sees == "host name apart"
    assert rows["net"].sees.startswith("1 interface: lo; 127.0.0.1")
    assert rows["pid"].sees.startswith("process 1 is ") or rows["pid"].whose == "host"
    assert rows["user"].sees == hosts["user"].sees or rows["user"].sees.startswith("user 0 is ")
    here.engine.kill("apart")
    here.until(lambda: here.document("apart")["State"]["Status"] == "exited")
    with pytest.raises(Conflict, match="not running"):
        here.engine.namespaces(["apart"])


def test_the_group_of_a_killed_monitor_is_removed_by_whoever_looks(here: Here) -> None:
    identity = here.start("orphaned")
    pid = here.document("orphaned")["State"]["Pid"]
    with open(f"/proc/{pid}/stat") as file:
        monitor = int(file.read().rpartition(")")[2].split()[1])
    os.kill(monitor, signal.SIGKILL)
    here.until(lambda: here.document("orphaned")["State"]["Status"] == "dead")
    assert here.groups(identity) == []
    left = [path for path, names, _ in os.walk("/sys/fs/cgroup") for name in names if name == identity]
    assert left == []  # those of others that keep something by a group as well


@pytest.mark.rootless
def test_update_without_groups_reaches_running_processes(here: Here) -> None:
    if here.base.places:
        return
    here.start("lowered", mem_limit="64m")
    pid = here.document("lowered")["State"]["Pid"]

    def limit() -> str:
        with open(f"/proc/{pid}/limits") as file:
            return next(line.split()[3] for line in file if line.startswith("Max data size"))

    assert limit() == str(64 * MIB)
    here.engine.update("lowered", mem_limit="32m", memswap_limit="32m")
    assert limit() == str(32 * MIB)
    with pytest.raises(Conflict, match="cannot be raised"):
        here.engine.update("lowered", mem_limit="128m", memswap_limit="-1")
    assert here.document("lowered")["HostConfig"]["Memory"] == 32 * MIB
    here.engine.remove_container("lowered", force=True)


def test_pause_by_the_freezer_and_by_signals(here: Here) -> None:
    identity = here.start("halted", "while :; do :; done")
    here.engine.pause("halted")
    assert here.document("halted")["State"]["Status"] == "paused"
    if "freezer" in here.base.places:
        assert here.file(identity, "freezer", "freezer.state") == "FROZEN"
    assert here.engine.stats(["halted"])[0].cpu_percent == 0.0
    here.engine.update("halted", pids_limit=50)
    here.engine.unpause("halted")
    here.until(lambda: here.engine.stats(["halted"])[0].cpu_percent > 1)
    here.engine.pause("halted")
    here.engine.remove_container("halted", force=True)  # a frozen one can be killed
    assert here.groups(identity) == []


def test_a_further_program_is_limited_and_counted_too(here: Here) -> None:
    identity = here.start("shared", ulimits=[{"Name": "nofile", "Soft": 40, "Hard": 50}], mem_limit="64m")
    done = here.engine.exec("shared", ["sh", "-c", "ulimit -n; cat /proc/self/cgroup; head -1 /proc/meminfo"])
    assert done is not None
    text = done.stdout.decode()
    assert text.startswith("40\n")
    if "memory" in here.base.places:
        assert identity in text or here.base.version == 2
        assert "MemTotal:          65536 kB" in text
    here.engine.remove_container("shared", force=True)
