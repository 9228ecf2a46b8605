"""A container's limits, in its monitor: its control group, or what stands in for one; what it sees of them in /proc."""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from contextkernel.errors import LaunchFailed
from contextkernel.model.resources import Resources
from contextkernel.model.step_mounts import Limit
from contextkernel.runtime import proc_files
from contextkernel.runtime.cgroup_base import Base, find_base, make_group, sweep
from contextkernel.runtime.cgroup_settings import settings
from contextkernel.runtime.cgroups import Group, read, write
from contextkernel.runtime.enforcing import Enforcement, GroupFacts, enforcement
from contextkernel.runtime.freezing import descendants
from contextkernel.runtime.limits import limit_process
from contextkernel.runtime.proc_views import memory_view, processor_view
from contextkernel.runtime.surroundings import Place, Surrounding

if TYPE_CHECKING:
    from contextkernel.model.container import LaunchRequest, RunState
    from contextkernel.runtime.loop import Loop, Timer

_OOM_ROUNDS = 50
_OOM_PAUSE = 0.05  # seconds
_REFRESH = 1.0  # seconds between looks at what /proc shows inside


@cache
def base() -> Base:
    """Where this process makes control groups; found out once, in the launcher, for all monitors that it forks."""
    found = find_base()
    sweep(found)
    return found


def facts_of(place: Base) -> GroupFacts:
    """What it lets limits be kept by."""
    return GroupFacts(
        version=place.version,
        controllers=frozenset(place.places),
        files=place.files(),
        reason=place.reason,
        remedy=place.remedy,
        cpus=frozenset(os.sched_getaffinity(0)),
    )


def device_number(path: str) -> str:
    """``major:minor`` of a device.

    Raises:
        LaunchFailed: there is none at this path.
    """
    try:
        number = os.stat(path).st_rdev
    except OSError as problem:
        raise LaunchFailed(f"cannot limit the device {path}: {os.strerror(problem.errno or 0).lower()}") from None
    return f"{os.major(number)}:{os.minor(number)}"


