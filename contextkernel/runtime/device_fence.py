"""A second fence around devices: version 1's device controller, where this engine may make groups of it.

The first is ``nodev`` on every mount, and holds everywhere. This one has docker's rules: any node may be made, the
standard devices and those that were given may be used, with the permissions that were given.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from contextkernel.errors import LaunchFailed
from contextkernel.linux.cgroup import own_groups
from contextkernel.runtime.cgroup_base import PARENT, Base, make_group, prepare, sweep
from contextkernel.runtime.cgroups import Group, read, write
from contextkernel.runtime.devices import device_nodes
from contextkernel.runtime.document import device_access
from contextkernel.runtime.surroundings import Place, Surrounding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contextkernel.model.container import LaunchRequest, RunState
    from contextkernel.runtime.loop import Loop

#: moby, daemon/pkg/oci/defaults.go, and what runc always allows: making any node; null, zero, full, random, urandom,
#: tty, console, ptmx, and pseudo terminals
_ALLOWED = (
    "c *:* m",
    "b *:* m",
    *(f"c 1:{minor} rwm" for minor in (3, 5, 7, 8, 9)),
    *(f"c 5:{minor} rwm" for minor in (0, 1, 2)),
    "c 136:* rwm",
)


@cache
def fence_base() -> Base:
    """Where groups of the device controller can be made; version 0: nowhere."""
    for place in own_groups(read("/proc/self/cgroup"), read("/proc/self/mountinfo")):
        if "devices" in place.controllers:
            parent = f"{place.directory}/{PARENT}"
            with suppress(OSError):
                prepare(parent, 1)
                found = Base(1, {"devices": parent})
                sweep(found)
                return found
    return Base(0, {})


def rules(request: LaunchRequest) -> Iterator[str]:
    """What is allowed besides docker's default, as lines for ``devices.allow``.

    Raises:
        LaunchFailed: a device that was asked for is not there.
    """
    for node in device_nodes(request):
        yield f"{node.type} {node.major}:{node.minor} {device_access(request, node)}"
    yield from request.security.device_rules


class DeviceFence(Surrounding):
    """The fence of one container; a privileged one has none.

    Args:
        request: what is started.
    """

    def __init__(self, request: LaunchRequest) -> None:
        super().__init__()
        self._request = request
        self._group: Group | None = None

    def enter(self, place: Place, loop: Loop) -> Place:
        """Make the group, with its rules; without one everything else holds."""
        del loop
        there = fence_base()
        if not there.version:
            return place
        allowed = tuple(rules(self._request))
        try:
            self._group = make_group(there, self._request.id)
            (directory,) = self._group.directories
            write(f"{directory}/devices.deny", "a")
            for rule in (*_ALLOWED, *allowed):
                write(f"{directory}/devices.allow", rule)
        except (LaunchFailed, OSError):
            self.leave()
            return place
        facts = msgspec.structs.replace(place.facts, device_cgroup=True, join_group=True)
        return msgspec.structs.replace(place, facts=facts)

    def settle(self, pid: int) -> None:
        """Put the init behind it; it waits for that before it executes the program.

        Raises:
            LaunchFailed: the kernel refuses.
        """
        if self._group is not None:
            self._group.adopt(pid)

    def join(self) -> None:
        """Put this process, which is going to be one of the container's, behind it."""
        if self._group is not None:
            self._group.adopt(os.getpid())

    def report(self, state: RunState) -> RunState:
        """Where it is, for whoever finds the container dead."""
        groups = {name: place for name, place in state.groups.items() if name != "devices"}
        if self._group is not None:
            groups.update(self._group.places)
        return msgspec.structs.replace(state, groups=groups)

    def leave(self) -> None:
        """Take it away."""
        group, self._group = self._group, None
        if group is not None:
            group.remove()
