"""Open connections, to be able to end them: whoever waits for a registry that is silent is called off at once.

An interrupt reaches the thread that it is for; those that it has sent to a registry wait in system calls that only
the end of their connection ends.
"""

from __future__ import annotations

import socket
import threading
import weakref
from contextlib import suppress

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from contextkernel.store.side_by_side import GivenUp


class Lines:
    """The sockets of one user's connections.

    Attributes:
        ended: nothing is sent any more, and what is waited for does not come.
        pools: classes for ``urllib3.PoolManager.pool_classes_by_scheme``, whose connections are known here.
    """

    def __init__(self) -> None:
        self.ended = False
        self._lock = threading.Lock()
        # not the connections: one that is not kept alive gives its socket to the answer
        self._open: weakref.WeakSet[object] = weakref.WeakSet()
        lines = self

        class Plain(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                lines._add(self.sock)

        class Secure(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                lines._add(self.sock)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        self.pools: dict[str, type[HTTPConnectionPool]] = {"http": PlainPool, "https": SecurePool}

    def check(self) -> None:
        """Go on only if it is wanted.

        Raises:
            GivenUp: it is not.
        """
        if self.ended:
            raise GivenUp

    def end(self) -> None:
        """End all connections, for good. From any thread, any number of times."""
        with self._lock:
            self.ended = True
            left = list(self._open)
        for one in left:
            _shut(one)

    def _add(self, one: object) -> None:
        with self._lock:
            if one is not None:
                self._open.add(one)
            late = self.ended
        if late:
            _shut(one)


def _shut(one: object) -> None:
    """No TLS farewell: another thread is in the middle of something."""
    inner = getattr(one, "socket", one)  # TLS to a proxy within which TLS is spoken
    if isinstance(inner, socket.socket):
        with suppress(OSError):  # it is over anyway
            socket.socket.shutdown(inner, socket.SHUT_RDWR)
