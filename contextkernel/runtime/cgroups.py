"""A control group for each container, below the engine's own: make, set, fill, freeze, kill, remove (cgroups(7)).

Version 1 has one directory for each controller, version 2 one for all; whoever holds a :class:`Group` need not know.
Where no group can be made, :class:`Base` says why, and what would help.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from contextkernel.errors import LaunchFailed
from contextkernel.linux.cgroup import Group as Place
from contextkernel.linux.cgroup import own_groups

if TYPE_CHECKING:
    from contextkernel.runtime.cgroup_settings import Setting

PARENT = "contextkernel"
#: what containers are limited and measured by; cpuacct, freezer and blkio are version 1's names
VERSION1 = ("memory", "cpu", "cpuacct", "cpuset", "pids", "freezer", "blkio")
VERSION2 = ("memory", "cpu", "cpuset", "pids", "io")
_BLOCK = "/sys/block"
_CONTAINER = re.compile(r"[0-9a-f]{64}\Z")
_ABANDONED = 600.0  # seconds; a group has a process in it moments after it was made
_REMOVAL_PATIENCE = 1.0  # seconds; the kernel lets go of a dead process's group a moment after its death
_KILL_PATIENCE = 2.0


class Base(NamedTuple):
    """Where the groups of containers go.

    Attributes:
        version: 1 or 2; 0 where none can be made.
        places: controller to directory; for version 2 the same one each time.
        reason, remedy: why there is none, or why controllers are missing; and what would help.
    """

    version: int
    places: Mapping[str, str]
    reason: str = ""
    remedy: str = ""

    def files(self) -> frozenset[str]:
        """Names of the files that a group has here, and that mean something: weights need a scheduler that weighs."""
        found: set[str] = set()
        for directory in set(self.places.values()):
            with suppress(OSError):
                found.update(os.listdir(directory))
        if not _any_device_uses_bfq():
            found = {name for name in found if ".bfq." not in name}
        return frozenset(found)


class Group:
    """The control group of one container.

    Args:
        version: of control groups.
        places: controller to this group's directory.
    """

    def __init__(self, version: int, places: Mapping[str, str]) -> None:
        self.version = version
        self.places = dict(places)

    @property
    def directories(self) -> tuple[str, ...]:
        """Each directory once."""
        return tuple(dict.fromkeys(self.places.values()))

    def adopt(self, pid: int) -> None:
        """Move a process in; its later children are born here.

        Raises:
            LaunchFailed: the kernel refuses, e.g. because a controller's parent group may hold no more.
        """
        for directory in self.directories:
            try:
                write(f"{directory}/cgroup.procs", str(pid))
            except ProcessLookupError:
                return
            except OSError as problem:
                raise LaunchFailed(
                    f"the container cannot be put into its control group {directory}: {_said(problem)}"
                ) from None

    def apply(self, settings: Iterable[Setting]) -> None:
        """Write limits. Values that depend on each other may come in any order.

        Raises:
            LaunchFailed: the kernel refuses a value; those before it are set.
        """
        again = []
        for setting in settings:
            try:
                self._set(setting)
            except OSError as problem:
                # memory must not exceed memory and swap, a quota not that of the parent in the same period
                if problem.errno not in (errno.EINVAL, errno.EBUSY):
                    raise _refused(setting, problem) from None
                again.append(setting)
        for setting in again:
            try:
                self._set(setting)
            except OSError as problem:
                raise _refused(setting, problem) from None

    def _set(self, setting: Setting) -> None:
        directory = self.places.get(setting.controller)
        if directory is None:
            return
        for name in setting.files:
            if os.path.exists(f"{directory}/{name}"):
                write(f"{directory}/{name}", setting.value)
                return

    def text(self, controller: str, name: str) -> str:
        """Content of a file, empty where there is none."""
        directory = self.places.get(controller)
        return read(f"{directory}/{name}") if directory else ""

    def processes(self) -> tuple[int, ...]:
        """Who is in it, as seen from here."""
        found: set[int] = set()
        for directory in self.directories:
            found.update(int(word) for word in read(f"{directory}/cgroup.procs").split())
        return tuple(sorted(found))

    @property
    def can_freeze(self) -> bool:
        """Whether :meth:`freeze` works here."""
        return "freezer" in self.places or (self.version == 2 and bool(self.places))

    def freeze(self, *, frozen: bool) -> None:
        """Stop all processes in it, or let them go on; returns once the kernel has done so.

        Raises:
            LaunchFailed: they cannot be stopped.
        """
        if self.version == 1:
            name, value, done = "freezer.state", ("FROZEN" if frozen else "THAWED"), "FROZEN" if frozen else "THAWED"
            directory = self.places["freezer"]
            look = f"{directory}/{name}"
        else:
            name, value, done = "cgroup.freeze", str(int(frozen)), f"frozen {int(frozen)}"
            directory = self.directories[0]
            look = f"{directory}/cgroup.events"
        deadline = time.monotonic() + _KILL_PATIENCE
        while True:
            try:
                write(f"{directory}/{name}", value)
            except OSError as problem:
                raise LaunchFailed(f"the container's processes cannot be stopped: {_said(problem)}") from None
            if done in read(look).splitlines() or not os.path.exists(look):
                return
            if time.monotonic() > deadline:
                with suppress(OSError):
                    write(f"{directory}/{name}", "THAWED" if self.version == 1 else "0")
                raise LaunchFailed("the container's processes could not be stopped: one of them does not come to rest")
            time.sleep(0.001)

    def kill(self) -> None:
        """Kill whatever is in it."""
        if self.version == 2 and self.places:
            with suppress(OSError):
                write(f"{self.directories[0]}/cgroup.kill", "1")
                return
        deadline = time.monotonic() + _KILL_PATIENCE
        while members := self.processes():
            for pid in members:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(LaunchFailed):  # a frozen process does not die
                self._thaw()
            if time.monotonic() > deadline:
                return
            time.sleep(0.001)

    def _thaw(self) -> None:
        if self.can_freeze and self.text("freezer", "freezer.state").strip() not in ("", "THAWED"):
            self.freeze(frozen=False)

    def remove(self, patience: float = _REMOVAL_PATIENCE) -> bool:
        """Remove it, once it is empty.

        Args:
            patience: seconds to wait for that.

        Returns:
            Whether it is gone.
        """
        left = list(self.directories)
        deadline = time.monotonic() + patience
        while True:
            left = [directory for directory in left if not _removed(directory)]
            if not left or time.monotonic() > deadline:
                return not left
            time.sleep(0.002)

    def oom_kills(self) -> int:
        """How many of its processes were killed because the group had no memory left."""
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        for line in self.text("memory", name).splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
        return 0


def group_at(places: Mapping[str, str]) -> Group:
    """The group in directories that were noted earlier; it may be gone."""
    anywhere = next(iter(places.values()), "")
    return Group(2 if os.path.exists(f"{anywhere}/cgroup.controllers") else 1, places)


def find_base(cgroup: str | None = None, mountinfo: str | None = None) -> Base:
    """Where this process may make groups: below its own, by trying. The parent directory is made.

    Args:
        cgroup, mountinfo: content of these files of ``/proc/self``, to look at another tree than the real one.
    """
    own = list(
        own_groups(
            read("/proc/self/cgroup") if cgroup is None else cgroup,
            read("/proc/self/mountinfo") if mountinfo is None else mountinfo,
        )
    )
    first = [place for place in own if set(place.controllers) & set(VERSION1)]
    unified = next((place for place in own if not place.controllers), None)
    if first:
        return _base1(first)
    if unified:
        return _base2(unified.directory)
    return Base(0, {}, "no control groups are mounted here", _MOUNT)


def sweep(base: Base, age: float = _ABANDONED) -> None:
    """Remove empty groups of containers whose monitor was killed, and whose store nobody looks at any more.

    A group with a process in it cannot be removed, so this harms nobody; one that was just made is left alone.

    Args:
        base: where.
        age: seconds; younger ones are left.
    """
    parents = dict.fromkeys(base.places.values())
    before = time.time() - age
    for parent in parents:
        try:
            entries = [entry for entry in os.scandir(parent) if _CONTAINER.match(entry.name)]
        except OSError:
            continue
        for entry in entries:
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < before and not read(f"{entry.path}/cgroup.procs"):
                    os.rmdir(entry.path)


def make_group(base: Base, name: str) -> Group:
    """A new, empty group.

    Args:
        base: where.
        name: of its directory.

    Raises:
        LaunchFailed: it cannot be made.
    """
    group = Group(base.version, {controller: f"{place}/{name}" for controller, place in base.places.items()})
    for directory in group.directories:
        try:
            try:
                os.mkdir(directory)
            except FileNotFoundError:  # somebody has removed the parent meanwhile
                prepare(os.path.dirname(directory), base.version)
                os.mkdir(directory)
        except FileExistsError:
            pass
        except OSError as problem:
            group.remove(0)
            raise LaunchFailed(f"the control group {directory} cannot be made: {_said(problem)}") from None
    return group


def prepare(parent: str, version: int) -> None:
    """Make the directory that groups of containers are in, so that they find what they need there.

    Raises:
        OSError: not here.
    """
    with suppress(FileExistsError):
        os.mkdir(parent)
    if not os.access(parent, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), parent)
    if version == 2:
        _enable(parent)
        return
    if os.path.exists(f"{parent}/cpuset.cpus"):
        # a cpuset holds no process before it has processors and memory; children get their parent's
        with suppress(OSError):
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not read(f"{parent}/{name}").strip():
                    write(f"{parent}/{name}", read(f"{os.path.dirname(parent)}/{name}").strip())
            write(f"{parent}/cgroup.clone_children", "1")


def _base1(own: list[Place]) -> Base:
    places: dict[str, str] = {}
    problem: OSError | None = None
    for place in own:
        wanted = [controller for controller in place.controllers if controller in VERSION1]
        if not wanted:
            continue
        parent = f"{place.directory}/{PARENT}"
        try:
            prepare(parent, 1)
        except OSError as refused:
            problem = problem or refused
            continue
        places.update(dict.fromkeys(wanted, parent))
    if problem is None:
        return Base(1, places)
    reason, remedy = _why_not(problem, version=1)
    return Base(1 if places else 0, places, reason, remedy)


def _base2(own: str) -> Base:
    problem: OSError | None = None
    for directory in _upwards(own):
        try:
            for path in (directory, f"{directory}/cgroup.procs"):
                if not os.access(path, os.W_OK):
                    code = errno.EROFS if os.statvfs(directory).f_flag & os.ST_RDONLY else errno.EACCES
                    raise OSError(code, os.strerror(code), path)
            enabled = _enable(directory)
            if not enabled:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), directory)
            parent = f"{directory}/{PARENT}"
            prepare(parent, 2)
        except OSError as refused:
            problem = problem or refused
            continue
        missing = [controller for controller in VERSION2 if controller not in enabled]
        reason = f"the controllers {', '.join(missing)} are not enabled in {directory}" if missing else ""
        return Base(2, dict.fromkeys(enabled, parent), reason, _DELEGATE if missing else "")
    reason, remedy = _why_not(problem, version=2)
    return Base(0, {}, reason, remedy)


def _upwards(own: str) -> Iterator[str]:
    """This process's group and those above it, as far as they are visible."""
    directory = own
    while os.path.exists(f"{directory}/cgroup.procs"):
        yield directory
        directory = os.path.dirname(directory)


