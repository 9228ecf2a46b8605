"""The program's streams: to the log, to the client, and from it. Nothing blocks, and a slow client loses no log."""

from __future__ import annotations

import os
import select
import stat
import time
from contextlib import suppress

import msgspec

from contextkernel.linux.descriptors import own_nonblocking

_CHUNK = 65536
_PIECE = 4096  # what a pipe that polls as writable takes at once (PIPE_BUF)
_MAX_PENDING = 1 << 20  # the program waits once the client is this far behind, as on a full pipe
_MAX_LINE = 16384  # docker splits longer lines into several records


class JsonLog:
    """Docker's json-file log: one object per line of output, with ``log``, ``stream`` and ``time``.

    Args:
        path: file to append to.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._partial: dict[str, bytes] = {}

    def write(self, stream: str, data: bytes) -> None:
        """Add output; a line is recorded when it is complete, or longer than 16 KiB."""
        lines = _lines(self._partial.pop(stream, b"") + data)
        if lines and not lines[-1].endswith(b"\n") and len(lines[-1]) < _MAX_LINE:
            self._partial[stream] = lines.pop()
        self._record(stream, lines)

    def close(self) -> None:
        """Record what is left of unfinished lines and close the file."""
        for stream, rest in self._partial.items():
            self._record(stream, [rest])
        os.close(self._file)

    def _record(self, stream: str, lines: list[bytes]) -> None:
        if not lines:
            return
        now = _timestamp(time.time_ns())
        records = [
            msgspec.json.encode({"log": line.decode("utf-8", "replace"), "stream": stream, "time": now})
            for line in lines
        ]
        with suppress(OSError):  # a full disk costs the log, not the container
            os.write(self._file, b"\n".join(records) + b"\n")


def _lines(data: bytes) -> list[bytes]:
    """Split after each newline, and lines that are too long where they are."""
    *whole, last = data.split(b"\n")
    lines = [line + b"\n" for line in whole]
    if last:
        lines.append(last)
    return [line[at : at + _MAX_LINE] for line in lines for at in range(0, len(line), _MAX_LINE)]


def _timestamp(nanoseconds: int) -> str:
    """RFC 3339 with nanoseconds, UTC, as docker writes it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


class Output:
    """One output stream of the program.

    Args:
        stream: ``stdout`` or ``stderr``.
        source: reading end of the program's pipe.
        client: descriptor to write to, or ``None``; owned from here on.
        log: log to write to, or ``None``.
    """

    def __init__(self, stream: str, source: int, client: int | None, log: JsonLog | None) -> None:
        os.set_blocking(source, False)
        self._stream = stream
        self.source: int | None = source
        self._log = log
        self._pending = bytearray()
        self.client = None if client is None else own_nonblocking(client)
        self._whole = self.client is not None and stat.S_ISREG(os.fstat(self.client).st_mode)

    @property
    def wants_read(self) -> bool:
        """There may be more output, and room for it."""
        return self.source is not None and len(self._pending) < _MAX_PENDING

    @property
    def wants_write(self) -> bool:
        """The client has not got everything yet."""
        return bool(self._pending)

    def read(self) -> bool:
        """Take what the program has written; ``False`` if there was nothing (any more)."""
        if self.source is None:
            return False
        try:
            data = os.read(self.source, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            os.close(self.source)
            self.source = None
            return False
        if self._log is not None:
            self._log.write(self._stream, data)
        if self.client is not None:
            self._pending += data
            self.write()
        return True

    def write(self) -> None:
        """Give the client as much as it takes now."""
        while self._pending and self.client is not None:
            if not self._whole and not _writable(self.client):
                return
            try:
                count = os.write(self.client, self._pending if self._whole else self._pending[:_PIECE])
            except BlockingIOError:
                return
            except OSError:  # gone, full, or a terminal that hung up
                self.drop_client()
                return
            del self._pending[:count]

    def drop_client(self) -> None:
        """Forget the client; the log goes on."""
        self._pending.clear()
        if self.client is not None:
            os.close(self.client)
            self.client = None

    def close_source(self) -> None:
        """Read no more."""
        if self.source is not None:
            os.close(self.source)
            self.source = None


def _writable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(events & (select.POLLOUT | select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


class Input:
    """The program's standard input, from the client.

    Args:
        client: descriptor to read from; owned from here on.
        sink: writing end of the program's pipe.
    """

    def __init__(self, client: int, sink: int) -> None:
        os.set_blocking(sink, False)
        self.client: int | None = client
        self.sink: int | None = sink
        self._pending = b""

    @property
    def wants_read(self) -> bool:
        """Everything read so far has been passed on."""
        return self.client is not None and self.sink is not None and not self._pending

    @property
    def wants_write(self) -> bool:
        """The program has not taken everything yet."""
        return self.sink is not None and bool(self._pending)

    def read(self) -> None:
        """Take what the client has; its end is the program's end of input."""
        if self.client is None:
            return
        try:
            self._pending = os.read(self.client, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._pending = b""
        if self._pending:
            self.write()
        else:
            self.close()

    def write(self) -> None:
        """Pass on as much as the program takes now."""
        if self.sink is None:
            return
        try:
            self._pending = self._pending[os.write(self.sink, self._pending) :]
        except BlockingIOError:
            return
        except OSError:  # the program has closed its input
            self.close()

    def close(self) -> None:
        """End of input. Idempotent."""
        for descriptor in (self.client, self.sink):
            if descriptor is not None:
                os.close(descriptor)
        self.client = self.sink = None
        self._pending = b""
