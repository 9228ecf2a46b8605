"""Stay with a program until it exits: feed its input, take its output, pass signals on, stop it if interrupted."""

from __future__ import annotations

import os
import selectors
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple, Protocol

from contextkernel.model.results import RunResult
from contextkernel.runtime.typist import Typist

if TYPE_CHECKING:
    from types import FrameType

    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.ports import Process, Screen

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_GRACE = 2.0  # seconds an interrupted container has before SIGKILL
_CHUNK = 65536
KEPT = 1 << 20
"""Bytes from the end of each stream that are collected where somebody hears the output as it comes."""
#: docker's command line gives up on the third of these as well; here the container does not stay behind
_INSISTENT = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 3
ALL_STREAMS = frozenset({"stdin", "stdout", "stderr"})

OnOutput = Callable[[str, bytes], None]
#: starts the program, or attaches to it, with these descriptors for input, output and error
Begin = Callable[[int | None, int | None, int | None], "Process"]


class Client(NamedTuple):
    """The client of a program.

    Attributes:
        stdin: bytes to feed or a descriptor to relay.
        stdout, stderr: descriptors for the output; without them it is collected and given to ``on_output``.
        on_output: receives ``(stream, chunk)``.
        forward_signals: pass this process's signals on (main thread only); the third SIGINT or SIGTERM is an interrupt.
        streams: those that are attached; of others the program's log is all that is left.
        typed: ``stdin`` is bytes that are typed at a terminal.
        screen: the terminal that shows the program's.
    """

    stdin: bytes | int | None = None
    stdout: int | None = None
    stderr: int | None = None
    on_output: OnOutput | None = None
    forward_signals: bool = False
    streams: frozenset[str] = ALL_STREAMS
    typed: bool = False
    screen: Screen | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of its screen; zeros where there is none."""
        return self.screen.size if self.screen is not None else (0, 0)


class Said(NamedTuple):
    """What came of it: the exit code, ``None`` after the detach keys, and the output that was collected."""

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    left_out: int


class Starter(Protocol):
    """Starts a container, and is told of its end."""

    def start(
        self, spec: ContainerSpec, *, stdin: int | None = None, stdout: int | None = None, stderr: int | None = None
    ) -> Process:
        """Start it."""
        ...

    def finished(self, spec: ContainerSpec) -> None:
        """It has ended."""
        ...


def attach(
    containers: Starter,
    spec: ContainerSpec,
    *,
    stdin: bytes | int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    on_output: OnOutput | None = None,
    forward_signals: bool = False,
) -> RunResult:
    """Start ``spec``, which has no terminal, and wait for its exit.

    Args:
        containers: where it lives.
        spec: a container that is not running.
        stdin, stdout, stderr, on_output, forward_signals: see :class:`Client`.

    Raises:
        KeyboardInterrupt: after the container was stopped (and, with auto_remove, removed).
    """
    client = Client(stdin, stdout, stderr, on_output, forward_signals)

    def begin(given: int | None, out: int | None, err: int | None) -> Process:
        return containers.start(spec, stdin=given, stdout=out, stderr=err)

    said = converse(begin, client, ended=lambda: containers.finished(spec))
    return RunResult(id=spec.id, name=spec.name, exit_code=said.exit_code or 0, stdout=said.stdout, stderr=said.stderr)


def converse(
    begin: Begin,
    client: Client,
    *,
    interrupted: Callable[[Process], None] | None = None,
    ended: Callable[[], None] | None = None,
) -> Said:
    """Be with a program from ``begin`` until it exits, or the detach keys are typed.

    Args:
        begin: starts it.
        client: who talks to it.
        interrupted: what to do with it when an exception (an interrupt, say) breaks this off; default: stop it.
        ended: called in the end, unless it was detached from or did not begin.

    Raises:
        Whatever ``begin`` raises. KeyboardInterrupt: after ``interrupted``.
    """
    pipes = _Pipes(client)
    running: list[Process] = []
    sizes: list[tuple[int, int]] = []

    def resized(rows: int, columns: int) -> None:
        sizes[:] = [(rows, columns)]
        for one in running:
            one.resize(rows, columns)

    with client.screen.hold(resized) if client.screen is not None else nullcontext():
        try:
            process = begin(pipes.child_in, pipes.child_out, pipes.child_err)
        except BaseException:
            pipes.close()
            raise
        running.append(process)
        code: int | None = -1
        try:
            for size in sizes:  # told while it was being started, when it could not be handed on
                process.resize(*size)
            pipes.close_child_ends()
            with _forwarding(process, client.forward_signals):
                collected = pipes.pump(client.on_output)
                code = process.wait()
        except BaseException:
            (interrupted or stop)(process)
            raise
        finally:
            pipes.close()
            process.close()
            if ended is not None and code is not None:
                ended()
    return Said(code, *collected)


def stop(process: Process) -> None:
    """End an interrupted program: ask, wait a little, insist."""
    try:
        process.signal(signal.SIGINT)
        if process.wait(_GRACE) is not None:
            return
    except KeyboardInterrupt:  # whoever asks again does not want to wait
        pass
    process.signal(signal.SIGKILL)
    process.wait()


@contextmanager
def _forwarding(process: Process, wanted: bool) -> Iterator[None]:
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield
        return

    asked = 0

    def forward(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked += number in _INSISTENT
        if asked >= _PATIENCE:  # pid 1 ignores what it has no handler for
            raise KeyboardInterrupt
        process.signal(number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _unfinished(watched: set[int], readers: set[int]) -> bool:
    """Whether pumping goes on: until the output ends, or, where none is collected, until the input is fed."""
    return bool(watched & readers) if readers else bool(watched)


class _Pipes:
    """The descriptors between this process and a program's monitor."""

    def __init__(self, client: Client) -> None:
        self._mine: list[int] = []
        self._theirs: list[int] = []
        stdin = client.stdin if "stdin" in client.streams else None
        self._feed = stdin if isinstance(stdin, bytes) else None
        self._typed = client.typed
        self._feed_end = -1
        self._readers: dict[int, str] = {}
        self.child_in = stdin if isinstance(stdin, int) else None
        if self._feed is not None:
            self.child_in, self._feed_end = os.pipe()
            self._theirs.append(self.child_in)
            self._mine.append(self._feed_end)
        self.child_out = self._output("stdout", client.stdout) if "stdout" in client.streams else None
        self.child_err = self._output("stderr", client.stderr) if "stderr" in client.streams else None

    def _output(self, stream: str, given: int | None) -> int:
        if given is not None:
            return given
        reader, writer = os.pipe()
        self._readers[reader] = stream
        self._mine.append(reader)
        self._theirs.append(writer)
        return writer

    def close_child_ends(self) -> None:
        while self._theirs:
            os.close(self._theirs.pop())

    def close(self) -> None:
        self.close_child_ends()
        while self._mine:
            os.close(self._mine.pop())

    def _done(self, descriptor: int) -> None:
        if descriptor in self._mine:
            self._mine.remove(descriptor)
            os.close(descriptor)

    def pump(self, on_output: OnOutput | None) -> tuple[bytes, bytes, int]:
        """Feed the input and take the output until all pipes are closed.

        Returns:
            What was collected of both, and how many bytes were not: all is kept, unless somebody hears it as it comes.
        """
        collected = {"stdout": bytearray(), "stderr": bytearray()}
        left_out = 0
        feed = memoryview(self._feed or b"")
        typist = Typist(bytes(feed), time.monotonic()) if self._typed and self._feed_end >= 0 else None
        with selectors.DefaultSelector() as selector:
            for reader in self._readers:
                selector.register(reader, selectors.EVENT_READ)
            if self._feed_end >= 0:
                os.set_blocking(self._feed_end, False)
                if typist is None:
                    selector.register(self._feed_end, selectors.EVENT_WRITE)
            while _unfinished({key.fd for key in selector.get_map().values()}, set(self._readers)):
                patience = None if typist is None else max(0.0, typist.due - time.monotonic())
                for key, _ in selector.select(patience):
                    if key.fd == self._feed_end:
                        feed = self._write_some(feed)
                        if not feed:
                            selector.unregister(key.fd)
                            self._done(key.fd)
                        continue
                    chunk = os.read(key.fd, _CHUNK)
                    stream = self._readers[key.fd]
                    if not chunk:
                        selector.unregister(key.fd)
                        self._done(key.fd)
                        continue
                    if typist is not None:
                        typist.hear(time.monotonic())
                    collected[stream] += chunk
                    if on_output:
                        on_output(stream, chunk)
                        if (more := len(collected[stream]) - KEPT) > KEPT:  # cut now and then, not at every piece
                            del collected[stream][:more]
                            left_out += more
                if typist is not None and (keys := typist.next(time.monotonic())):
                    self._write_some(memoryview(keys))
        return bytes(collected["stdout"]), bytes(collected["stderr"]), left_out

    def _write_some(self, feed: memoryview) -> memoryview:
        try:
            return feed[os.write(self._feed_end, feed[:_CHUNK]) :]
        except BlockingIOError:
            return feed
        except BrokenPipeError:  # the program does not read its input
            return feed[:0]
