"""Writing what a container's program puts out, in docker's json-file format; in files of a bounded size where asked."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import msgspec

from contextkernel.model.life import LogRules

_MAX_LINE = 16384  # docker splits longer lines into several records


class JsonLog:
    """Docker's json-file log: one object per line of output, with ``log``, ``stream`` and ``time``.

    Args:
        path: file to append to; full ones are renamed to ``path.1`` and so on, the oldest goes.
        rules: when a file is full, how many there are, what each record carries besides.
    """

    def __init__(self, path: str, rules: LogRules | None = None) -> None:
        self._path = path
        self._rules = rules or LogRules()
        self._partial: dict[str, bytes] = {}
        self._file = -1
        self._size = 0
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._file).st_size

    def write(self, stream: str, data: bytes) -> None:
        """Add output; a line is recorded when it is complete, or longer than 16 KiB."""
        lines = _lines(self._partial.pop(stream, b"") + data)
        if lines and not lines[-1].endswith(b"\n") and len(lines[-1]) < _MAX_LINE:
            self._partial[stream] = lines.pop()
        self._record(stream, lines)

    def flush(self) -> None:
        """Record what is left of unfinished lines."""
        for stream, rest in self._partial.items():
            self._record(stream, [rest])
        self._partial.clear()

    def close(self) -> None:
        """Record what is left of unfinished lines and close the file."""
        self.flush()
        os.close(self._file)

    def _record(self, stream: str, lines: list[bytes]) -> None:
        if not lines:
            return
        now = timestamp(time.time_ns())
        more = {"attrs": self._rules.attributes} if self._rules.attributes else {}
        records = [
            msgspec.json.encode({"log": line.decode("utf-8", "replace"), "stream": stream, **more, "time": now}) + b"\n"
            for line in lines
        ]
        if not self._rules.max_size:
            self._append(b"".join(records))
            return
        for record in records:
            if self._size >= self._rules.max_size:
                self._rotate()
            self._append(record)

    def _append(self, data: bytes) -> None:
        with suppress(OSError):  # a full disk costs the log, not the container
            self._size += os.write(self._file, data)

    def _rotate(self) -> None:
        """Begin a new file. A reader keeps what it has open, and sees by the name that there is another."""
        with suppress(OSError):
            if self._rules.max_files == 1:
                os.unlink(self._path)
            for number in range(self._rules.max_files - 1, 0, -1):
                with suppress(FileNotFoundError):
                    os.rename(self._path if number == 1 else f"{self._path}.{number - 1}", f"{self._path}.{number}")
        with suppress(OSError):
            full = self._file
            self._open()
            os.close(full)


def _lines(data: bytes) -> list[bytes]:
    """Split after each newline, and lines that are too long where they are."""
    *whole, last = data.split(b"\n")
    lines = [line + b"\n" for line in whole]
    if last:
        lines.append(last)
    return [line[at : at + _MAX_LINE] for line in lines for at in range(0, len(line), _MAX_LINE)]


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 with nanoseconds, UTC, as docker writes it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"