class ResourceGroup(Surrounding):
    """The surrounding of a container that accounts for what it uses, and bounds it.

    Every container gets a control group where one can be made: that is what stats, pause and update work on. Without
    limits it does no harm if there is none.

    Args:
        request: what is started.
    """

    def __init__(self, request: LaunchRequest) -> None:
        super().__init__()
        self._id = request.id
        self._resources = request.resources
        self._group: Group | None = None
        self._kept = Enforcement()
        self._files: dict[str, int] = {}
        self._shown: dict[str, str] = {}
        self._timer: Timer | None = None
        self._loop: Loop | None = None
        self._watch: OomWatch | None = None
        self._oom_killed = False

    def enter(self, place: Place, loop: Loop) -> Place:
        """Make the group with its limits; see :meth:`Surrounding.enter`."""
        self._loop = loop
        self._oom_killed = False
        limited = is_limited(self._resources)
        there = base()
        if there.version:
            try:
                self._group = make_group(there, self._id)
            except LaunchFailed:
                if limited:
                    raise
        if not limited:
            return _waiting(place, self._group)
        try:
            self._kept = enforcement(self._resources, self._facts(), self._seed)
            self._apply(self._resources)
            if self._kept.cpus:
                os.sched_setaffinity(0, self._kept.cpus)  # the init, and what exec starts, get it from this process
            if self._group is not None and self._resources.memory:
                self._watch = OomWatch(self._group, self._tell_oom)
                loop.add(self._watch)
            return _waiting(self._placed(place), self._group)
        except BaseException:
            self.leave()
            raise

    def _apply(self, resources: Resources) -> None:
        if self._group is not None:
            self._group.apply(settings(resources, self._group.version, device_number))

    def _facts(self) -> GroupFacts:
        """What this container's limits can be kept by."""
        there = base()
        return facts_of(there if self._group else Base(0, {}, there.reason, there.remedy))

    @property
    def _seed(self) -> int:
        return int(self._id[:4], 16) if self._id else 0

    def _placed(self, place: Place) -> Place:
        """The plan's input, with what is kept for each process by itself, and the files over /proc."""
        limits = (*place.request.limits, *_process_limits(self._kept))
        request = msgspec.structs.replace(place.request, limits=limits)
        self._shown = self._view()
        facts = msgspec.structs.replace(place.facts, proc_files=tuple(self._shown.items()), nice=self._kept.nice)
        return msgspec.structs.replace(place, request=request, facts=facts)

    def settle(self, pid: int) -> None:
        """Put the init into the group; see :meth:`Surrounding.settle`."""
        if self._group is None:
            return
        try:
            self._group.adopt(pid)
        except LaunchFailed:
            if is_limited(self._resources):
                raise
            self._group.remove(0)
            self._group = None

    def opened(self, files: dict[str, int]) -> dict[str, int]:
        """The files over /proc are kept fresh from now on; see :meth:`Surrounding.opened`."""
        self._files = {path: files[path] for path in proc_files.LIVE if path in files}
        self._refresh()
        return {path: files[path] for path in files if path not in self._files}

    def join(self) -> None:
        """Put this process, which is going to be one of the container's, into the group."""
        if self._group is not None:
            self._group.adopt(os.getpid())
        if self._kept.nice:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, 0, self._kept.nice)

    def update(self, resources: Resources) -> None:
        """Change the limits of the running container; see :meth:`Surrounding.update`.

        Args:
            resources: all of them, as they are to be.
        """
        facts = self._facts()
        kept = enforcement(resources, facts, self._seed)
        self._apply(resources)
        members = self._group.processes() if self._group is not None else descendants([os.getpid()])[1:]
        for limit in _process_limits(kept):
            for pid in members:
                limit_process(pid, limit)
        if kept.cpus != self._kept.cpus:
            cpus = kept.cpus or facts.cpus
            os.sched_setaffinity(0, cpus)
            for thread in (thread for pid in members for thread in _threads(pid)):
                with suppress(OSError):
                    os.sched_setaffinity(thread, cpus)
        self._resources, self._kept = resources, kept

    def freezer(self) -> GroupFreezer | None:
        """The group's; see :meth:`Surrounding.freezer`."""
        return GroupFreezer(self._group) if self._group is not None and self._group.can_freeze else None

    def report(self, state: RunState) -> RunState:
        """See :meth:`Surrounding.report`."""
        self._note_oom()
        others = {name: place for name, place in state.groups.items() if name not in base().places}
        return msgspec.structs.replace(
            state,
            groups={**others, **(self._group.places if self._group is not None else {})},
            limits=self._kept.report,
            oom_killed=self._oom_killed,
        )

    def leave(self) -> None:
        """Take it away; see :meth:`Surrounding.leave`."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None and self._loop is not None:
            self._loop.discard(self._watch)
            self._watch.close()
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files = {}
        self._timer = self._watch = None
        group, self._group = self._group, None
        if group is not None:
            group.kill()
            group.remove()

    def _tell_oom(self, rounds: int = _OOM_ROUNDS) -> None:
        """The kernel says so before it kills, and counts afterwards."""
        before = self._oom_killed
        self._note_oom()
        if self._oom_killed and not before:
            self.changed()
        elif not self._oom_killed and rounds and self._loop is not None and self._group is not None:
            self._loop.after(_OOM_PAUSE, lambda: self._tell_oom(rounds - 1))

    def _note_oom(self) -> None:
        if self._group is not None and not self._oom_killed:
            self._oom_killed = self._group.oom_kills() > 0

    def _view(self) -> dict[str, str]:
        """What the container sees of itself."""
        shown = {}
        if (view := memory_view(self._group, self._resources)) is not None:
            shown[proc_files.MEMINFO] = proc_files.meminfo(read(proc_files.MEMINFO), view)
            shown[proc_files.SWAPS] = proc_files.swaps(view)
        if self._kept.cpus:
            numbers = tuple(sorted(self._kept.cpus))
            times = processor_view(self._group, numbers)
            shown[proc_files.CPUINFO] = proc_files.cpuinfo(read(proc_files.CPUINFO), numbers)
            shown[proc_files.STAT] = proc_files.stat(read(proc_files.STAT), times)
            shown[proc_files.ONLINE] = proc_files.online(len(numbers))
        return shown

    def _refresh(self) -> None:
        """Write what has changed into the files, and do it again in a while."""
        if not self._files or self._loop is None:
            return
        with suppress(OSError, ValueError):
            for path, text in self._view().items():
                if path in self._files and text != self._shown.get(path):
                    data = text.encode()
                    os.pwrite(self._files[path], data, 0)
                    if len(data) != len(self._shown.get(path, "").encode()):
                        os.ftruncate(self._files[path], len(data))
                    self._shown[path] = text
        self._timer = self._loop.after(_REFRESH, self._refresh)


class GroupFreezer:
    """Pauses a container by its control group; see :class:`contextkernel.runtime.freezing.Freezer`."""

    def __init__(self, group: Group) -> None:
        self._group = group

    def freeze(self) -> None:
        """Pause it."""
        self._group.freeze(frozen=True)

    def thaw(self) -> None:
        """Let it go on."""
        self._group.freeze(frozen=False)


class OomWatch:
    """Waits for the kernel to say that a group has no memory left.

    Version 1 tells it through an eventfd (cgroup-v1/memory.rst, "OOM control"), version 2 by a poll on memory.events.

    Args:
        group: to watch.
        action: what to do then.
    """

    def __init__(self, group: Group, action: Callable[[], None]) -> None:
        self._group = group
        self._action = action
        self._descriptors: list[int] = []
        directory = group.places.get("memory")
        if directory is None:
            return
        with suppress(OSError):
            if group.version == 2:
                self._descriptors = [os.open(f"{directory}/memory.events", os.O_RDONLY | os.O_CLOEXEC)]
                return
            control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._descriptors = [event, control]
            write(f"{directory}/cgroup.event_control", f"{event} {control}")

    def interests(self) -> Iterable[tuple[int, int]]:
        """See :class:`contextkernel.runtime.loop.Source`."""
        if self._descriptors:
            yield self._descriptors[0], select.POLLPRI if self._group.version == 2 else select.POLLIN

    def ready(self, events: Mapping[int, int]) -> None:
        """See :class:`contextkernel.runtime.loop.Source`."""
        if not self._descriptors or self._descriptors[0] not in events:
            return
        with suppress(OSError):
            if self._group.version == 2:
                os.pread(self._descriptors[0], 4096, 0)
            else:
                struct.unpack("Q", os.read(self._descriptors[0], 8))
        self._action()

    def close(self) -> None:
        """Stop watching."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []


