"""A running container as its client sees it: the connection to its monitor."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from contextkernel.errors import Conflict, LaunchFailed, ProtocolViolation
from contextkernel.model.life import RestartPolicy
from contextkernel.model.resources import Resources
from contextkernel.runtime import messages
from contextkernel.runtime.messages import (
    Attach,
    Decoder,
    Detached,
    Done,
    Exec,
    Exited,
    Failed,
    FromMonitor,
    Pause,
    Processes,
    ProcessList,
    Refusal,
    Resize,
    Signal,
    Started,
    Stop,
    Taken,
    Unpause,
    Update,
)

if TYPE_CHECKING:
    import msgspec

    from contextkernel.model.container import ExecRequest, Usage

_KILLED = 137  # what a container is said to have exited with when its monitor vanished


class ContainerProcess:
    """A running container, reached through its monitor; implements ``model.ports.RunningContainer``.

    Args:
        link: connected to the monitor, which has said that the container runs.
        pid: of the container's init.
        decoder: what has been received so far on ``link``.
    """

    def __init__(self, link: socket.socket, pid: int, decoder: Decoder[FromMonitor]) -> None:
        self._link = link
        self._pid = pid
        self._decoder = decoder
        self._exit_code: int | None = None
        self._usage: Usage | None = None
        self._detached = False
        self._answers: deque[Done | Refusal | ProcessList | Started | Failed] = deque()
        self._receiving = threading.Lock()
        self._closed = False

    @property
    def pid(self) -> int:
        """Process id of the container's init as the host sees it."""
        return self._pid

    @property
    def usage(self) -> Usage | None:
        """What it used; see the port."""
        return self._usage

    @property
    def detached(self) -> bool:
        """The detach keys were typed; see the port."""
        return self._detached

    def wait(self, timeout: float | None = None) -> int | None:
        """Exit code, or ``None`` when ``timeout`` seconds passed first; see the port."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._receiving.acquire(timeout=-1 if timeout is None else timeout):
            return None
        try:
            while self._exit_code is None and not self._detached:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if self._closed:
                    raise ProtocolViolation("wait() on a container whose connection was closed")
                if not _readable(self._link, left):
                    return None
                self._receive()
            return self._exit_code
        finally:
            self._receiving.release()

    def _receive(self) -> None:
        try:
            data = self._link.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._exit_code = _KILLED
            return
        for message in self._decoder.feed(data):
            match message:
                case Exited(exit_code, usage):
                    self._exit_code, self._usage = exit_code, usage
                case Detached():
                    self._detached = True
                case Done() | Refusal() | ProcessList() | Started() | Failed():
                    self._answers.append(message)
                case _:
                    messages.unexpected("client", "monitor", message, "Exited, Detached or an answer")

    def signal(self, number: int, *, ends: bool = False) -> None:
        """Send a signal to the container's init. No error when it has already exited; see the port."""
        self._send(Signal(number, ends))

    def stop(self, number: int, timeout: int) -> None:
        """Ask for the end, and return at once; see the port."""
        self._send(Stop(number, timeout))

    def pause(self) -> None:
        """Pause all processes; see the port."""
        self._ask(Pause())

    def unpause(self) -> None:
        """Let all processes go on; see the port."""
        self._ask(Unpause())

    def update(self, restart: RestartPolicy | None = None, resources: Resources | None = None) -> None:
        """Change the restart policy; see the port."""
        self._ask(Update(restart, resources))

    def processes(self) -> tuple[int, ...]:
        """Process ids as the host sees them; see the port."""
        answer = self._ask(Processes())
        return answer.pids if isinstance(answer, ProcessList) else ()

    def attach(
        self,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        detach_keys: bytes = b"",
    ) -> None:
        """Connect streams; see the port."""
        streams = [stream for stream in (stdin, stdout, stderr) if stream is not None]
        request = Attach(stdin is not None, stdout is not None, stderr is not None, detach_keys)
        self._ask(request, streams)

    def execute(
        self,
        request: ExecRequest,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        detach_keys: bytes = b"",
    ) -> None:
        """Start a further program; from here on this object is about it. See ``model.ports.ContainerRuntime``."""
        streams = [stream for stream in (stdin, stdout, stderr) if stream is not None]
        message = Exec(request, stdin is not None, stdout is not None, stderr is not None, detach_keys)
        answer = self._ask(message, streams)
        if isinstance(answer, Started):
            self._pid = answer.pid

    def resize(self, rows: int, columns: int) -> None:
        """The client's terminal has this size now; see the port."""
        self._send(Resize(rows, columns))

    def _send(self, message: msgspec.Struct) -> None:
        if self._exit_code is None and not self._closed:
            with suppress(OSError):
                messages.send(self._link, message)

    def _ask(self, message: msgspec.Struct, descriptors: list[int] | None = None) -> Done | ProcessList | Started:
        """Send a request and wait for its answer.

        Raises:
            Conflict: the monitor refuses, or the container has ended meanwhile.
            CommandNotFound, CommandNotExecutable, LaunchFailed: a program could not be started.
        """
        with self._receiving:
            with suppress(OSError):  # the answer, or its absence, tells
                messages.send(self._link, message, descriptors or [])
            while not self._answers:
                if self._exit_code is not None or self._closed:
                    raise Conflict("the container has ended", hint="ps -a shows what became of it")
                self._receive()
            answer = self._answers.popleft()
        if isinstance(answer, Refusal):
            raise Conflict(answer.problem, hint=answer.hint)
        if isinstance(answer, Failed):
            raise answer.error()
        return answer

    def close(self) -> None:
        """Give up the connection. Idempotent. Kills the container if it was launched with ``die_with_client``."""
        self._closed = True
        with suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)  # wakes a wait() in another thread
        self._link.close()


class NotTaken(LaunchFailed):
    """The request was lost on its way to a monitor."""


def await_start(link: socket.socket) -> ContainerProcess:
    """Wait until the monitor at the other end says that the container runs.

    Raises:
        CommandNotFound, CommandNotExecutable, LaunchFailed: it does not. NotTaken: nobody has read the request.
    """
    decoder: Decoder[FromMonitor] = Decoder(FromMonitor, "client", "monitor")
    taken = False
    while True:
        answer, _ = decoder.receive(link)
        match answer:
            case Taken():
                taken = True
            case Started(pid):
                return ContainerProcess(link, pid, decoder)
            case Failed():
                raise answer.error()
            case None:
                raise (LaunchFailed if taken else NotTaken)(
                    "the container's monitor ended before the container was started"
                )
            case _:
                messages.unexpected("client", "monitor", answer, "Started or Failed")


def _readable(link: socket.socket, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(link, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))
