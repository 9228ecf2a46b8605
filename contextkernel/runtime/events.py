"""The log of what happened in a store: JSON lines that engines and monitors append to, and everybody may read.

::

    root/events/log      the newest
    root/events/log.1    what was it before, and so on to log.4

There is no service that would hand events out. A writer opens, appends one line with one ``write`` and closes: with
``O_APPEND`` lines of several processes do not mix. A reader that follows looks again every now and then.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import msgspec

from contextkernel.model.container import ContainerSpec
from contextkernel.model.engine_events import EngineEvent, EventType

DIRECTORY = "events"
_LIMIT = 1 << 20  # bytes of one file
_OLD = 4  # files that are kept besides the newest
_POLL = 0.05  # seconds between looks of a reader that follows
_CHUNK = 1 << 16

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(EngineEvent)


def event_attributes(spec: ContainerSpec, more: Mapping[str, str]) -> dict[str, str]:
    """What docker tells of a container with each of its events: labels, image, name."""
    return {**spec.labels, "image": spec.image, "name": spec.name, **more}


class EventLog:
    """The events of one store.

    Args:
        root: directory of the store.
        limit: bytes after which a new file is begun.
    """

    def __init__(self, root: str, *, limit: int = _LIMIT) -> None:
        self._directory = os.path.join(root, DIRECTORY)
        self._path = os.path.join(self._directory, "log")
        self._limit = limit

    def write(
        self, type: EventType, action: str, id: str, attributes: Mapping[str, str], *, when: int | None = None
    ) -> None:
        """Note that something happened. Never raises: a full or read-only disk costs the note, not what it is about.

        Args:
            type, action, id, attributes: see :class:`EngineEvent`.
            when: nanoseconds since the epoch; default: now.
        """
        event = EngineEvent(
            type=type, action=action, id=id, attributes=dict(attributes), time=time.time_ns() if when is None else when
        )
        with suppress(OSError):
            descriptor = self._open()
            try:
                os.write(descriptor, _ENCODER.encode(event) + b"\n")
                if os.fstat(descriptor).st_size > self._limit:
                    self._rotate()
            finally:
                os.close(descriptor)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            os.makedirs(self._directory, 0o700, exist_ok=True)
            return os.open(self._path, flags, 0o600)

    def _rotate(self) -> None:
        """Begin a new file; one process does it, the others go on with what they have open."""
        lock = os.open(os.path.join(self._directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.stat(self._path).st_size <= self._limit:
                return
            for number in range(_OLD, 0, -1):
                with suppress(FileNotFoundError):
                    os.rename(self._path if number == 1 else f"{self._path}.{number - 1}", f"{self._path}.{number}")
        finally:
            os.close(lock)

    def past(self, since: int = 0, until: int | None = None) -> tuple[EngineEvent, ...]:
        """What is known of the past, oldest first.

        Args:
            since, until: nanoseconds since the epoch; both included.
        """
        files = self._open_all()
        try:
            found = [event for file in files for event in _Lines().read(file)]
        finally:
            _close(files)
        return tuple(event for event in found if since <= event.time and (until is None or event.time <= until))

    def follow(
        self,
        since: int | None = None,
        until: int | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], int] = time.time_ns,
    ) -> Iterator[EngineEvent]:
        """Events as they come, for ever or until ``until`` is over.

        Args:
            since: nanoseconds since the epoch: begin with what is known from then on; ``None``: only what comes.
            until: nanoseconds since the epoch.
            sleep, clock: replaced by tests.
        """
        earliest = clock() if since is None else since
        files = self._open_all()
        try:
            lines = _Lines()
            found = [event for file in files[:-1] for event in _Lines().read(file)] if since is not None else []
            if since is None and files:
                os.lseek(files[-1], 0, os.SEEK_END)
            while True:
                now = clock()
                found += self._news(files, lines)
                for event in found:
                    if event.time >= earliest and (until is None or event.time <= until):
                        yield event
                found = []
                if until is not None and now > until:
                    return
                sleep(_POLL)
        finally:
            _close(files)

    def _news(self, files: list[int], lines: _Lines) -> list[EngineEvent]:
        """Read on in the newest of ``files``; when it has a successor, what was written to it late comes first."""
        found = lines.read(files[-1]) if files else []
        with suppress(FileNotFoundError):
            if not files or not os.path.samestat(os.fstat(files[-1]), os.stat(self._path)):
                newest = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                if files:
                    found += lines.read(files[-1])
                files.append(newest)
                found += lines.read(newest)
        _close(files[:-1])
        del files[:-1]
        return found

    def _open_all(self) -> list[int]:
        """Descriptors of all files, oldest first; each once, also when it is renamed meanwhile."""
        found: dict[int, int] = {}
        for path in (self._path, *(f"{self._path}.{number}" for number in range(1, _OLD + 1))):
            with suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                other = found.setdefault(os.fstat(descriptor).st_ino, descriptor)
                if other != descriptor:
                    os.close(descriptor)
        return list(found.values())[::-1]


class _Lines:
    """Takes a file's lines as they grow."""

    def __init__(self) -> None:
        self._partial = b""

    def read(self, descriptor: int) -> list[EngineEvent]:
        """What has come since the last time."""
        data = self._partial
        while chunk := os.read(descriptor, _CHUNK):
            data += chunk
        *lines, self._partial = data.split(b"\n")
        return [event for line in lines if (event := _decode(line)) is not None]


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _decode(line: bytes) -> EngineEvent | None:
    """An event, or ``None`` for a line that a full disk cut off."""
    try:
        return _DECODER.decode(line)
    except msgspec.MsgspecError:
        return None