def is_limited(resources: Resources) -> bool:
    """Whether anything is asked for that a control group keeps, or something in its place."""
    free = msgspec.structs.replace(resources, ulimits=(), shm_size=0, oom_score_adj=0, discarded=())
    return free != Resources()


def _waiting(place: Place, group: Group | None) -> Place:
    """Let the init wait until it is in its group: all that the program does counts there."""
    if group is None:
        return place
    # docker's default: a cgroup namespace of one's own for version 2, the host's for version 1
    asked = place.request.security.cgroupns
    private = asked == "private" or (group.version == 2 and asked != "host")
    facts = msgspec.structs.replace(place.facts, join_group=True, private_group=private)
    return msgspec.structs.replace(place, facts=facts)


def count_tasks() -> int:
    """How many processes and threads this user has in this user namespace: RLIMIT_NPROC counts all of them."""
    try:
        here = os.stat("/proc/self/ns/user").st_ino
    except OSError:
        return 0
    me, total = os.getuid(), 0
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        with suppress(OSError, ValueError, IndexError):
            if os.stat(f"/proc/{name}").st_uid == me and os.stat(f"/proc/{name}/ns/user").st_ino == here:
                total += int(read(f"/proc/{name}/stat").rpartition(")")[2].split()[17])
    return total


def _process_limits(kept: Enforcement) -> list[Limit]:
    """What each process is limited by, in the place of a control group."""
    found = list(kept.rlimits)
    if kept.pids:
        there = count_tasks() + kept.pids
        found.append(Limit("nproc", there, there))
    return found


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []
