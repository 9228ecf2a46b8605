"""The control group of a container: set, fill, freeze, kill, remove (cgroups(7)).

Version 1 has one directory for each controller, version 2 one for all; whoever holds a :class:`Group` need not know.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from contextkernel.errors import LaunchFailed

if TYPE_CHECKING:
    from contextkernel.runtime.cgroup_settings import Setting

_REMOVAL_PATIENCE = 1.0  # seconds; the kernel lets go of a dead process's group a moment after its death
_KILL_PATIENCE = 2.0


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
                    f"the container cannot be put into its control group {directory}: {said(problem)}"
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
                raise LaunchFailed(f"the container's processes cannot be stopped: {said(problem)}") from None
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
    return LaunchFailed(f"{setting.option} {setting.value} is refused by the kernel: {said(problem)}")


def said(problem: OSError) -> str:
    """What went wrong, in the words of the C library."""
    return os.strerror(problem.errno or 0).lower()
