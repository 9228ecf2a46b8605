"""Connections that are begun without waiting for them, in this network namespace or with sockets made in another.

A socket belongs to the network namespace it was made in, whoever uses it. So a process that may not enter a namespace
can still connect in it: somebody inside makes the sockets and hands them out.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from contextkernel.network.loop import Loop, Timer

Dialled = Callable[["socket.socket | OSError"], None]
_UNDER_WAY = {errno.EINPROGRESS, errno.EAGAIN}

#: what a socket that takes what comes to any address is bound to
ANY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104


class Dialer(Protocol):
    """Makes connected sockets that do not block."""

    def dial(self, kind: socket.SocketKind, host: str, port: int, done: Dialled) -> None:
        """Connect to ``host``, an IPv4 or IPv6 address, and call ``done`` with the socket or with what was wrong.

        ``done`` is called once, maybe before this returns. The socket is the callee's.
        """


class DirectDialer:
    """Connects from the network namespace of this process.

    Args:
        loop: that of this thread.
        patience: seconds until a connection that is not answered is given up.
    """

    def __init__(self, loop: Loop, patience: float = 30.0) -> None:
        self._loop = loop
        self._patience = patience

    def dial(self, kind: socket.SocketKind, host: str, port: int, done: Dialled) -> None:
        """See :class:`Dialer`."""
        try:
            made = socket.socket(family_of(host), kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as problem:
            done(problem)
            return
        connect(self._loop, made, (host, port), self._patience, done)


class SuppliedDialer:
    """Connects with sockets that somebody in another network namespace makes.

    A few are kept in store, so that most connections need not wait for their maker.

    Args:
        loop: that of this thread.
        order: asks for a number of sockets of a family and a kind; they are to come by :meth:`supply`.
        patience: seconds until a connection that is not answered, or a socket that does not come, is given up.
        batch: how many sockets are ordered at a time, and most of how many are in store.
    """

    def __init__(
        self,
        loop: Loop,
        order: Callable[[int, int, int], None],
        *,
        patience: float = 30.0,
        batch: int = 8,
    ) -> None:
        self._loop = loop
        self._order = order
        self._patience = patience
        self._batch = batch
        self._store: dict[tuple[int, int], deque[socket.socket]] = {}
        self._waiting: dict[tuple[int, int], deque[Callable[[socket.socket | OSError], None]]] = {}
        self._ordered: dict[tuple[int, int], int] = {}
        self._closed = False

    def dial(self, kind: socket.SocketKind, host: str, port: int, done: Dialled) -> None:
        """See :class:`Dialer`."""
        if self._closed:
            done(OSError(errno.ENETDOWN, os.strerror(errno.ENETDOWN)))
            return
        sort = (int(family_of(host)), int(kind))
        kept = self._store.setdefault(sort, deque())
        if kept:
            connect(self._loop, kept.popleft(), (host, port), self._patience, done)
        else:
            self._wait(sort, host, port, done)
        self._refill(sort)

    def supply(self, family: int, kind: int, sockets: list[socket.socket]) -> None:
        """Sockets that were ordered; none at all means that they cannot be made, and fails those who wait."""
        sort = (family, kind)
        self._ordered[sort] = max(0, self._ordered.get(sort, 0) - max(1, len(sockets)))
        waiting = self._waiting.setdefault(sort, deque())
        if self._closed:
            for made in sockets:
                made.close()
            return
        if not sockets:
            self._ordered[sort] = 0
            while waiting:
                waiting.popleft()(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
            return
        for made in sockets:
            made.settimeout(0)
            if waiting:
                waiting.popleft()(made)
            else:
                self._store.setdefault(sort, deque()).append(made)
        if waiting:
            self._refill(sort)

    def close(self) -> None:
        """Close what is in store and fail those who wait. Idempotent."""
        self._closed = True
        for kept in self._store.values():
            while kept:
                kept.popleft().close()
        for waiting in self._waiting.values():
            while waiting:
                waiting.popleft()(OSError(errno.ENETDOWN, os.strerror(errno.ENETDOWN)))

    def _wait(self, sort: tuple[int, int], host: str, port: int, done: Dialled) -> None:
        waiting = self._waiting.setdefault(sort, deque())

        def arrived(made: socket.socket | OSError) -> None:
            timer.cancel()
            if isinstance(made, OSError):
                done(made)
            else:
                connect(self._loop, made, (host, port), self._patience, done)

        def late() -> None:
            with suppress(ValueError):
                waiting.remove(arrived)
                done(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))

        timer = self._loop.call_later(self._patience, late)
        waiting.append(arrived)

    def _refill(self, sort: tuple[int, int]) -> None:
        wanted = len(self._waiting.get(sort, ())) + self._batch // 2
        if len(self._store.get(sort, ())) + self._ordered.get(sort, 0) < wanted:
            self._ordered[sort] = self._ordered.get(sort, 0) + self._batch
            self._order(*sort, self._batch)


def family_of(host: str) -> socket.AddressFamily:
    """Which family an address in text belongs to."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def connect(loop: Loop, made: socket.socket, address: tuple[str, int], patience: float, done: Dialled) -> None:
    """Connect a socket that does not block, and call ``done`` with it, or with what was wrong (it is closed then)."""
    try:
        socket.inet_pton(
            made.family, address[0].partition("%")[0]
        )  # never a name: to look it up would hold everybody up
        number = made.connect_ex(address)
    except (OSError, ValueError, OverflowError):
        made.close()
        done(OSError(errno.EINVAL, os.strerror(errno.EINVAL)))
        return
    if number == 0:
        done(made)
        return
    if number not in _UNDER_WAY:
        made.close()
        done(OSError(number, os.strerror(number)))
        return
    timer: Timer

    def settled() -> None:
        timer.cancel()
        loop.remove(made.fileno())
        number = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            made.close()
            done(OSError(number, os.strerror(number)))
        else:
            done(made)

    def late() -> None:
        loop.remove(made.fileno())
        made.close()
        done(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))

    timer = loop.call_later(patience, late)
    loop.add_writer(made.fileno(), settled)
