"""What a container uses right now: out of its control group, or, where it has none, out of /proc of its processes.

The arithmetic is docker's (docker/cli, cli/command/container/stats_helpers.go; moby, daemon/stats).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress

import msgspec

from contextkernel.runtime.cgroups import Group, read

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_NANO = 10**9


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One look at a container.

    Attributes:
        processor: nanoseconds of processor time it has used since it exists.
        system: nanoseconds that all processors of the host have spent so far, busy or idle.
        memory: bytes in use, without what could be dropped at once.
        memory_limit: bytes it may use; the host's memory where it has no limit.
        received, sent: bytes over its own network interfaces, loopback aside.
        read, written: bytes from and to block devices.
        processes: number of processes and threads.
        whole: ``False``: some of it is only what ordinary users may see of its processes.
    """

    processor: int = 0
    system: int = 0
    memory: int = 0
    memory_limit: int = 0
    received: int = 0
    sent: int = 0
    read: int = 0
    written: int = 0
    processes: int = 0
    whole: bool = True


def measure(group: Group | None, pids: Iterable[int], init: int) -> Measured:
    """Look at a running container.

    Args:
        group: its control group, if it has one.
        pids: its processes, for what the group does not count.
        init: one of them that is in its network namespace.
    """
    received, sent = _traffic(init)
    common = {"system": system_time(), "received": received, "sent": sent}
    if group is not None and counts(group):
        return msgspec.structs.replace(_of_group(group), **common)
    return msgspec.structs.replace(_of_processes(pids), **common)


def counts(group: Group | None) -> bool:
    """Whether a group knows what its processes use."""
    return group is not None and "memory" in group.places and (group.version == 2 or "cpuacct" in group.places)


def cpu_percent(before: Measured, after: Measured) -> float:
    """Docker's ``CPU %``: 100 for one processor in full use."""
    used, passed = after.processor - before.processor, after.system - before.system
    if used <= 0 or passed <= 0:
        return 0.0
    return used / passed * (os.cpu_count() or 1) * 100.0


def system_time() -> int:
    """Nanoseconds that all processors together have spent, busy or idle.

    Docker adds the ticks of /proc/stat up, which comes to the same and is coarser.
    """
    return time.monotonic_ns() * (os.cpu_count() or 1)


def host_memory() -> int:
    """Bytes of the host's memory."""
    return os.sysconf("SC_PHYS_PAGES") * _PAGE


def pairs(text: str) -> dict[str, int]:
    """Lines ``name number`` of a control group's file."""
    found = {}
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if number.strip().isdecimal():
            found[name] = int(number)
    return found


def _of_group(group: Group) -> Measured:
    return _version1(group) if group.version == 1 else _version2(group)


def _version1(group: Group) -> Measured:
    statistics = pairs(group.text("memory", "memory.stat"))
    read_bytes, written = _operations(
        group.text("blkio", "blkio.throttle.io_service_bytes_recursive")
        or group.text("blkio", "blkio.throttle.io_service_bytes")
    )
    return Measured(
        processor=number_of(group.text("cpuacct", "cpuacct.usage")),
        memory=_without(
            number_of(group.text("memory", "memory.usage_in_bytes")), statistics.get("total_inactive_file", 0)
        ),
        memory_limit=_limit(number_of(group.text("memory", "memory.limit_in_bytes"))),
        read=read_bytes,
        written=written,
        processes=number_of(group.text("pids", "pids.current")) or len(group.processes()),
    )


def _version2(group: Group) -> Measured:
    statistics = pairs(group.text("memory", "memory.stat"))
    anywhere = next(iter(group.places))
    processor = pairs(group.text(anywhere, "cpu.stat")).get("usage_usec", 0) * 1000
    read_bytes = written = 0
    for line in group.text("io", "io.stat").splitlines():
        fields = dict(word.partition("=")[::2] for word in line.split()[1:])
        read_bytes += int(fields.get("rbytes", 0))
        written += int(fields.get("wbytes", 0))
    return Measured(
        processor=processor,
        memory=_without(number_of(group.text("memory", "memory.current")), statistics.get("inactive_file", 0)),
        memory_limit=_limit(number_of(group.text("memory", "memory.max"))),
        read=read_bytes,
        written=written,
        processes=number_of(group.text("pids", "pids.current")) or len(group.processes()),
    )


def _without(used: int, inactive: int) -> int:
    return used - inactive if inactive < used else used


def _limit(number: int) -> int:
    there = host_memory()
    return number if 0 < number < there else there  # no limit is the largest page-aligned number, or ``max``


def number_of(text: str) -> int:
    """The number that a control group's file holds; 0 where it holds none (``max``)."""
    text = text.strip()
    return int(text) if text.isdecimal() else 0


def _operations(text: str) -> tuple[int, int]:
    """Sums over devices of the lines ``8:0 Read 4096`` (cgroup-v1, blkio-controller.rst)."""
    sums = {"Read": 0, "Write": 0}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in sums:
            sums[words[1]] += int(words[2])
    return sums["Read"], sums["Write"]


def _of_processes(pids: Iterable[int]) -> Measured:
    """Sums over processes; what has ended is not in it, and pages that processes share count for each of them."""
    processor = memory = threads = read_bytes = written = 0
    for pid in pids:
        text = read(f"/proc/{pid}/stat")
        if not text:
            continue
        fields = text.rpartition(")")[2].split()
        # proc_pid_stat(5), counted from the state, which is the third field: user, system time, and of its children
        processor += sum(int(fields[place]) for place in (11, 12, 13, 14)) * _NANO // _TICK
        threads += int(fields[17])
        memory += resident(read(f"/proc/{pid}/status"))
        counted = pairs(read(f"/proc/{pid}/io").replace(":", ""))  # of one's own processes only
        read_bytes += counted.get("read_bytes", 0)
        written += counted.get("write_bytes", 0)
    return Measured(
        processor=processor,
        memory=memory,
        memory_limit=host_memory(),
        read=read_bytes,
        written=written,
        processes=threads,
        whole=False,
    )


def resident(status: str) -> int:
    """Bytes of a process that are no file's (proc_pid_status(5): RssAnon, RssShmem)."""
    total = 0
    for line in status.splitlines():
        name, _, rest = line.partition(":")
        if name in ("RssAnon", "RssShmem"):
            with suppress(ValueError, IndexError):
                total += int(rest.split()[0]) * 1024
    return total


def _traffic(init: int) -> tuple[int, int]:
    """Bytes received and sent; nothing for a container that uses the host's network, as with docker."""
    if not init or _same_network(init):
        return 0, 0
    return traffic_of(read(f"/proc/{init}/net/dev"))


def _same_network(init: int) -> bool:
    try:
        return os.stat(f"/proc/{init}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino
    except OSError:  # another user's: judged by the interfaces, which are the same then
        return read(f"/proc/{init}/net/dev") == read("/proc/self/net/dev")


def traffic_of(table: str) -> tuple[int, int]:
    """Sums over the interfaces of ``/proc/net/dev`` (proc_pid_net(5)) but the loopback."""
    received = sent = 0
    for line in table.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        words = numbers.split()
        if name.strip() != "lo" and len(words) >= 9:
            received += int(words[0])
            sent += int(words[8])
    return received, sent
