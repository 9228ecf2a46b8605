"""Being born in the pid namespace of another container (--pid container:NAME)."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from contextkernel.errors import ContextKernelError, LaunchFailed
from contextkernel.linux import namespaces as ns
from contextkernel.linux import pidfd
from contextkernel.runtime import sharing
from contextkernel.runtime.surroundings import Surrounding

_ROUNDS = 100  # a program may fork while it is being killed; each round finds fewer


def clone_beside(pid: int, flags: int) -> int:
    """Clone a child of this process into the pid namespace of process ``pid``.

    The kernel moves only children into another pid namespace, and an unprivileged process cannot take that back for
    itself. So a helper asks for it, and its child is made one of this process (CLONE_PARENT). Root of the other
    container cannot look into either of them: they have more capabilities.

    Args:
        pid: whose namespace.
        flags: ``CLONE_NEW...`` besides.

    Returns:
        0 in the child; its pid here.

    Raises:
        SyscallFailed: no process can be made. LaunchFailed: there is no such namespace any more.
    """
    read, write = os.pipe()
    helper = ns.clone(0)
    if helper == 0:
        said = b""
        try:
            sharing.join(pid, "pid")
            child = ns.clone(flags | ns.CLONE_PARENT)
            if child == 0:
                os.close(read)
                os.close(write)
                return 0
            said = str(child).encode()
        except ContextKernelError as problem:
            said = problem.problem.encode()
        except BaseException as problem:
            said = f"{type(problem).__name__}: {problem}".encode()
        os.write(write, said)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        answer = stream.read().decode("utf-8", "replace")
    os.waitpid(helper, 0)
    if not answer.isdigit():
        raise LaunchFailed(answer or "the process that joins the pid namespace has died")
    return int(answer)


class JoinPid(Surrounding):
    """Takes away what a container leaves behind in another one's pid namespace.

    There it has another parent, so it is found by its mount namespace, which is the container's alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self._mounts: tuple[int, int] | None = None

    def settle(self, pid: int) -> None:
        """Remember which mount namespace it is."""
        self._mounts = _mount_namespace(pid)

    def leave(self) -> None:
        """Kill what is left of the container."""
        if self._mounts is None:
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
