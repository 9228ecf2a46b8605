"""The service's side of the inner process: requests in order, answers handed to whoever asked."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence

from contextkernel.network import messages
from contextkernel.network.loop import Loop
from contextkernel.network.messages import Applied, Apply, Failed, FromInner, Link, Made, MakeSockets, Ready
from contextkernel.network.plan import Operation

Finished = Callable[[Failed | None], None]
Supplied = Callable[["list[socket.socket] | Failed"], None]


class Bench:
    """Where operations are carried out; each request is answered by a call, in the order of the requests.

    Args:
        loop: of this process.
        connection: to the inner process.
        lost: called when the inner process has gone.
    """

    def __init__(self, loop: Loop, connection: socket.socket, lost: Callable[[], None]) -> None:
        connection.settimeout(None)
        self._link: Link[FromInner] = Link(connection, FromInner, "network service", "inner network process")
        self._lost = lost
        self._number = 0
        self._waiting: dict[int, Callable[[Failed | list[socket.socket] | None], None]] = {}
        self.trouble: Ready | None = None
        loop.add_reader(connection.fileno(), self._read)

    def adopt(self, place: str, descriptor: int) -> None:
        """Make a network namespace known as ``place``; the descriptor stays the caller's."""
        self._send(messages.Adopt(place), [descriptor])

    def abandon(self, place: str) -> None:
        """Forget a place."""
        self._send(messages.Abandon(place))

    def restore(self) -> None:
        """Set the host's settings back."""
        self._send(messages.Restore())

    def apply(self, operations: Sequence[Operation], done: Finished, *, unless: str = "") -> None:
        """Apply operations; ``done`` gets ``None``, or why nothing was done.

        Args:
            operations: in order.
            done: called once.
            unless: do nothing if there is a link of this name already.
        """

        def answered(answer: Failed | list[socket.socket] | None) -> None:
            done(answer if isinstance(answer, Failed) else None)

        number = self._next(answered)
        self._send(Apply(number, tuple(operations), unless))

    def make_sockets(
        self,
        place: str,
        family: int,
        kind: int,
        done: Supplied,
        *,
        count: int = 1,
        bind: tuple[str, int] | None = None,
        listen: bool = False,
    ) -> None:
        """Have sockets made in a place; ``done`` gets them, or why there are none."""

        def answered(answer: Failed | list[socket.socket] | None) -> None:
            done(answer if answer is not None else [])

        number = self._next(answered)
        self._send(MakeSockets(number, place, family, kind, count, bind, listen))

    def _next(self, done: Callable[[Failed | list[socket.socket] | None], None]) -> int:
        self._number += 1
        self._waiting[self._number] = done
        return self._number

    def _send(self, message: messages.ToInner, descriptors: Sequence[int] = ()) -> None:
        try:
            self._link.send(message, descriptors)
        except OSError:
            self._lost()

    def _read(self) -> None:
        try:
            answer, descriptors = self._link.receive()
        except OSError:
            answer, descriptors = None, []
        match answer:
            case None:
                self._lost()
            case Ready(problem):
                self.trouble = answer if problem else None
                if problem:
                    self._lost()
            case Applied(number):
                self._settle(number, None)
            case Made(number):
                self._settle(number, [socket.socket(fileno=descriptor) for descriptor in descriptors])
                return
            case Failed(number):
                self._settle(number, answer)
        for descriptor in descriptors:
            os.close(descriptor)

    def _settle(self, number: int, answer: Failed | list[socket.socket] | None) -> None:
        done = self._waiting.pop(number, None)
        if done is not None:
            done(answer)
