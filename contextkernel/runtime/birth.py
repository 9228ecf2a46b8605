"""The start of a container's first process: cloned into its namespaces, watched until it has executed the program."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from contextkernel.errors import SyscallFailed
from contextkernel.linux import namespaces as ns
from contextkernel.linux import pidfd
from contextkernel.runtime import messages
from contextkernel.runtime.child import Streams, run_child
from contextkernel.runtime.child_report import GO, SEEN
from contextkernel.runtime.entering import Inside
from contextkernel.runtime.freezing import children
from contextkernel.runtime.joining import clone_beside
from contextkernel.runtime.messages import Answering, Failed, Forked, FromChild, Generated, Opened, Rooted, SetUp

if TYPE_CHECKING:
    from contextkernel.runtime.operations import Operation
    from contextkernel.runtime.plan_security import Namespaces

_KILLED = 137
#: what is said when proot ends without having started the program
NOT_TRACED = "proot has ended before it had started the program"
TRACER_HINT = "its output says why; contextkernel doctor tells whether programs can be traced here"
_CLONE_HINT = "see /proc/sys/user/max_*_namespaces, and `system info` for what this host allows"


class Child:
    """A process of the container that the monitor is the parent of.

    Args:
        pid: as the host sees it.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.handle = os.pidfd_open(pid)

    @property
    def shown_pid(self) -> int:
        """The program's."""
        return self.pid

    @property
    def helpers(self) -> set[int]:
        """Processes of the engine among those that descend from the monitor."""
        return set()

    def await_program(self) -> bool:
        """Wait until the program is there, if that is later than what the child says of itself; whether it is."""
        return True

    def signal(self, number: int) -> None:
        """Send a signal; no error when it has exited, or the signal does not exist."""
        if self.handle >= 0:
            try:
                pidfd.send(self.handle, number)
            except (SyscallFailed, ValueError):
                return

    def collect(self) -> tuple[int, float, int]:
        """Wait for its exit: exit code (128+n for signal n), seconds of processor time, peak memory in bytes."""
        try:
            _, status, used = os.wait4(self.pid, 0)
        except ChildProcessError:  # collected with all that was left of a container without a pid namespace
            return _KILLED, 0.0, 0
        finally:
            os.close(self.handle)
            self.handle = -1
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


class Birth:
    """One start.

    Args:
        keeper: the process is the keeper of an OCI runtime's container, whose first process is its child.
        child: makes the child of its pid.

    Attributes:
        child: the process, once it was cloned; it must be collected, whatever became of the start.
        set_up: the mount points that were made for it.
        failure: why the program was not executed.
        inside: its namespaces, for others that are to join it.
        files: generated files that were mounted for it, by path, open for writing; whoever takes them closes them.
    """

    def __init__(self, *, keeper: bool = False, child: Callable[[int], Child] = Child) -> None:
        self._keeper = keeper
        self._make_child = child
        self.child: Child | None = None
        self.inside: Inside | None = None
        self.set_up = SetUp((), ())
        self.failure: Failed | None = None
        self.files: dict[str, int] = {}

    def clone(
        self,
        operations: tuple[Operation, ...],
        chosen: Namespaces,
        streams: tuple[int, int, int],
        permitted: frozenset[str],
        *,
        beside: int = 0,
    ) -> socket.socket | None:
        """Clone the child, which goes on to carry out ``operations``.

        Args:
            operations: the plan.
            chosen: namespaces it gets.
            streams: its standard descriptors.
            permitted: capabilities of this process.
            beside: a process whose pid namespace it is born in; 0: see ``chosen``.

        Returns:
            For :meth:`await_exec`; ``None`` if there is no child.
        """
        report, end = socket.socketpair()
        try:
            pid = clone_beside(beside, _flags(chosen)) if beside else ns.clone(_flags(chosen))
        except SyscallFailed as problem:
            self.failure = Failed("setup", problem.problem, _CLONE_HINT, "clone", problem.number)
            report.close()
            return None
        else:
            if pid == 0:
                # others share its pid namespace: none of them may look into it before it is the container's
                run_child(operations, Streams(*streams, end.fileno()), permitted, hidden=not chosen.pid)
            self.child = self._make_child(pid)
            self.inside = Inside(pid)
            return report
        finally:
            end.close()

    def await_exec(
        self,
        report: socket.socket,
        use_terminal: Callable[[int], None],
        answering: Callable[[Answering, list[int]], None],
    ) -> None:
        """Let the child go on, and read its report; its end of the socket closes at exec, or when it dies.

        Args:
            report: from :meth:`clone`.
            use_terminal: gets the other end of the program's terminal, which it then owns.
            answering: gets who answers changes of owner, with the descriptors of the message, which it then owns.
        """
        self._hear(report, use_terminal, answering)
        if self.failure is None and self.child is not None and not self.child.await_program():
            self.failure = Failed("setup", NOT_TRACED, TRACER_HINT, "RunTraced")

    def _hear(
        self,
        report: socket.socket,
        use_terminal: Callable[[int], None],
        answering: Callable[[Answering, list[int]], None],
    ) -> None:
        decoder: messages.Decoder[FromChild]
        decoder = messages.Decoder(FromChild, "monitor", "child")
        waiting: list[int] = []
        with report:
            with suppress(OSError):
                report.send(GO, socket.MSG_NOSIGNAL)
            while True:
                try:
                    data, descriptors = messages.receive_some(report)
                except ConnectionResetError:  # it died with GO unread
                    return
                waiting += descriptors
                if not data:
                    return
                for message in decoder.feed(data):
                    match message:
                        case SetUp():
                            self.set_up = message
                            if self.inside is not None and self.child is not None:
                                self.inside.look_again(_inner(self.child.pid) if self._keeper else self.child.pid)
                            with suppress(OSError):
                                report.send(SEEN, socket.MSG_NOSIGNAL)
                        case Failed():
                            self.failure = message
                        case Opened():
                            use_terminal(waiting.pop(0))
                        case Rooted():
                            if self.inside is not None:
                                self.inside.root = waiting.pop(0)
                        case Generated(path):
                            self.files[path] = waiting.pop(0)
                        case Answering():
                            answering(message, waiting)
                            waiting = []
                        case Forked():
                            messages.unexpected("monitor", "child", message, "SetUp or Failed")


def _inner(keeper: int) -> int:
    return next(iter(children(keeper) or ()), keeper)


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
