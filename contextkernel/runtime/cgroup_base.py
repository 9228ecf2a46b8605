"""Where control groups of containers can be made: found out by trying, once; and what is said where they cannot.

Version 1: below this process's own group of every controller. Version 2: below the first group, from this process's own
upwards, that may be written and can hand controllers on.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from contextkernel.errors import LaunchFailed
from contextkernel.linux.cgroup import Group as Place
from contextkernel.linux.cgroup import own_groups
from contextkernel.runtime.cgroups import Group, read, said, write

PARENT = "contextkernel"
#: what containers are limited and measured by; cpuacct, freezer and blkio are version 1's names
VERSION1 = ("memory", "cpu", "cpuacct", "cpuset", "pids", "freezer", "blkio")
VERSION2 = ("memory", "cpu", "cpuset", "pids", "io")
_BLOCK = "/sys/block"
_CONTAINER = re.compile(r"[0-9a-f]{64}\Z")
_ABANDONED = 600.0  # seconds; a group has a process in it moments after it was made
_MOUNT = "mount them, or start the outer container with --privileged"
_DELEGATE = "start the notebook server in a scope of its own: systemd-run --user --scope -p Delegate=yes jupyter lab"


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
            raise LaunchFailed(f"the control group {directory} cannot be made: {said(problem)}") from None
    return group


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
    return f"control groups cannot be made: {said(problem) if problem else 'unknown'}", _MOUNT


def _any_device_uses_bfq() -> bool:
    """Whether a block device is scheduled by bfq, the only one that knows weights of groups."""
    try:
        devices = os.listdir(_BLOCK)
    except OSError:
        return False
    return any("[bfq]" in read(f"{_BLOCK}/{device}/queue/scheduler") for device in devices)
