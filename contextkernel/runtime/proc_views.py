"""What a container's control group says of its memory and processors, in the form that generated /proc files need."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contextkernel.runtime.cgroups import read
from contextkernel.runtime.measuring import host_memory, number_of, pairs
from contextkernel.runtime.proc_files import MEMINFO, MemoryView, ProcessorView

if TYPE_CHECKING:
    from contextkernel.model.resources import Resources
    from contextkernel.runtime.cgroups import Group

_TICK = os.sysconf("SC_CLK_TCK")
_NANO = 10**9
#: version 2's names (cgroup-v2.rst, memory.stat) for version 1's
_NAMES = {
    "inactive_file": "total_inactive_file",
    "active_file": "total_active_file",
    "inactive_anon": "total_inactive_anon",
    "active_anon": "total_active_anon",
    "unevictable": "total_unevictable",
    "file": "total_cache",
    "anon": "total_rss",
    "shmem": "total_shmem",
    "file_mapped": "total_mapped_file",
    "file_dirty": "total_dirty",
    "file_writeback": "total_writeback",
}


def memory_view(group: Group | None, resources: Resources) -> MemoryView | None:
    """A container's memory; ``None`` where it has no limit, or no group that counts."""
    if group is None or not resources.memory or "memory" not in group.places:
        return None
    host = {name: int(rest.split()[0]) * 1024 for name, _, rest in _lines(read(MEMINFO)) if rest.split()}
    swap = host.get("SwapTotal", 0)
    if resources.memory_swap >= 0:
        swap = min(swap, max(0, resources.memory_swap - resources.memory))
    statistics = pairs(group.text("memory", "memory.stat"))
    if group.version == 1:
        used = number_of(group.text("memory", "memory.usage_in_bytes"))
        both = number_of(group.text("memory", "memory.memsw.usage_in_bytes"))
        swapped = max(0, both - used) if both else 0
    else:
        used = number_of(group.text("memory", "memory.current"))
        swapped = number_of(group.text("memory", "memory.swap.current"))
        statistics = {new: statistics.get(name, 0) for name, new in _NAMES.items()}
    return MemoryView(
        limit=min(resources.memory, host_memory()),
        used=used,
        swap_limit=swap,
        swap_used=min(swap, swapped),
        statistics=statistics,
    )


def processor_view(group: Group | None, numbers: tuple[int, ...]) -> ProcessorView:
    """What a container has used of the processors with these numbers."""
    if group is None:
        return ProcessorView(numbers=numbers)
    if group.version == 1:
        rows = [line.split() for line in group.text("cpuacct", "cpuacct.usage_all").splitlines()[1:]]
        used = {int(row[0]): (int(row[1]), int(row[2])) for row in rows if len(row) == 3}
        times = [used.get(number, (0, 0)) for number in numbers]
    else:  # version 2 does not say which processor it was
        counted = pairs(group.text(next(iter(group.places)), "cpu.stat"))
        share = 1000 // len(numbers)
        times = [(counted.get("user_usec", 0) * share, counted.get("system_usec", 0) * share)] * len(numbers)
    return ProcessorView(
        numbers=numbers,
        user=tuple(user * _TICK // _NANO for user, _ in times),
        system=tuple(system * _TICK // _NANO for _, system in times),
    )


def _lines(text: str) -> list[tuple[str, str, str]]:
    return [line.partition(":") for line in text.splitlines()]
