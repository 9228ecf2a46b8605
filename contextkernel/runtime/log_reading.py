"""Reading what a container has written, out of the log that its monitor keeps."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import BinaryIO

import msgspec

from contextkernel.runtime.logs import timestamp

_POLL = 0.05  # seconds between looks at a log that is followed
_CHUNK = 1 << 16


class LogRecord(msgspec.Struct, frozen=True):
    """One record of docker's json-file format.

    Attributes:
        log: a line with its end, or a piece of a long one.
        time: RFC 3339 with nine decimals, UTC.
        attrs: labels and variables that the log was asked to carry.
    """

    log: str
    stream: str
    time: str
    attrs: dict[str, str] = {}

    @property
    def line(self) -> bytes:
        """The bytes of the line; those that were no UTF-8 were replaced when they were written, as docker does."""
        return self.log.encode("utf-8", "surrogateescape")


_DECODER = msgspec.json.Decoder(LogRecord)


def read_log(
    path: str,
    running: Callable[[], bool],
    *,
    tail: int | None = None,
    follow: bool = False,
    since: int | None = None,
    until: int | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[LogRecord]:
    """Yield records, oldest first; nothing if there is no log.

    Args:
        path: of the newest file; older ones have ``.1`` and so on behind their names.
        running: whether more may come.
        tail: only the last records of those that are there at the start.
        follow: go on until the container has exited, or ``until`` has passed.
        since, until: nanoseconds since the epoch; both included.
        sleep: replaced by tests.
    """
    first, last = timestamp(since) if since else "", timestamp(until) if until is not None else "~"
    with ExitStack() as stack:
        files = _open_all(path, stack)
        pieces = _Pieces()
        chosen = (record for record in _known(files, pieces) if first <= record.time <= last)
        yield from chosen if tail is None else deque(chosen, maxlen=tail)
        current = files[-1] if files else None
        while follow:
            alive = running()
            late = until is not None and time.time_ns() > until
            for record in pieces.read(current) if current is not None else ():
                if record.time > last:
                    return
                if record.time >= first:
                    yield record
            newer = _successor(path, current)
            if newer is not None:
                if current is not None:
                    # what was written between the last look and the change of files
                    yield from (record for record in pieces.read(current) if first <= record.time <= last)
                current = stack.enter_context(newer)
                continue
            if not alive or late:
                return
            sleep(_POLL)


class _Pieces:
    """Takes a file's records as they grow; one that is half written waits for its other half."""

    def __init__(self) -> None:
        self._partial = b""

    def read(self, file: BinaryIO) -> Iterator[LogRecord]:
        """What has come since the last time."""
        while chunk := file.read(_CHUNK):
            *lines, self._partial = (self._partial + chunk).split(b"\n")
            for line in lines:
                with suppress(msgspec.MsgspecError):  # cut off by a full disk
                    yield _DECODER.decode(line)


def _known(files: list[BinaryIO], pieces: _Pieces) -> Iterator[LogRecord]:
    """What is there; ``pieces`` goes on in the newest of the files."""
    for file in files[:-1]:
        yield from _Pieces().read(file)
    if files:
        yield from pieces.read(files[-1])


def _successor(path: str, current: BinaryIO | None) -> BinaryIO | None:
    """The file that took the place of ``current``: the one that was begun right after it."""
    names = [path]
    while os.path.exists(f"{path}.{len(names)}"):
        names.append(f"{path}.{len(names)}")
    newer = None
    for name in names:
        with suppress(FileNotFoundError):
            file = open(name, "rb")  # noqa: SIM115 - closed here or by the caller
            if current is not None and os.path.samestat(os.fstat(file.fileno()), os.fstat(current.fileno())):
                file.close()
                return newer
            if newer is not None:
                newer.close()
            newer = file
    return newer


def _open_all(path: str, stack: ExitStack) -> list[BinaryIO]:
    """All files, oldest first; each once, also when it is renamed meanwhile."""
    found: dict[int, BinaryIO] = {}
    number = 0
    while True:
        try:
            file = stack.enter_context(open(f"{path}.{number}" if number else path, "rb"))  # noqa: SIM115 - the stack
        except FileNotFoundError:
            if number:
                return list(found.values())[::-1]
        else:
            found.setdefault(os.fstat(file.fileno()).st_ino, file)
        number += 1
