"""What may be used of memory, processors and disk: what the machine has, and what a control group leaves of it.

A pod's limits are those of its control group (cgroups(7)); /proc/meminfo and /proc/cpuinfo tell of the whole machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from contextkernel.host.conclusions import SCARCE_DISK
from contextkernel.host.texts import text_of
from contextkernel.host.trying import Limited
from contextkernel.linux.cgroup import Group, own_groups
from contextkernel.model.room import human_size

#: below this, in bytes, a build or a pull is likely to end early; a warning, not a rule
SCARCE_MEMORY = 400 * 1000**2
#: version 1 says "no limit" with the largest multiple of a page that fits
_NO_LIMIT = 1 << 60


def _upwards(group: Group, mountinfo: str) -> Iterator[str]:
    """The group's directory and those above it that are shown here: the smallest limit on the way counts."""
    points = {line.split(" ")[4] for line in mountinfo.splitlines() if len(line.split(" ")) > 4}
    directory = group.directory
    while directory not in ("/", ""):
        yield directory
        if directory in points:
            return
        directory = os.path.dirname(directory)


def _own(controller: str) -> list[tuple[bool, list[str]]]:
    """(version 2, directories from one's own upwards) of the hierarchies that may limit ``controller``."""
    mountinfo = text_of("/proc/self/mountinfo")
    groups = own_groups(text_of("/proc/self/cgroup"), mountinfo)
    return [
        (not group.controllers, list(_upwards(group, mountinfo)))
        for group in groups
        if not group.controllers or controller in group.controllers
    ]


def _number(text: str) -> int | None:
    word = text.strip()
    return int(word) if word.isdigit() and int(word) < _NO_LIMIT else None


def memory() -> tuple[int, int, bool]:
    """Bytes that may be used in all, bytes of them that are free, and whether a control group sets the former.

    What the kernel caches of files counts as free: it gives it back.
    """
    meminfo = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in text_of("/proc/meminfo").splitlines())
        if rest.split()
    }
    total, free, limited = meminfo.get("MemTotal", 0), meminfo.get("MemAvailable", 0), False
    for unified, directories in _own("memory"):
        names = ("memory.max", "memory.current") if unified else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        for directory in directories:
            limit, used = (_number(text_of(os.path.join(directory, name))) for name in names)
            if limit is None or used is None:
                continue
            cached = _cached(text_of(os.path.join(directory, "memory.stat")))
            free = min(free, max(0, limit - used + cached))
            if limit < total:
                total, limited = limit, True
    return total, free, limited


def _cached(stat: str) -> int:
    """Bytes of file cache that no program uses at the moment."""
    found = dict(line.split(" ", 1) for line in stat.splitlines() if " " in line)
    return int(found.get("total_inactive_file") or found.get("inactive_file") or 0)


def try_memory() -> str:
    """How much memory there is, and is free.

    Raises:
        Limited: so little is free that builds may end early.
    """
    total, free, limited = memory()
    text = f"{human_size(free)} free of {human_size(total)}{', the limit of the control group' if limited else ''}"
    if free < SCARCE_MEMORY:
        raise Limited(text)
    return text


def processors() -> float:
    """Processors that may be used: those of the affinity mask, or fewer if a control group grants less time."""
    count = float(len(os.sched_getaffinity(0)))
    for unified, directories in _own("cpu"):
        for directory in directories:
            if unified:
                quota, _, period = text_of(os.path.join(directory, "cpu.max")).strip().partition(" ")
            else:
                quota = text_of(os.path.join(directory, "cpu.cfs_quota_us")).strip()
                period = text_of(os.path.join(directory, "cpu.cfs_period_us")).strip()
            if quota.isdigit() and period.isdigit() and int(period):
                count = min(count, int(quota) / int(period))
    return count


def try_cpus() -> str:
    """How many processors there are, and how many of them may be used."""
    usable, present = processors(), os.cpu_count() or 1
    return f"{usable:g} of {present}" if usable < present else f"{present}"


def room(path: str) -> int:
    """Bytes that this user may still write to the file system of ``path``."""
    facts = os.statvfs(path)
    return facts.f_bavail * facts.f_frsize


def try_disk(place: str) -> str:
    """How much room the store's file system has left for this user, and what it is.

    Raises:
        Limited: so little that an image may not fit.
    """
    facts = os.statvfs(place)
    free, size = facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize
    kind = kind_of(place)
    text = f"{human_size(free)} free of {human_size(size)}{f' on {kind}' if kind else ''}"
    if facts.f_files and facts.f_favail < 20_000:
        raise Limited(f"{text}, room for {facts.f_favail} more files")
    if free < SCARCE_DISK:
        raise Limited(text)
    return text


def _mounts(mountinfo: str | None) -> Iterator[tuple[str, str]]:
    """(mount point, kind of file system), in the order of mounting."""
    for line in (text_of("/proc/self/mountinfo") if mountinfo is None else mountinfo).splitlines():
        left, _, right = line.partition(" - ")
        words = left.split(" ")
        if len(words) > 4 and right:
            yield words[4].encode("ascii", "replace").decode("unicode_escape"), right.split(" ")[0]


def mount_points() -> set[str]:
    """Where something is mounted."""
    return {point for point, _ in _mounts(None)}


def kind_of(path: str, mountinfo: str | None = None) -> str:
    """The kind of the file system that a path is on; empty if unknown.

    Args:
        path: absolute, without links.
        mountinfo: content of /proc/self/mountinfo; default: what it is now.
    """
    best, kind = "", ""
    for point, its_kind in _mounts(mountinfo):
        bare = point.rstrip("/")
        # what is mounted later hides what was there
        if (path == bare or path.startswith(bare + "/")) and len(bare) >= len(best):
            best, kind = bare, its_kind
    return kind
