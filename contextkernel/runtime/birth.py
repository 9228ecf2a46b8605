"""The start of a container's first process: cloned into its namespaces, watched until it has executed the program."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contextkernel.errors import SyscallFailed
from contextkernel.linux import namespaces as ns
from contextkernel.linux import pidfd
from contextkernel.runtime import messages
from contextkernel.runtime.child import Streams, run_child
from contextkernel.runtime.messages import Failed, FromChild, SetUp

if TYPE_CHECKING:
    from contextkernel.runtime.operations import Operation
    from contextkernel.runtime.plan_security import Namespaces

_CLONE_HINT = "see /proc/sys/user/max_*_namespaces, and `system info` for what this host allows"


class Child:
    """A process of the container that the monitor is the parent of.

    Args:
        pid: as the host sees it.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.handle = os.pidfd_open(pid)

    def signal(self, number: int) -> None:
        """Send a signal; no error when it has exited, or the signal does not exist."""
        if self.handle >= 0:
            try:
                pidfd.send(self.handle, number)
            except (SyscallFailed, ValueError):
                return

    def collect(self) -> tuple[int, float, int]:
        """Wait for its exit: exit code (128+n for signal n), seconds of processor time, peak memory in bytes."""
        _, status, used = os.wait4(self.pid, 0)
        os.close(self.handle)
        self.handle = -1
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


class Birth:
    """One start.

    Attributes:
        child: the process, once it was cloned; it must be collected, whatever became of the start.
        set_up: the mount points that were made for it.
        failure: why the program was not executed.
    """

    def __init__(self) -> None:
        self.child: Child | None = None
        self.set_up = SetUp((), ())
        self.failure: Failed | None = None

    def clone(
        self,
        operations: tuple[Operation, ...],
        chosen: Namespaces,
        streams: tuple[int, int, int],
        permitted: frozenset[str],
    ) -> int:
        """Clone the child, which goes on to carry out ``operations``.

        Args:
            operations: the plan.
            chosen: namespaces it gets.
            streams: its standard descriptors.
            permitted: capabilities of this process.

        Returns:
            Descriptor for :meth:`await_exec`; -1 if there is no child.
        """
        report, end = os.pipe()
        try:
            pid = ns.clone(_flags(chosen))
        except SyscallFailed as problem:
            self.failure = Failed("setup", problem.problem, _CLONE_HINT, "clone", problem.number)
            os.close(report)
            return -1
        else:
            if pid == 0:
                run_child(operations, Streams(*streams, end), permitted)
            self.child = Child(pid)
            return report
        finally:
            os.close(end)

    def await_exec(self, report: int) -> None:
        """Read the child's report; its end of the pipe closes at exec, or when it dies."""
        decoder: messages.Decoder[SetUp | Failed] = messages.Decoder(FromChild, "monitor", "child")
        with os.fdopen(report, "rb", buffering=0) as stream:
            while data := stream.read(65536):
                for message in decoder.feed(data):
                    if isinstance(message, SetUp):
                        self.set_up = message
                    else:
                        self.failure = message


def _flags(chosen: Namespaces) -> int:
    flags = {
        ns.CLONE_NEWNS: chosen.mount,
        ns.CLONE_NEWUTS: chosen.uts,
        ns.CLONE_NEWIPC: chosen.ipc,
        ns.CLONE_NEWCGROUP: chosen.cgroup,
        ns.CLONE_NEWPID: chosen.pid,
        ns.CLONE_NEWNET: chosen.network,
    }
    return sum(flag for flag, wanted in flags.items() if wanted)
