"""Further programs in a running container (``exec``): each is a child of the monitor, inside of the container."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TypeAlias

import msgspec

from contextkernel.errors import ContextKernelError
from contextkernel.model.container import ExecRequest, Usage
from contextkernel.runtime import messages
from contextkernel.runtime.birth import NOT_TRACED, TRACER_HINT, Child
from contextkernel.runtime.channels import Attachment, Channels, Standard
from contextkernel.runtime.freezing import children
from contextkernel.runtime.loop import READABLE, Loop
from contextkernel.runtime.messages import (
    Answering,
    Detached,
    Exited,
    Failed,
    Forked,
    FromChild,
    Generated,
    Opened,
    SetUp,
    Started,
)

Tell: TypeAlias = Callable[[Started | Failed | Exited | Detached], None]
Answered: TypeAlias = Callable[[Answering, list[int]], None]


class Execution:
    """One of them; a :class:`~contextkernel.runtime.loop.Source`.

    Args:
        request: the program.
        streams: of the client; owned from here on.
        tell: called with what becomes of it: :class:`Started` or :class:`Failed`; later :class:`Detached`, and at the
            end :class:`Exited`, when the client has all output.
        detach_keys: what the client types to leave.
        lost: called when the process was forked, and its helper killed before it could tell which one it is.
        answering: gets who answers changes of owner, with descriptors.
    """

    def __init__(
        self,
        request: ExecRequest,
        streams: Standard,
        tell: Tell,
        *,
        detach_keys: bytes,
        lost: Callable[[], None],
        answering: Answered,
    ) -> None:
        wants = streams.stdout is not None, streams.stderr is not None
        terminal = request.terminal is not None
        self.channels = Channels(stdin=request.open_stdin, stdout=wants[0], stderr=wants[1], terminal=terminal)
        self._streams = streams
        self._tell = tell
        self._detach_keys = detach_keys
        self._lost = lost
        self._answering = answering
        self._waiting: list[int] = []  # descriptors whose message has not come yet
        self._decoder: messages.Decoder[FromChild] = messages.Decoder(FromChild, "monitor", "child")
        self._report: socket.socket | None = None
        self._helper = 0
        self._make_child: Callable[[int], Child] = Child
        self._child: Child | None = None
        self._failure: Failed | None = None
        self._attachment: Attachment | None = None
        self._exited: Exited | None = None
        self.over = False

    @property
    def pid(self) -> int:
        """As the host sees it; 0 before it is known and after its end."""
        return self.child.pid if self.child is not None else 0

    @property
    def child(self) -> Child | None:
        """Its process, while it is there and known."""
        return self._child if self._exited is None else None

    @property
    def helper(self) -> int:
        """Pid of the process that forks it; 0 when that has ended."""
        return self._helper if self._report is not None else 0

    def begin(self, helper: int, report: socket.socket, make_child: Callable[[int], Child] = Child) -> None:
        """It has been forked: see :meth:`contextkernel.runtime.life.Life.fork`."""
        self._helper, self._report, self._make_child = helper, report, make_child
        report.setblocking(False)  # noqa: FBT003 - takes no keyword
        self.channels.close_child_ends()

    def interests(self) -> Iterator[tuple[int, int]]:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        if self._report is not None:
            yield self._report.fileno(), select.POLLIN
            return  # its output waits until there is somebody to take it
        if self._child is not None and self._child.handle >= 0:
            yield self._child.handle, select.POLLIN
        yield from self.channels.interests()

    def ready(self, events: Mapping[int, int]) -> None:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        if self._report is not None:
            if events.get(self._report.fileno(), 0) & READABLE:
                self._hear(self._report)
            return
        if self._child is not None and self._child.handle in events:
            self._collect(self._child)
        self.channels.ready(events)
        self._settle()

    def _hear(self, report: socket.socket) -> None:
        """What the process says before it executes the program."""
        try:
            data, descriptors = messages.receive_some(report)
            self._waiting += descriptors
            for message in self._decoder.feed(data):
                match message:
                    case Forked(pid):
                        self._child = self._make_child(pid)
                    case Failed():
                        self._failure = message
                    case Opened():
                        self.channels.use_terminal(self._waiting.pop(0))
                    case Answering():
                        waiting, self._waiting = self._waiting, []
                        self._answering(message, waiting)
                    case SetUp() | Generated():
                        pass
        except BlockingIOError:
            return
        except (OSError, ContextKernelError):
            data = b""
        if not data:
            report.close()
            self._report = None
            self._executed()

    def _executed(self) -> None:
        """The helper has ended, and the process has executed the program, or failed to."""
        os.waitpid(self._helper, 0)
        if self._child is None and self._failure is None:
            self._failure = Failed("setup", "the process to start the program was killed")
            self._lost()
        if self._failure is None and self._child is not None and not self._child.await_program():
            self._failure = Failed("setup", NOT_TRACED, TRACER_HINT, "RunTraced")
        if self._failure is not None or self._child is None:
            if self._child is not None:
                self._child.collect()
            self._close_streams()
            self.channels.close()
            self.over = True
            if self._failure is not None:
                self._tell(_sorted(self._failure))
            return
        self._tell(Started(self._child.shown_pid))
        self._attachment = self.channels.attach(self._streams, detach_keys=self._detach_keys, on_detach=self._detached)
        self._streams = Standard()

    def _collect(self, child: Child) -> None:
        code, seconds, memory = child.collect()
        self._exited = Exited(code, Usage(seconds, memory))
        self.channels.end()

    def _settle(self) -> None:
        """The end, once the client has all output."""
        if self._exited is None or self.over:
            return
        if self._attachment is None or self._attachment.flushed:
            self.leave()
            self.channels.close()
            self.over = True
            self._tell(self._exited)

    def _detached(self) -> None:
        self.leave()
        self._tell(Detached())

    def leave(self) -> None:
        """The client has gone: its input has ended, its output is lost. Idempotent."""
        if self._attachment is not None:
            self._attachment.close()
            self._attachment = None
            self.channels.end_input()
        self._close_streams()

    def _close_streams(self) -> None:
        self._streams.close()
        self._streams = Standard()

    def fail(self, failure: Failed) -> None:
        """It could not even be forked."""
        self._close_streams()
        self.channels.close()
        self.over = True
        self._tell(failure)

    def signal(self, number: int) -> None:
        """Send it a signal; no error when it has ended."""
        if self._child is not None:
            self._child.signal(number)


class Execs:
    """All of one container.

    Args:
        loop: what waits for them.
        fork: forks the process for a request: see :meth:`contextkernel.runtime.life.Life.fork`.
        init: pid of the container's init, if that has a pid namespace.
        teller: for events.
        answering: gets who answers changes of owner of a program, see
            :meth:`contextkernel.runtime.life.Life.answering`.
    """

    def __init__(
        self,
        loop: Loop,
        fork: Callable[[ExecRequest, tuple[int, int, int]], tuple[int, socket.socket, Callable[[int], Child]]],
        init: Callable[[], int | None],
        teller: Callable[..., None],
        answering: Answered,
    ) -> None:
        self._loop = loop
        self._fork = fork
        self._init = init
        self._teller = teller
        self._answering = answering
        self._running: list[Execution] = []

    def start(self, request: ExecRequest, streams: Standard, tell: Tell, *, detach_keys: bytes = b"") -> Execution:
        """Start a program; see :class:`Execution`. Never raises: ``tell`` hears of a failure."""
        self.sweep()
        identity = os.urandom(32).hex()
        shown = f"{request.argv[0]} {' '.join(request.argv[1:])}"  # docker's text, with its blank
        for action in ("exec_create", "exec_start"):
            self._teller(f"{action}: {shown}", execID=identity)

        def told(message: Started | Failed | Exited | Detached) -> None:
            if isinstance(message, Exited):
                self._teller("exec_die", execID=identity, exitCode=message.exit_code)
            tell(message)

        execution = Execution(
            request, streams, told, detach_keys=detach_keys, lost=self._kill_strays, answering=self._answering
        )
        try:
            execution.begin(*self._fork(request, execution.channels.child))
        except ContextKernelError as problem:
            execution.fail(Failed("setup", problem.problem, problem.hint, number=getattr(problem, "number", 0)))
        else:
            self._running.append(execution)
            self._loop.add(execution)
        return execution

    def children(self) -> list[Child]:
        """Of those that run."""
        return [execution.child for execution in self._running if execution.child is not None]

    def sweep(self) -> None:
        """Forget those that are over."""
        for execution in [execution for execution in self._running if execution.over]:
            self._running.remove(execution)
            self._loop.discard(execution)

    def _kill_strays(self) -> None:
        """Kill what is a child of the monitor without being known: nobody would collect it, and the init could not end.

        Without a pid namespace orphans of the container come to the monitor as well; there they end with it.
        """
        init = self._init()
        if init is None:
            return
        known = {init, *(one.pid for one in self._running), *(one.helper for one in self._running)}
        for pid in set(children(os.getpid()) or ()) - known:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def finish(self) -> None:
        """The container has ended, and they with it: serve their clients until all have been told."""
        self.sweep()
        while self._running:
            self._loop.turn()
            self.sweep()


def _sorted(failure: Failed) -> Failed:
    """A working directory that cannot be entered counts for docker as a program that cannot be found or executed."""
    if failure.operation != "Chdir":
        return failure
    kind: messages.FailureKind = "not_found" if failure.number == errno.ENOENT else "not_executable"
    why = failure.problem.partition(f"{failure.operation}: ")[2]
    return msgspec.structs.replace(failure, kind=kind, problem=f"the working directory cannot be entered: {why}")
