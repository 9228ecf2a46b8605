"""The program's streams: to the log, to clients, and from them. Nothing blocks, and a slow client loses no log."""

from __future__ import annotations

import fcntl
import os
import select
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from contextkernel.linux.descriptors import own_nonblocking
from contextkernel.runtime.loop import READABLE, WRITABLE

if TYPE_CHECKING:
    from contextkernel.runtime.logs import JsonLog

_CHUNK = 65536
_PIECE = 4096  # what a pipe that polls as writable takes at once (PIPE_BUF)
_MAX_PENDING = 1 << 20  # the program waits once a client is this far behind, as on a full pipe


class Tap:
    """The end of an output at one client.

    Args:
        client: descriptor to write to; owned from here on.
    """

    def __init__(self, client: int) -> None:
        self._client: int | None = own_nonblocking(client)
        self._whole = stat.S_ISREG(os.fstat(self._client).st_mode)
        self._pending = bytearray()

    @property
    def open(self) -> bool:
        """The client is still there."""
        return self._client is not None

    @property
    def behind(self) -> int:
        """Bytes that the client has not got yet."""
        return len(self._pending)

    def interests(self) -> Iterator[tuple[int, int]]:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        if self._client is not None and self._pending:
            yield self._client, select.POLLOUT

    def ready(self, events: Mapping[int, int]) -> None:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        if self._client is not None and self._pending and events.get(self._client, 0) & WRITABLE:
            self.write()

    def feed(self, data: bytes) -> None:
        """Give the client ``data``, as much of it now as it takes."""
        if self._client is not None:
            self._pending += data
            self.write()

    def write(self) -> None:
        """Give the client as much as it takes now."""
        while self._pending and self._client is not None:
            if not self._whole and not _writable(self._client):
                return
            try:
                count = os.write(self._client, self._pending if self._whole else self._pending[:_PIECE])
            except BlockingIOError:
                return
            except OSError:  # gone, full, or a terminal that hung up
                self.close()
                return
            del self._pending[:count]

    def close(self) -> None:
        """Forget the client, and what it has not got. Idempotent."""
        self._pending.clear()
        if self._client is not None:
            os.close(self._client)
            self._client = None


class Output:
    """One output stream of the program.

    Args:
        stream: ``stdout`` or ``stderr``.
        source: reading end of the program's pipe, or its terminal; owned from here on.
        log: log to write to, or ``None``.
    """

    def __init__(self, stream: str, source: int, log: JsonLog | None) -> None:
        os.set_blocking(source, False)
        self.stream = stream
        self._source: int | None = source
        self._log = log
        self._taps: list[Tap] = []

    @property
    def open(self) -> bool:
        """There may be more output."""
        return self._source is not None

    @property
    def has_room(self) -> bool:
        """No client is too far behind."""
        return all(tap.behind < _MAX_PENDING for tap in self._taps)

    def attach(self, client: int) -> Tap:
        """Give the output from here on to ``client`` too; the descriptor is owned from here on."""
        tap = Tap(client)
        self._taps.append(tap)
        return tap

    def interests(self) -> Iterator[tuple[int, int]]:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        self._taps = [tap for tap in self._taps if tap.open]
        if self._source is not None and self.has_room:
            yield self._source, select.POLLIN
        for tap in self._taps:
            yield from tap.interests()

    def ready(self, events: Mapping[int, int]) -> None:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        if self._source is not None and events.get(self._source, 0) & READABLE:
            self.read()
        for tap in self._taps:
            tap.ready(events)

    def read(self) -> bool:
        """Take what the program has written; ``False`` if there was nothing (any more)."""
        return self._take() > 0

    def _take(self) -> int:
        if self._source is None:
            return 0
        try:
            data = os.read(self._source, _CHUNK)
        except BlockingIOError:
            return 0
        except OSError:  # EIO: a terminal that nobody inside has open any more
            data = b""
        if not data:
            self.close_source()
            return 0
        if self._log is not None:
            self._log.write(self.stream, data)
        for tap in self._taps:
            tap.feed(data)
        return len(data)

    def drain(self) -> None:
        """Take all that is there, and read no more: the program has ended.

        Others may write there still, which it has left behind: what comes from them meanwhile is not waited for.
        """
        left = _capacity(self._source) if self._source is not None else 0
        while left > 0 and (count := self._take()):
            left -= count
        self.close_source()

    def close_source(self) -> None:
        """Read no more. Idempotent."""
        if self._source is not None:
            os.close(self._source)
            self._source = None

    def close(self) -> None:
        """Forget the program and all clients. Idempotent."""
        self.close_source()
        for tap in self._taps:
            tap.close()
        self._taps.clear()


