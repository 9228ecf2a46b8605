"""The runtime as its user sees it: starts the launcher, sends requests, and speaks with monitors."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from contextkernel.errors import HostUnsupported, LaunchFailed
from contextkernel.runtime import messages, state
from contextkernel.runtime.facts import HostFacts, gather
from contextkernel.runtime.messages import Decoder, FromLauncher, Hello, Launch, Refused, Signal, Welcome
from contextkernel.runtime.process import ContainerProcess, NotTaken, await_start

if TYPE_CHECKING:
    from contextkernel.model.container import ExecRequest, LaunchRequest, RunState
    from contextkernel.model.ids import IdMap

_LINK = 3  # the launcher's end of the socket
_START = "import sys; sys.path[:0] = {paths!r}; from contextkernel.runtime.launcher import main; main({descriptor})"


class NamespaceRuntime:
    """Containers in Linux namespaces; implements ``model.ports.Runtime``. Methods may be called from several threads.

    Args:
        idmap: the ids containers have; identity: no user namespace, which needs root.
        fork: start the launcher by forking this process, which saves the start of an interpreter. For a short-lived
            process with one thread; where there are more threads a fresh one is started all the same.
        facts: what this host allows; ``None`` looks itself, and takes fresh mounts of /proc and /sys to be allowed.
        registry: directory by which all who use it share one user namespace; ``None``: one for this object alone.
    """

    def __init__(
        self, idmap: IdMap, *, fork: bool = False, facts: HostFacts | None = None, registry: str | None = None
    ) -> None:
        self._idmap = idmap
        self._registry = registry
        self._fork = fork
        self._facts = facts
        self._guard = threading.Lock()
        self._link: socket.socket | None = None
        self._launcher = 0
        self._ready = False

    @property
    def facts(self) -> HostFacts:
        """What launch plans are made from."""
        if self._facts is None:
            self._facts = gather(self._idmap)
        return self._facts

    def warm(self) -> None:
        """Begin to start the launcher, and return without waiting for it."""
        with self._guard:
            self._connect()

    def launch(
        self,
        request: LaunchRequest,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        detach_keys: bytes = b"",
    ) -> ContainerProcess:
        """Start ``request``; see the port.

        Raises:
            CommandNotFound, CommandNotExecutable, LaunchFailed: nothing is left running.
            HostUnsupported: this host does not give the ids.
        """
        if not request.open_stdin:
            stdin = None
        message = Launch(
            request=request,
            facts=self.facts,
            stdin=stdin is not None,
            stdout=stdout is not None,
            stderr=stderr is not None,
            detach_keys=detach_keys,
        )
        streams = [stream for stream in (stdin, stdout, stderr) if stream is not None]
        try:
            return self._start(message, streams)
        except NotTaken:
            # the launcher died with the request unread
            with self._guard:
                self._disconnect()
            return self._start(message, streams)

    def _start(self, message: Launch, streams: list[int]) -> ContainerProcess:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._send(message, [theirs.fileno(), *streams])
            return await_start(ours)
        except BaseException:
            # an interrupt while waiting: the monitor must not keep what nobody will know of
            with suppress(OSError):
                messages.send(ours, Signal(signal.SIGKILL))
            ours.close()
            raise

    def connect(self, state_dir: str) -> ContainerProcess | None:
        """The running container of ``state_dir``, whoever started it; ``None`` if it does not run."""
        if not self.state(state_dir).alive:
            return None
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            directory = os.open(state_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                # by way of /proc, because a socket's name may not exceed 107 bytes
                link.connect(f"/proc/self/fd/{directory}/{state.SOCKET}")
            finally:
                os.close(directory)
            return await_start(link)
        except (OSError, LaunchFailed):
            link.close()
            return None

    def execute(
        self,
        state_dir: str,
        request: ExecRequest,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        detach_keys: bytes = b"",
    ) -> ContainerProcess | None:
        """Start a further program in the running container of ``state_dir``; see the port."""
        process = self.connect(state_dir)
        if process is None:
            return None
        try:
            process.execute(request, stdin=stdin, stdout=stdout, stderr=stderr, detach_keys=detach_keys)
        except BaseException:
            process.close()
            raise
        return process

    def state(self, state_dir: str) -> RunState:
        """What became of the container of ``state_dir``; never raises."""
        return state.read_state(state_dir)

    def close(self) -> None:
        """End the launcher; containers go on. Idempotent."""
        with self._guard:
            self._disconnect()

    def _send(self, message: Launch, descriptors: list[int]) -> None:
        """Hand a request to the launcher; one that has died since the last time is replaced."""
        with self._guard:
            for attempt in (1, 2):
                try:
                    link = self._connect()
                    self._await_welcome(link)
                    messages.send(link, message, descriptors)
                    return
                except (BrokenPipeError, ConnectionResetError):
                    self._disconnect()
                    if attempt == 2:
                        raise LaunchFailed("the launcher process ends as soon as it is started") from None

    def _await_welcome(self, link: socket.socket) -> None:
        if self._ready:
            return
        decoder: Decoder[FromLauncher] = Decoder(FromLauncher, "client", "launcher")
        answer, _ = decoder.receive(link)
        match answer:
            case Welcome():
                self._ready = True
            case Refused(problem, hint):
                self._disconnect()
                raise HostUnsupported(problem, hint=hint)
            case None:
                raise BrokenPipeError

    def _connect(self) -> socket.socket:
        if self._link is None:
            ours, theirs = socket.socketpair()
            with theirs:
                self._launcher = _fork(ours, theirs) if self._fork and _single_threaded() else _spawn(theirs)
            self._link, self._ready = ours, False
            messages.send(ours, Hello(self._idmap, self._registry))
        return self._link

    def _disconnect(self) -> None:
        if self._link is None:
            return
        self._link.close()
        self._link = None
        with suppress(ChildProcessError):
            os.waitpid(self._launcher, 0)


def _single_threaded() -> bool:
    return len(os.listdir("/proc/self/task")) == 1


def _fork(ours: socket.socket, theirs: socket.socket) -> int:
    from contextkernel.runtime.launcher import main

    # an interrupt in the child must not unwind into what the parent was doing; main() lets signals in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            ours.close()
            main(theirs.fileno())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _spawn(theirs: socket.socket) -> int:
    """Start a fresh interpreter that sees nothing but this package and what it imports."""
    import msgspec

    import contextkernel

    paths = list(
        dict.fromkeys(
            os.path.dirname(os.path.dirname(os.path.abspath(module.__file__ or "")))
            for module in (contextkernel, msgspec)
        )
    )
    code = _START.format(paths=paths, descriptor=_LINK)
    high = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, 10)  # so that it is another number than the one it gets
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-c", code],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, high, _LINK)],
        )
    finally:
        os.close(high)
