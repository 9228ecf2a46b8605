"""The client's side of the layer worker: starts it when it is first needed and hands jobs to it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence

from contextkernel.errors import ContextKernelError, HostUnsupported, ProtocolViolation, StoreProblem
from contextkernel.model.backing import TREE, Backing, PrepareRequest, Root, SettleRequest
from contextkernel.model.box import BoxView, Change, PathFacts, PlaceRequest
from contextkernel.model.ids import IdMap
from contextkernel.model.layers import CopyRequest, ExportRequest, LayerFacts, MakeDirRequest, PopulateRequest
from contextkernel.model.room import Growth
from contextkernel.store import worker_messages as messages
from contextkernel.store.bound import Bound
from contextkernel.store.worker_messages import Answer, Channel, Job, to_error

_SOCKET = 3  # the descriptor that the worker finds its socket at
_PATIENCE = 10.0  # seconds that a cancelled job has to stop


class LayerWorkerClient:
    """A ``ports.LayerWorker``: one helper process, started at first use and again after it died.

    Safe to use from several threads; jobs of different threads overlap. A call that is interrupted
    (``KeyboardInterrupt``) has its job stopped before it returns.

    Args:
        idmap: the ids the helper works with; the identity map means no user namespace.
        backing: what it makes file systems of.
        registry: directory by which its user namespace is shared (``linux.userns_shared``); ``None``: it is not.

    Attributes:
        bound: says how far what jobs write may grow; ``None``: as far as the disk goes.
    """

    def __init__(self, idmap: IdMap, *, registry: str | None = None, backing: Backing = "overlay") -> None:
        self._idmap = idmap
        self._backing = backing
        self._registry = registry
        self.bound: Bound | None = None
        self._guard = threading.Lock()
        self._helper: _Helper | None = None
        self._next = 0

    def commit(self, directory: str, *, lowers: Sequence[str] = ()) -> LayerFacts:
        """See ports.LayerWorker.

        Args:
            directory: the layer's directory.
            lowers: ``diff`` directories of the layers below, base first: what is the same there is left out. Where the
                host can store a single id, a file that was copied up keeps the owner that their indexes have for it.
        """
        return self._facts(lambda job: messages.Commit(id=job, directory=directory, lowers=tuple(lowers)))

    def unpack(self, source: str | int, directory: str, *, limit: int | None = None) -> LayerFacts:
        """See ports.LayerWorker."""
        path, descriptor = (source, -1) if isinstance(source, str) else (None, source)
        return self._facts(
            lambda job: messages.Unpack(id=job, source=path, directory=directory, limit=limit), descriptor
        )

    def copy(self, request: CopyRequest) -> tuple[str, ...]:
        """See ports.LayerWorker."""
        return self._call(lambda job: messages.Copy(id=job, request=request)).notes

    def make_dir(self, request: MakeDirRequest) -> tuple[str, ...]:
        """See ports.LayerWorker."""
        return self._call(lambda job: messages.MakeDir(id=job, request=request)).notes

    def populate(self, request: PopulateRequest) -> None:
        """See ports.LayerWorker."""
        self._call(lambda job: messages.Populate(id=job, request=request))

    def look(self, view: BoxView, path: str, *, root: int = -1, follow: bool = False) -> PathFacts:
        """See ports.LayerWorker."""
        found = self._call(lambda job: messages.Look(id=job, view=view, path=path, follow=follow), root).path
        if found is None:
            raise ProtocolViolation("the layer worker did not tell of a path it was asked about")
        return found

    def pack(self, view: BoxView, facts: PathFacts, name: str, descriptor: int, *, root: int = -1) -> None:
        """See ports.LayerWorker."""
        self._call(
            lambda job: messages.Pack(id=job, view=view, path=facts.path, name=name, kind=facts.kind), descriptor, root
        )

    def place(self, request: PlaceRequest, descriptor: int, *, root: int = -1) -> tuple[str, ...]:
        """See ports.LayerWorker."""
        return self._call(lambda job: messages.Place(id=job, request=request), descriptor, root).notes

    def changes(self, view: BoxView) -> tuple[Change, ...]:
        """See ports.LayerWorker."""
        return self._call(lambda job: messages.Changes(id=job, view=view)).changes

    def write_changes(self, view: BoxView, descriptor: int) -> None:
        """See ports.LayerWorker."""
        self._call(lambda job: messages.WriteChanges(id=job, view=view), descriptor)

    def prepare(self, request: PrepareRequest) -> Root:
        """See ports.LayerWorker."""
        if self._backing == "overlay" and not _has_tree(request.root.upper):
            return request.root
        root = self._call(lambda job: messages.Prepare(id=job, request=request)).root
        if root is None:
            raise ProtocolViolation("the layer worker did not tell of a root that it was asked for")
        return root

    def settle(self, request: SettleRequest) -> None:
        """See ports.LayerWorker."""
        if _has_tree(request.upper):
            self._call(lambda job: messages.Settle(id=job, request=request))

    def write_tar(self, directory: str, descriptor: int, *, latest: int | None = None) -> LayerFacts:
        """See ports.LayerWorker."""
        return self._facts(lambda job: messages.WriteTar(id=job, directory=directory, latest=latest), descriptor)

    def export_tar(self, request: ExportRequest, descriptor: int) -> None:
        """See ports.LayerWorker."""
        self._call(lambda job: messages.ExportTar(id=job, request=request), descriptor)

    def export_tree(self, request: ExportRequest, descriptor: int) -> None:
        """See ports.LayerWorker."""
        self._call(lambda job: messages.ExportTree(id=job, request=request), descriptor)

    def remove(self, paths: Sequence[str]) -> None:
        """See ports.LayerWorker."""
        if paths:
            self._call(lambda job: messages.Remove(id=job, paths=tuple(os.path.abspath(path) for path in paths)))

    def measure(self, paths: Sequence[str]) -> tuple[int, ...]:
        """See ports.LayerWorker."""
        done = self._call(lambda job: messages.Measure(id=job, paths=tuple(paths)))
        return tuple(int(note) for note in done.notes)

    def adopt(self, source: str, directory: str) -> LayerFacts:
        """See ports.LayerWorker."""
        return self._facts(lambda job: messages.Adopt(id=job, source=source, directory=directory))

    def cancel(self, thread: int) -> None:
        """Stop what a thread waits for in here: its call raises, and its job has ended by then.

        Args:
            thread: as of ``threading.get_ident``; fine if it waits for nothing.
        """
        with self._guard:
            helper = self._helper
        if helper is not None:
            helper.cancel(thread)

    def close(self) -> None:
        """End the helper. Idempotent; a later call starts another."""
        with self._guard:
            helper, self._helper = self._helper, None
        if helper is not None:
            helper.end()

    def _facts(self, make: Callable[[int], Job], descriptor: int = -1) -> LayerFacts:
        facts = self._call(make, descriptor).facts
        if facts is None:
            raise ProtocolViolation("the layer worker answered a job without its facts")
        return facts

    def _call(self, make: Callable[[int], Job], *descriptors: int) -> messages.Done:
        with self._guard:
            self._next += 1
            number = self._next
            if self._helper is None or self._helper.gone:
                if self._helper is not None:
                    self._helper.end()
                self._helper = _Helper(messages.Start(self._idmap, self._registry, self._backing))
            helper = self._helper
        job = make(number)
        growth = self._growth(job)
        try:
            return helper.run(job, tuple(one for one in descriptors if one >= 0), growth)
        except messages.Outgrown as outgrown:
            if self.bound is None:
                raise
            raise self.bound.problem(int(outgrown.problem)) from None

    def _growth(self, job: Job) -> Growth | None:
        directory = messages.target(job)
        return self.bound.growth(directory) if directory and self.bound is not None else None


def _has_tree(upper: str) -> bool:
    """Whether what belongs to an upper directory is a tree; one that is not complete counts too."""
    return os.path.lexists(f"{os.path.dirname(upper)}/{TREE}")


class _Waiting:
    """What a caller waits for."""

    __slots__ = ("answer", "patience", "thread")

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.thread = threading.get_ident()
        self.patience: threading.Timer | None = None


class _Helper:
    """One helper process. Whoever waits first reads the socket for everybody: no thread of its own is needed."""

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