def _capacity(source: int) -> int:
    """How much of what was written there nobody may have read yet."""
    try:
        return fcntl.fcntl(source, fcntl.F_GETPIPE_SZ)
    except OSError:  # a terminal, which holds less
        return _MAX_PENDING


def _writable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(events & WRITABLE for _, events in poll.poll(0))


class Sink:
    """The program's standard input.

    Args:
        descriptor: writing end of the program's pipe, or its terminal; owned from here on.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor: int | None = descriptor
        self._pending = b""

    @property
    def open(self) -> bool:
        """The program may still read."""
        return self._descriptor is not None

    @property
    def idle(self) -> bool:
        """Everything so far has been passed on."""
        return not self._pending

    def interests(self) -> Iterator[tuple[int, int]]:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        if self._descriptor is not None:
            # without interest in writing only a closed other end is reported
            yield self._descriptor, select.POLLOUT if self._pending else 0

    def ready(self, events: Mapping[int, int]) -> None:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        happened = events.get(self._descriptor, 0) if self._descriptor is not None else 0
        if happened & select.POLLERR:
            self.close()
        elif self._pending and happened & WRITABLE:
            self._write()

    def feed(self, data: bytes) -> None:
        """Pass ``data`` on, as much of it now as the program takes; to be called when :attr:`idle`."""
        self._pending += data
        self._write()

    def _write(self) -> None:
        if self._descriptor is None:
            return
        try:
            self._pending = self._pending[os.write(self._descriptor, self._pending) :]
        except BlockingIOError:
            return
        except OSError:  # the program has closed its input
            self.close()

    def close(self) -> None:
        """End of input. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._pending = b""


class Input:
    """One client's input for the program.

    Args:
        client: descriptor to read from; owned from here on.
        sink: where it goes.
        ends: the end of this client's input is the program's end of input.
        scan: looks at what the client has typed: what to pass on, and whether it wants to leave; see
            :class:`~contextkernel.runtime.detaching.DetachKeys`.
        leave: called when it wants to.
    """

    def __init__(
        self,
        client: int,
        sink: Sink,
        *,
        ends: bool = True,
        scan: Callable[[bytes], tuple[bytes, bool]] | None = None,
        leave: Callable[[], None] | None = None,
    ) -> None:
        self._client: int | None = client
        self._sink = sink
        self._ends = ends
        self._scan = scan
        self._leave = leave

    @property
    def open(self) -> bool:
        """The client may have more."""
        return self._client is not None

    def interests(self) -> Iterator[tuple[int, int]]:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        if not self._sink.open:
            self.close()
        elif self._client is not None and self._sink.idle:
            yield self._client, select.POLLIN

    def ready(self, events: Mapping[int, int]) -> None:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        if self._client is not None and self._sink.idle and events.get(self._client, 0) & READABLE:
            self.read()

    def read(self) -> None:
        """Take what the client has and pass it on."""
        if self._client is None:
            return
        try:
            data = os.read(self._client, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            if self._ends:
                self._sink.close()
            return
        leaves = False
        if self._scan is not None:
            data, leaves = self._scan(data)
        if data:
            self._sink.feed(data)
        if leaves and self._leave is not None:
            self._leave()

    def close(self) -> None:
        """Read no more from the client. Idempotent."""
        if self._client is not None:
            os.close(self._client)
            self._client = None
