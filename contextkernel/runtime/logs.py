"""What is kept of a container's output: docker's json-file log."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import msgspec

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
