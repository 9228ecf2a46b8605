"""Output of a running step: two pipes, read as it comes, until both are closed."""

from __future__ import annotations

import codecs
import os
import selectors
from collections import deque
from collections.abc import Callable, Mapping

_CHUNK = 64 * 1024
_LONGEST_LINE = 2_000


class Tail:
    """The last lines of a step's output, for its error message.

    Args:
        count: how many.
    """

    def __init__(self, count: int = 10) -> None:
        self._lines: deque[str] = deque(maxlen=count)
        self._open: dict[str, str] = {}

    def add(self, stream: str, text: str) -> None:
        """Take a piece of output."""
        *whole, rest = (self._open.pop(stream, "") + text).split("\n")
        self._lines.extend(line.rstrip("\r")[:_LONGEST_LINE] for line in whole)
        if rest:
            self._open[stream] = rest[-_LONGEST_LINE:]

    def lines(self) -> tuple[str, ...]:
        """The lines, unfinished ones last; blank ones at the end left out."""
        found = [*self._lines, *self._open.values()][-(self._lines.maxlen or 0) :]
        while found and not found[-1].strip():
            found.pop()
        return tuple(found)


def relay(
    streams: Mapping[int, str], emit: Callable[[str, str], None], wakes: int, on_wake: Callable[[], None]
) -> None:
    """Read pipes until all are closed by their writers.

    Args:
        streams: descriptor to stream name; they stay open.
        emit: receives stream name and text; bytes that are not UTF-8 become U+FFFD.
        wakes: a descriptor that becomes readable when something else has to be looked at.
        on_wake: called then.
    """
    decoders = {fd: codecs.getincrementaldecoder("utf-8")("replace") for fd in streams}
    with selectors.DefaultSelector() as selector:
        for fd in (*streams, wakes):
            selector.register(fd, selectors.EVENT_READ)
        waiting = set(streams)
        while waiting:
            for key, _ in selector.select():
                data = os.read(key.fd, _CHUNK)
                if key.fd == wakes:
                    on_wake()
                    continue
                text = decoders[key.fd].decode(data, final=not data)
                if text:
                    emit(streams[key.fd], text)
                if not data:
                    selector.unregister(key.fd)
                    waiting.discard(key.fd)