def _enable(directory: str) -> tuple[str, ...]:
    """Let the children of a group of version 2 have controllers; those that they have then.

    A group with processes of its own cannot do that (cgroup-v2.rst, "no internal process constraint").
    """
    present = read(f"{directory}/cgroup.controllers").split()
    for controller in VERSION2:
        if controller in present and controller not in read(f"{directory}/cgroup.subtree_control").split():
            with suppress(OSError):
                write(f"{directory}/cgroup.subtree_control", f"+{controller}")
    enabled = read(f"{directory}/cgroup.subtree_control").split()
    return tuple(controller for controller in VERSION2 if controller in enabled)


_MOUNT = "mount them, or start the outer container with --privileged"
_DELEGATE = "start the notebook server in a scope of its own: systemd-run --user --scope -p Delegate=yes jupyter lab"


def _why_not(problem: OSError | None, *, version: int) -> tuple[str, str]:
    number = problem.errno if problem else 0
    if number == errno.EROFS:
        return "control groups are mounted read-only here, as in a container", (
            "start the outer container with --privileged, or mount /sys/fs/cgroup writable into it"
        )
    if number == errno.EBUSY:
        return "this process's control group, and no group above it, can hand controllers on", _DELEGATE
    if number in (errno.EACCES, errno.EPERM):
        if version == 2:
            return "this user may not make control groups", _DELEGATE
        return "control groups of version 1 belong to root here", (
            "work as root, or on a host with control groups of version 2 and a systemd user session"
        )
    return f"control groups cannot be made: {_said(problem) if problem else 'unknown'}", _MOUNT


def read(path: str) -> str:
    """Content of a small file, empty where there is none or it may not be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        data = b""
        while piece := os.read(descriptor, 1 << 16):
            data += piece
    except OSError:  # the group went meanwhile
        return ""
    finally:
        os.close(descriptor)
    return data.decode("utf-8", "replace")


def write(path: str, value: str) -> None:
    """Write one value at once, as the kernel wants it.

    Raises:
        OSError: it is refused.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _any_device_uses_bfq() -> bool:
    """Whether a block device is scheduled by bfq, the only one that knows weights of groups."""
    try:
        devices = os.listdir(_BLOCK)
    except OSError:
        return False
    return any("[bfq]" in read(f"{_BLOCK}/{device}/queue/scheduler") for device in devices)


def _removed(directory: str) -> bool:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _refused(setting: Setting, problem: OSError) -> LaunchFailed:
    if problem.errno == errno.EBUSY and setting.controller == "memory":
        return LaunchFailed(
            f"{setting.option} {setting.value}: the container uses more than that",
            hint="give it more, or stop it first",
        )
    return LaunchFailed(f"{setting.option} {setting.value} is refused by the kernel: {_said(problem)}")


def _said(problem: OSError) -> str:
    return os.strerror(problem.errno or 0).lower()
