"""Where this process's control groups are (cgroups(7)), read from what the kernel says of it. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple


class Group(NamedTuple):
    """A control group that this process is in: its directory, and the version 1 controllers there (or none)."""

    directory: str
    controllers: tuple[str, ...]


def own_groups(cgroup: str, mountinfo: str) -> Iterator[Group]:
    """Where this process's groups are.

    Args:
        cgroup: content of ``/proc/self/cgroup``.
        mountinfo: content of ``/proc/self/mountinfo``.
    """
    mounted: dict[tuple[str, ...], tuple[str, str]] = {}
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if len(before) < 5 or not after or after[0] not in ("cgroup", "cgroup2"):
            continue
        options = tuple(after[2].split(",")) if after[0] == "cgroup" and len(after) > 2 else ()
        mounted.setdefault(options, (before[3], before[4]))
    for line in cgroup.splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        controllers = tuple(names.split(",")) if names else ()
        for options, (shown, point) in mounted.items():
            # version 1 options have flags such as rw beside the controllers
            if (controllers and set(controllers) <= set(options)) or (not controllers and not options):
                inside = os.path.relpath(path, shown) if path.startswith(shown.rstrip("/") + "/") else "."
                yield Group(os.path.normpath(os.path.join(point, inside)), controllers)
