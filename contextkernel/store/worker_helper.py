"""A process of the layer worker, from its client's side."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import sys
import threading

from contextkernel.errors import ContextKernelError, HostUnsupported, StoreProblem
from contextkernel.model.room import Growth
from contextkernel.store import worker_messages as messages
from contextkernel.store.worker_messages import Answer, Channel, Job, to_error

_SOCKET = 3  # the descriptor that the worker finds its socket at
_PATIENCE = 10.0  # seconds that a cancelled job has to stop


class _Waiting:
    """What a caller waits for."""

    __slots__ = ("answer", "patience", "thread")

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.thread = threading.get_ident()
        self.patience: threading.Timer | None = None


class Helper:
    """One helper process. Whoever waits first reads the socket for everybody: no thread of its own is needed.

    Args:
        start: tells it what to be.

    Attributes:
        gone: it has ended.
    """

    def __init__(self, start: messages.Start) -> None:
        self.gone = False
        self._turn = threading.Condition()
        self._reading = False
        self._waiting: dict[int, _Waiting] = {}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._pid = _spawn(theirs.fileno())
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._channel = Channel(ours)
        try:
            self._greet(start)
        except BaseException:
            self.end(kill=True)
            raise

    def _greet(self, start: messages.Start) -> None:
        with contextlib.suppress(OSError):
            self._channel.send(start)
        answer: Answer | None = self._channel.receive(Answer)
        if isinstance(answer, messages.Failed):
            raise to_error(answer.error)
        if not isinstance(answer, messages.Ready):
            raise HostUnsupported(
                "the layer worker did not start", hint=f"does {sys.executable} -I -S start on this host?"
            )

    def run(self, job: Job, descriptors: tuple[int, ...], growth: Growth | None = None) -> messages.Done:
        """Hand over a job and wait for its answer."""
        mine = _Waiting()
        with self._turn:
            self._waiting[job.id] = mine
        try:
            with contextlib.suppress(OSError):  # a helper that is gone says so below
                self._channel.send(job if growth is None else messages.Bounded(job=job, growth=growth), descriptors)
            self._await(mine)
        except BaseException:
            self._give_up(job, mine)
            raise
        finally:
            with self._turn:
                self._waiting.pop(job.id, None)
                if mine.patience is not None:
                    mine.patience.cancel()
        match mine.answer:
            case messages.Done() as done:
                return done
            case messages.Failed(error=error) if error.kind == messages.OUTGROWN:
                raise messages.Outgrown(error.problem)
            case messages.Failed(error=error):
                raise to_error(error)
        raise _ended()

    def _await(self, mine: _Waiting) -> None:
        """Wait for an answer: read the socket if nobody else does, else wait for whoever does."""
        while True:
            mine_to_read = False
            try:
                with self._turn:
                    while self._reading and mine.answer is None and not self.gone:
                        self._turn.wait()
                    if mine.answer is not None or self.gone:
                        return
                    self._reading = mine_to_read = True
                answer: Answer | None = self._channel.receive(Answer)
                with self._turn:
                    if answer is None:
                        self.gone = True
                    elif not isinstance(answer, messages.Ready) and answer.id in self._waiting:
                        self._waiting[answer.id].answer = answer
            finally:
                if mine_to_read:
                    with self._turn:
                        self._reading = False
                        self._turn.notify_all()

    def _give_up(self, job: Job, mine: _Waiting) -> None:
        """After an interrupt: nothing may go on working on the caller's directories once the call is over."""
        if mine.answer is not None or self.gone:
            return
        timer = threading.Timer(_PATIENCE, self._kill)
        timer.start()
        try:
            with contextlib.suppress(OSError):
                self._channel.send(messages.Cancel(id=job.id))
            self._await(mine)
        except BaseException:
            self._kill()
            raise
        finally:
            timer.cancel()

    def cancel(self, thread: int) -> None:
        """Ask for the end of a thread's job, and insist if it does not come."""
        with self._turn:
            found = [(job, waiting) for job, waiting in self._waiting.items() if waiting.thread == thread]
            for _, waiting in found:
                if waiting.patience is None:
                    waiting.patience = threading.Timer(_PATIENCE, self._kill)
                    waiting.patience.daemon = True
                    waiting.patience.start()
        for job, _ in found:
            with contextlib.suppress(OSError):
                self._channel.send(messages.Cancel(id=job))

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    def end(self, *, kill: bool = False) -> None:
        """Close the socket, which ends the helper, and wait until it is gone."""
        if kill:
            self._kill()
        self.gone = True
        self._channel.shut()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        self._channel.close()


def _ended() -> ContextKernelError:
    return StoreProblem(
        "the layer worker ended in the middle of a job",
        hint="it was killed, perhaps for lack of memory; the store is unharmed, try again",
    )


def _spawn(descriptor: int) -> int:
    """Start the helper with its end of the socket as descriptor 3; it sees nothing else of this process."""
    paths = [_parent_of("contextkernel"), *(_parent_of(name) for name in ("msgspec", "zstandard", "isal"))]
    code = f"import sys; sys.path[:0] = {list(dict.fromkeys(paths))!r}; "
    code += f"from contextkernel.store.worker import main; main({_SOCKET})"
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", code],
        {name: value for name, value in os.environ.items() if name in {"PATH", "TMPDIR", "LD_LIBRARY_PATH"}},
        file_actions=[(os.POSIX_SPAWN_DUP2, descriptor, _SOCKET)],
        setpgroup=0,  # Ctrl-C on a terminal is the client's to handle
        setsigmask=(),
        setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD),
    )


def _parent_of(package: str) -> str:
    """The directory that a package is imported from, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise HostUnsupported(f"the package {package!r} is not installed", hint="reinstall contextkernel")
    return os.path.dirname(os.path.abspath(next(iter(spec.submodule_search_locations))))
