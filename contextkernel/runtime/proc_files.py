"""/proc as a container with limits should see it: memory, processors and swap that are its own. Pure.

The kernel shows the host's. What is generated here is mounted over it; programs such as free, top and nproc read these
files. Everything else in /proc stays the kernel's: /proc/uptime and /proc/loadavg are the host's, because the start
times of processes count from the host's boot.

Rules: proc_meminfo(5), proc_stat(5), proc_cpuinfo(5), proc_swaps(5).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

_KIB = 1024
MEMINFO, CPUINFO, STAT, SWAPS = "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/swaps"
ONLINE = "/sys/devices/system/cpu/online"
#: what changes while a container lives
LIVE = (MEMINFO, STAT, SWAPS)


class MemoryView(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a container's memory, by use.

    Attributes:
        limit, used: of memory.
        swap_limit, swap_used: of swap alone; a limit of 0 where there is none.
        statistics: of the control group (``memory.stat``), with version 1's names.
    """

    limit: int
    used: int
    swap_limit: int = 0
    swap_used: int = 0
    statistics: Mapping[str, int] = {}


class ProcessorView(msgspec.Struct, frozen=True, kw_only=True):
    """What a container has used of its processors.

    Attributes:
        numbers: the host's numbers of the processors it has.
        user, system: clock ticks on each of them, in the same order.
    """

    numbers: tuple[int, ...]
    user: tuple[int, ...] = ()
    system: tuple[int, ...] = ()


def meminfo(host: str, view: MemoryView) -> str:
    """The content of /proc/meminfo; lines that say nothing about a container's memory are the host's.

    Args:
        host: the host's.
        view: of the container.
    """
    known = view.statistics
    inactive_file = known.get("total_inactive_file", 0)
    active_file = known.get("total_active_file", 0)
    cached = known.get("total_cache", inactive_file + active_file)
    free = max(0, view.limit - view.used)
    anonymous_active, anonymous_inactive = known.get("total_active_anon", 0), known.get("total_inactive_anon", 0)
    kernel = max(0, view.used - known.get("total_rss", 0) - cached)
    values = {
        "MemTotal": view.limit,
        "MemFree": free,
        "MemAvailable": min(view.limit, free + inactive_file + active_file),
        "Buffers": 0,
        "Cached": cached,
        "SwapCached": 0,
        "Active": anonymous_active + active_file,
        "Inactive": anonymous_inactive + inactive_file,
        "Active(anon)": anonymous_active,
        "Inactive(anon)": anonymous_inactive,
        "Active(file)": active_file,
        "Inactive(file)": inactive_file,
        "Unevictable": known.get("total_unevictable", 0),
        "SwapTotal": view.swap_limit,
        "SwapFree": max(0, view.swap_limit - view.swap_used),
        "Dirty": known.get("total_dirty", 0),
        "Writeback": known.get("total_writeback", 0),
        "AnonPages": known.get("total_rss", 0),
        "Mapped": known.get("total_mapped_file", 0),
        "Shmem": known.get("total_shmem", 0),
        "KReclaimable": 0,
        "Slab": kernel,
        "SReclaimable": 0,
        "SUnreclaim": kernel,
    }
    lines = []
    for line in host.splitlines():
        name, colon, _ = line.partition(":")
        # the kernel's own format, so that what replaces it has the same length
        lines.append(f"{name + ':':<16}{values[name] // _KIB:>8} kB" if colon and name in values else line)
    return "\n".join(lines) + "\n"


def cpuinfo(host: str, numbers: tuple[int, ...]) -> str:
    """The content of /proc/cpuinfo: the blocks of these processors, counted from 0."""
    blocks = [block for block in host.split("\n\n") if block.strip()]
    own: dict[int, str] = {}
    for block in blocks:
        first, _, rest = block.strip("\n").partition("\n")
        name, _, number = first.partition(":")
        if name.strip() == "processor" and number.strip().isdecimal():
            own[int(number)] = rest
    if not own:  # another architecture's form
        return host
    chosen = [own[number] for number in numbers if number in own]
    return "".join(f"processor\t: {place}\n{rest}\n\n" for place, rest in enumerate(chosen))


def stat(host: str, view: ProcessorView) -> str:
    """The content of /proc/stat: the times of these processors, as far as the container has used them; the rest idle.

    Args:
        host: the host's.
        view: of the container.
    """
    rows: dict[int, list[int]] = {}
    others = []
    for line in host.splitlines():
        words = line.split()
        if words and words[0].startswith("cpu"):
            if words[0] != "cpu":
                rows[int(words[0][3:])] = [int(word) for word in words[1:]]
        elif words and words[0] in ("intr", "softirq"):
            others.append(f"{words[0]} {words[1]}")  # the host's interrupts one by one are none of its business
        elif line:
            others.append(line)
    own = []
    for place, number in enumerate(view.numbers):
        passed = sum(rows.get(number, [0])[:8])
        user = view.user[place] if place < len(view.user) else 0
        system = view.system[place] if place < len(view.system) else 0
        own.append([user, 0, system, max(0, passed - user - system), 0, 0, 0, 0, 0, 0])
    total = [sum(column) for column in zip(*own, strict=True)] or [0] * 10
    lines = [f"cpu  {' '.join(map(str, total))}"]
    lines += [f"cpu{place} {' '.join(map(str, row))}" for place, row in enumerate(own)]
    return "\n".join([*lines, *others]) + "\n"


def swaps(view: MemoryView) -> str:
    """The content of /proc/swaps: one area for all that the container may use."""
    head = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    if not view.swap_limit:
        return head
    return f"{head}none{' ' * 36}virtual\t\t{view.swap_limit // _KIB}\t\t{view.swap_used // _KIB}\t\t0\n"


def online(count: int) -> str:
    """The content of /sys/devices/system/cpu/online, by which the C library counts processors."""
    return f"0-{count - 1}\n" if count > 1 else "0\n"
