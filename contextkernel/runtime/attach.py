"""Stay with a container until it exits: feed its input, take its output, pass signals on, stop it when interrupted."""

from __future__ import annotations

import os
import selectors
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from contextkernel.model.results import RunResult

if TYPE_CHECKING:
    from types import FrameType

    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.ports import Process

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_GRACE = 2.0  # seconds an interrupted container has before SIGKILL
_CHUNK = 65536
#: docker's command line gives up on the third of these as well; here the container does not stay behind
_INSISTENT = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 3

OnOutput = Callable[[str, bytes], None]


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
    """Start ``spec`` and wait for its exit.

    Args:
        containers: where it lives.
        spec: a container that is not running.
        stdin: bytes to feed or a descriptor to relay.
        stdout, stderr: descriptors for the output; without them it is collected and given to ``on_output``.
        on_output: receives ``(stream, chunk)``.
        forward_signals: pass this process's signals on (main thread only); the third SIGINT or SIGTERM is an interrupt.

    Raises:
        KeyboardInterrupt: after the container was stopped (and, with auto_remove, removed).
    """
    pipes = _Pipes(stdin, stdout, stderr)
    try:
        process = containers.start(spec, stdin=pipes.child_in, stdout=pipes.child_out, stderr=pipes.child_err)
    except BaseException:
        pipes.close()
        raise
    try:
        pipes.close_child_ends()
        with _forwarding(process, forward_signals):
            collected = pipes.pump(on_output)
            code = process.wait()
    except BaseException:
        _stop(process)
        raise
    finally:
        pipes.close()
        process.close()
        containers.finished(spec)
    return RunResult(id=spec.id, name=spec.name, exit_code=code or 0, stdout=collected[0], stderr=collected[1])


def _stop(process: Process) -> None:
    """End an interrupted container: ask, wait a little, insist."""
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
    """The descriptors between this process and a container's monitor."""

    def __init__(self, stdin: bytes | int | None, stdout: int | None, stderr: int | None) -> None:
        self._mine: list[int] = []
        self._theirs: list[int] = []
        self._feed = stdin if isinstance(stdin, bytes) else None
        self._feed_end = -1
        self._readers: dict[int, str] = {}
        self.child_in = stdin if isinstance(stdin, int) else None
        if self._feed is not None:
            self.child_in, self._feed_end = os.pipe()
            self._theirs.append(self.child_in)
            self._mine.append(self._feed_end)
        self.child_out = stdout if stdout is not None else self._output("stdout")
        self.child_err = stderr if stderr is not None else self._output("stderr")

    def _output(self, stream: str) -> int:
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

    def pump(self, on_output: OnOutput | None) -> tuple[bytes, bytes]:
        """Feed the input and take the output until all pipes are closed; returns what was collected."""
        collected = {"stdout": bytearray(), "stderr": bytearray()}
        feed = memoryview(self._feed or b"")
        with selectors.DefaultSelector() as selector:
            for reader in self._readers:
                selector.register(reader, selectors.EVENT_READ)
            if self._feed_end >= 0:
                os.set_blocking(self._feed_end, False)
                selector.register(self._feed_end, selectors.EVENT_WRITE)
            while _unfinished({key.fd for key in selector.get_map().values()}, set(self._readers)):
                for key, _ in selector.select():
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
                    collected[stream] += chunk
                    if on_output:
                        on_output(stream, chunk)
        return bytes(collected["stdout"]), bytes(collected["stderr"])

    def _write_some(self, feed: memoryview) -> memoryview:
        try:
            return feed[os.write(self._feed_end, feed[:_CHUNK]) :]
        except BlockingIOError:
            return feed
        except BrokenPipeError:  # the program does not read its input
            return feed[:0]
