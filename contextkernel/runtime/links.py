"""A monitor's connections to clients."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from contextkernel.errors import ContextKernelError
from contextkernel.runtime import messages
from contextkernel.runtime.messages import FromMonitor, ToMonitor


class Link:
    """A connection to one client; a :class:`~contextkernel.runtime.loop.Source`.

    Args:
        connection: owned from here on.
        answer: called with each request; takes its descriptors with :meth:`take`.
        gone: called once, when the client has gone or did not keep to the protocol.
    """

    def __init__(
        self,
        connection: socket.socket,
        answer: Callable[[Link, ToMonitor], None],
        gone: Callable[[Link], None],
    ) -> None:
        connection.settimeout(0)
        self._connection = connection
        self._answer = answer
        self._gone = gone
        self._decoder: messages.Decoder[ToMonitor] = messages.Decoder(ToMonitor, "monitor", "client")
        self._descriptors: list[int] = []
        self._closed = False

    def send(self, message: FromMonitor) -> None:
        """Send if the client is still there; the few bytes always fit."""
        with suppress(OSError):
            messages.send(self._connection, message)

    def take(self, wanted: tuple[bool, ...]) -> tuple[int | None, ...] | None:
        """Descriptors that came with the request, one for each ``True``; ``None`` when there are too few."""
        if sum(wanted) > len(self._descriptors):
            return None
        return tuple(self._descriptors.pop(0) if there else None for there in wanted)

    def interests(self) -> Iterator[tuple[int, int]]:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        if not self._closed:
            yield self._connection.fileno(), select.POLLIN

    def ready(self, events: Mapping[int, int]) -> None:
        """See :class:`~contextkernel.runtime.loop.Source`."""
        if self._closed or self._connection.fileno() not in events:
            return
        try:
            data, descriptors = messages.receive_some(self._connection)
            self._descriptors.extend(descriptors)
            requests = list(self._decoder.feed(data)) if data else []
        except BlockingIOError:
            return
        except (OSError, ContextKernelError):
            data = b""
        if not data:
            self.close()
            self._gone(self)
            return
        for request in requests:
            self._answer(self, request)

    def close(self) -> None:
        """Hang up. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._connection.close()
        while self._descriptors:
            os.close(self._descriptors.pop())
