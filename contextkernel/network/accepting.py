"""Taking what connects to a listening socket, also while there are no descriptors left for it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any

from contextkernel.network.loop import Loop, Timer

#: what accept(2) says when there are no descriptors or no memory left
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_PAUSE = 0.1  # seconds to wait then; the socket stays ready, so without it the loop would do nothing else


class Acceptor:
    """Hands on each connection.

    Args:
        loop: that of this thread.
        listener: does not block, and stays its owner's.
        taken: gets a connection, which does not block and is the callee's, and the address of the other side.
        turns: connections taken at once before others have their turn.
    """

    def __init__(
        self, loop: Loop, listener: socket.socket, taken: Callable[[socket.socket, Any], None], *, turns: int = 1
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._taken = taken
        self._turns = turns
        self._pause: Timer | None = None
        self._listen()

    def close(self) -> None:
        """Take no more; the listening socket stays open. Idempotent; to be called before that is closed."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove(self._listener.fileno())

    def _listen(self) -> None:
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(self._turns):
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno in _EXHAUSTED:  # try again when some may have been closed
                    self._loop.remove_reader(self._listener.fileno())
                    self._pause = self._loop.call_later(_PAUSE, self._listen)
                    return
                continue  # this one has gone already
            connection.settimeout(0)
            self._taken(connection, address)
