"""Being born in the pid namespace of another container (--pid container:NAME)."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from contextkernel.errors import ContextKernelError
from contextkernel.linux import pidfd
from contextkernel.runtime import sharing
from contextkernel.runtime.surroundings import Place, Surrounding

if TYPE_CHECKING:
    from contextkernel.model.security import Join
    from contextkernel.runtime.loop import Loop

_ROUNDS = 100  # a program may fork while it is being killed; each round finds fewer


class JoinPid(Surrounding):
    """The monitor's next child is born in the other container's pid namespace.

    What the container leaves behind there has another parent, so it is found by its mount namespace, which is the
    container's alone.

    Args:
        join: whose.
    """

    def __init__(self, join: Join) -> None:
        super().__init__()
        self._join = join
        self._mounts: tuple[int, int] | None = None

    def enter(self, place: Place, loop: Loop) -> Place:
        """Later children belong to the other namespace; this process stays where it is."""
        del loop
        if place.facts.proc == "fresh":  # else there is one namespace for all
            sharing.join(self._join.pid, "pid")
        return place

    def settle(self, pid: int) -> None:
        """Later children are again born where this process is."""
        self._mounts = _mount_namespace(pid)
        with suppress(ContextKernelError):
            sharing.join(os.getpid(), "pid")

    def leave(self) -> None:
        """Kill what is left of the container."""
        if self._mounts is None:
            with suppress(ContextKernelError):
                sharing.join(os.getpid(), "pid")
            return
        for _ in range(_ROUNDS):
            found = [pid for pid in _all() if _mount_namespace(pid) == self._mounts]
            if not found:
                break
            for pid in found:
                _kill(pid, self._mounts)
        self._mounts = None


def _all() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _mount_namespace(pid: int) -> tuple[int, int] | None:
    try:
        found = os.stat(f"/proc/{pid}/ns/mnt")
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _kill(pid: int, mounts: tuple[int, int]) -> None:
    """Kill a process if it still is the one that was found."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if _mount_namespace(pid) == mounts:
            with suppress(ContextKernelError):
                pidfd.send(handle, signal.SIGKILL)
    finally:
        os.close(handle)
