"""What connects a program to its clients: the pipes between it and the monitor, and each client's streams there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from contextkernel.linux.terminal import set_size
from contextkernel.runtime.detaching import DetachKeys
from contextkernel.runtime.relay import Input, Output, Sink, Tap

if TYPE_CHECKING:
    from contextkernel.runtime.logs import JsonLog


class Standard(NamedTuple):
    """Descriptors of the three standard streams, ``None`` for one that is not there."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None

    def close(self) -> None:
        """Close those that are there."""
        for stream in self:
            if stream is not None:
                os.close(stream)


class Channels:
    """The monitor's side of one program's streams; a :class:`~contextkernel.runtime.loop.Source`.

    Args:
        stdin: the program has an input; else it reads ``/dev/null``.
        stdout, stderr: the program has that output; else it writes to ``/dev/null``.
        terminal: the program opens a terminal instead; :meth:`use_terminal` gets the other end.
        log: gets all output.
    """

    def __init__(
        self,
        *,
        stdin: bool,
        stdout: bool = True,
        stderr: bool = True,
        terminal: bool = False,
        log: JsonLog | None = None,
    ) -> None:
        self.outputs: list[Output] = []
        self.sink: Sink | None = None
        self._inputs: list[Input] = []
        self._log = log
        self._stdin = stdin
        self._terminal: int | None = None
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._child_ends = [null]
        self.child = (null, null, null)
        if terminal:
            return
        child_in = null
        if stdin:
            child_in, end = os.pipe()
            self._child_ends.append(child_in)
            self.sink = Sink(end)
        child_out = {"stdout": null, "stderr": null}
        for name in (name for name, there in (("stdout", stdout), ("stderr", stderr)) if there):
            source, child_out[name] = os.pipe()
            self._child_ends.append(child_out[name])
            self.outputs.append(Output(name, source, log))
        self.child = (child_in, child_out["stdout"], child_out["stderr"])

    def use_terminal(self, terminal: int) -> None:
        """The program has a terminal.

        Args:
            terminal: descriptor of our end; owned from here on.
        """
        self._terminal = terminal
        # descriptors of their own, so that each can be closed alone
        self.outputs.append(Output("stdout", fcntl.fcntl(terminal, fcntl.F_DUPFD_CLOEXEC, 0), self._log))
        if self._stdin:
            self.sink = Sink(fcntl.fcntl(terminal, fcntl.F_DUPFD_CLOEXEC, 0))

    def resize(self, rows: int, columns: int) -> None:
        """The client's terminal has this size now; without a terminal nothing happens."""
        if self._terminal is not None:
            set_size(self._terminal, rows, columns)

    def close_child_ends(self) -> None:
        """The program has its own. Idempotent."""
        while self._child_ends:
            os.close(self._child_ends.pop())

    def attach(
        self,
        streams: Standard,
        *,
        ends_input: bool = True,
        detach_keys: bytes = b"",
        on_detach: Callable[[], None] | None = None,
    ) -> Attachment:
        """Connect a client's streams.

        Args:
            streams: owned from here on.
            ends_input: the end of this client's input ends the program's.
            detach_keys: what to type to leave, empty for nothing.
            on_detach: called when it was typed.
        """
        taps = []
        for output in self.outputs:
            client = getattr(streams, output.stream)
            if client is not None:
                taps.append(output.attach(client))
        names = {output.stream for output in self.outputs}
        for name in ("stdout", "stderr"):
            if name not in names and (unused := getattr(streams, name)) is not None:
                os.close(unused)
        source = None
        if streams.stdin is not None:
            if self.sink is None:
                os.close(streams.stdin)
            else:
                scan = DetachKeys(detach_keys).scan if detach_keys else None
                source = Input(streams.stdin, self.sink, ends=ends_input, scan=scan, leave=on_detach)
                self._inputs.append(source)
        return Attachment(taps, source)

    def interests(self) -> Iterator[tuple[int, int]]:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        for output in self.outputs:
            yield from output.interests()
        self._inputs = [source for source in self._inputs if source.open]
        for source in self._inputs:
            yield from source.interests()
        if self.sink is not None:
            yield from self.sink.interests()

    def ready(self, events: Mapping[int, int]) -> None:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        for output in self.outputs:
            output.ready(events)
        if self.sink is not None:
            self.sink.ready(events)
        for source in tuple(self._inputs):
            source.ready(events)

    def end_input(self) -> None:
        """The program has no more input. Idempotent."""
        if self.sink is not None:
            self.sink.close()

    def end(self) -> None:
        """The program has ended: take what it has left in its pipes, and no more input."""
        for source in self._inputs:
            source.close()
        self._inputs.clear()
        self.end_input()
        for output in self.outputs:
            output.drain()
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None

    def close(self) -> None:
        """Forget program and clients. Idempotent."""
        self.close_child_ends()
        self.end()
        for output in self.outputs:
            output.close()


class Attachment:
    """One client's streams at a program.

    Args:
        taps: its outputs.
        source: its input.
    """

    def __init__(self, taps: list[Tap], source: Input | None) -> None:
        self._taps = taps
        self._source = source

    @property
    def flushed(self) -> bool:
        """The client has got all that was read so far."""
        return not any(tap.behind for tap in self._taps)

    def close(self) -> None:
        """Close the client's streams; what it has not got is lost. Idempotent."""
        for tap in self._taps:
            tap.close()
        if self._source is not None:
            self._source.close()
