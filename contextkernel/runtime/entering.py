"""A further process for a running container: forked from the monitor, moved into the container's namespaces.

The kernel puts only children into another pid namespace, so there are two forks. The first process joins everything and
ends; the second, which the kernel makes a child of the monitor too (CLONE_PARENT), carries out the plan.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import NoReturn

from contextkernel.errors import ContextKernelError, SyscallFailed
from contextkernel.linux import namespaces as ns
from contextkernel.runtime import messages
from contextkernel.runtime.child import Streams, run_child
from contextkernel.runtime.limits import set_oom_score
from contextkernel.runtime.messages import Failed, Forked
from contextkernel.runtime.operations import Operation

#: in the order of joining: the host's files are gone after the last
_KINDS = (
    ("user", ns.CLONE_NEWUSER),
    ("cgroup", ns.CLONE_NEWCGROUP),
    ("ipc", ns.CLONE_NEWIPC),
    ("uts", ns.CLONE_NEWUTS),
    ("net", ns.CLONE_NEWNET),
    ("pid", ns.CLONE_NEWPID),
    ("mnt", ns.CLONE_NEWNS),
)


_LIMIT = "the container has as many processes as it, or its user, may have (--pids-limit)"


class Inside:
    """The namespaces of a container's init that are not the monitor's own, held open from its birth on.

    Later the init might not let itself be looked at any more, because it has become another user.

    Args:
        pid: of the init, just cloned.

    Attributes:
        root: descriptor of its root directory, where that is not the root of its mount namespace; else -1.

    Raises:
        SyscallFailed: this process may not look at it.
    """

    def __init__(self, pid: int) -> None:
        self._held: list[tuple[int, int]] = []
        self.root = -1
        self._look(pid)

    def look_again(self, pid: int) -> None:
        """Hold the namespaces that the init has now: it may have joined others since its birth."""
        self._release()
        self._look(pid)

    def _look(self, pid: int) -> None:
        for name, flag in _KINDS:
            try:
                descriptor = os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            except PermissionError as problem:
                # without it a program that is executed in the container would be outside of it
                raise SyscallFailed("open", problem.errno or 0, f"/proc/{pid}/ns/{name}") from problem
            except OSError:
                continue  # it has ended, or this kernel has no such namespaces
            if os.fstat(descriptor).st_ino == os.stat(f"/proc/self/ns/{name}").st_ino:
                os.close(descriptor)
            else:
                self._held.append((descriptor, flag))

    def join(self) -> None:
        """Move this process there, into its root; the pid namespace is for its children.

        Raises:
            SyscallFailed: the kernel refused.
        """
        for descriptor, flag in self._held:
            ns.setns(descriptor, flag)
        if self.root >= 0:
            try:
                os.fchdir(self.root)
                os.chroot(".")
            except OSError as problem:
                raise SyscallFailed("chroot", problem.errno or 0, "the container's root") from problem

    def close(self) -> None:
        """Let go of them. Idempotent."""
        self._release()
        if self.root >= 0:
            os.close(self.root)
            self.root = -1

    def _release(self) -> None:
        while self._held:
            os.close(self._held.pop()[0])


def fork_into(
    inside: Inside,
    operations: tuple[Operation, ...],
    streams: tuple[int, int, int],
    permitted: frozenset[str],
    join: Callable[[], None],
    *,
    oom_score: int = 0,
) -> tuple[int, socket.socket]:
    """Fork a process that becomes one of the container's.

    Args:
        inside: where to.
        operations: what it then does.
        streams: its standard descriptors.
        permitted: capabilities of this process.
        join: called first in the new process, which still sees the host's files.
        oom_score: see :func:`~contextkernel.runtime.limits.set_oom_score`; 0: the monitor's.

    Returns:
        The pid of a helper, which must be waited for, and the socket on which :class:`~messages.Forked`, perhaps
        :class:`~messages.Opened`, and :class:`~messages.Failed` arrive; its end means that the program was executed,
        or that it failed.

    Raises:
        SyscallFailed: no process can be made.
    """
    ours, theirs = socket.socketpair()
    try:
        helper = ns.clone(0)
    except BaseException:
        ours.close()
        raise
    else:
        if helper == 0:
            _become(inside, operations, Streams(*streams, theirs.fileno()), permitted, join, oom_score)
    finally:
        theirs.close()
    return helper, ours


def _become(
    inside: Inside,
    operations: tuple[Operation, ...],
    streams: Streams,
    permitted: frozenset[str],
    join: Callable[[], None],
    oom_score: int,
) -> NoReturn:
    """The helper: join, fork once more, tell, end."""
    link = socket.socket(fileno=os.dup(streams.report))
    try:
        if oom_score:  # the files of /proc that say it are not the user's any more in a moment
            set_oom_score(oom_score)
        # whoever is root in the container must not look into this process, which has the engine's capabilities and
        # descriptors and runs a program of the host; exec takes it back
        ns.set_dumpable(False)
        join()
        inside.join()
        pid = ns.clone(ns.CLONE_PARENT)
        if pid == 0:
            run_child(operations, streams, permitted, hidden=True)
        messages.send(link, Forked(pid))
    except ContextKernelError as problem:
        number = getattr(problem, "number", 0)
        hint = _LIMIT if number == errno.EAGAIN else problem.hint
        messages.send(link, Failed("setup", problem.problem, hint, "Join", number))
    finally:
        os._exit(0)
