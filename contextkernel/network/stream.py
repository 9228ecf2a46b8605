"""Bytes between two connected sockets, both ways, until both have said all they had to say."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

from contextkernel.network.loop import Loop

_CHUNK = 1 << 16
_TURNS = 8  # chunks in one direction before others have their turn
_BULK = 1 << 20  # bytes in one direction after which it is worth a pipe
_PIPE_SIZE = 1 << 19
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 300), (socket.TCP_KEEPINTVL, 30), (socket.TCP_KEEPCNT, 4))


class Stream:
    """Relays two TCP sockets to each other.

    The end of one side is passed on as such while the other direction goes on; a reset is passed on as a reset. A side
    that does not take its bytes is not read for: nothing piles up here but one chunk (or one pipe) a direction.

    Args:
        loop: that of this thread.
        left, right: connected sockets that do not block; they belong to this object from here on.
        closed: called once, when both are closed.
    """

    def __init__(
        self, loop: Loop, left: socket.socket, right: socket.socket, closed: Callable[[Stream], None] | None = None
    ) -> None:
        self._loop = loop
        self._sockets = (left, right)
        self._closed = closed
        self._open = True
        for one in self._sockets:
            with suppress(OSError):
                prepare(one)
        self._ways = (_Way(self, left, right), _Way(self, right, left))
        for way in self._ways:
            way.start()

    @property
    def loop(self) -> Loop:
        """The loop it runs in."""
        return self._loop

    @property
    def carried(self) -> tuple[int, int]:
        """Bytes from left to right, and from right to left."""
        return self._ways[0].carried, self._ways[1].carried

    def ended(self) -> None:
        """One direction has come to its end."""
        if all(way.done for way in self._ways):
            self.close()

    def close(self, *, reset: bool = False) -> None:
        """Close both sockets. Idempotent.

        Args:
            reset: so that both sides see an error, not an end.
        """
        if not self._open:
            return
        self._open = False
        for way in self._ways:
            way.close()
        for one in self._sockets:
            self._loop.remove(one.fileno())
            if reset:
                abort(one)
            one.close()
        if self._closed is not None:
            self._closed(self)


class _Way:
    """One direction. What has been read and not written is in ``_rest``, or, once it is worth it, in a pipe."""

    def __init__(self, stream: Stream, source: socket.socket, sink: socket.socket) -> None:
        self._stream = stream
        self._loop = stream.loop
        self._source, self._sink = source, sink
        self._rest = b""
        self._pipe: tuple[int, int] | None = None
        self._piped = 0  # bytes in the pipe
        self._plain = False  # a pipe was refused
        self._over = False  # the source has said its last
        self.done = False
        self.carried = 0

    def start(self) -> None:
        self._loop.add_reader(self._source.fileno(), self._turn)

    def close(self) -> None:
        self.done = True
        if self._pipe is not None:
            for end in self._pipe:
                os.close(end)
            self._pipe = None

    def _turn(self) -> None:
        """Carry on as far as it goes without waiting."""
        try:
            for _ in range(_TURNS):
                if not self._write():
                    self._await_sink()
                    return
                if self._over:
                    self._finish()
                    return
                if not self._read():
                    self._await_source()
                    return
            if self._rest or self._piped:
                self._await_sink()
            else:
                self._await_source()
        except OSError as problem:
            # the other side is to see that something went wrong; a sink that takes no more ends this direction as well
            self._stream.close(reset=problem.errno in {errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT})

    def _await_sink(self) -> None:
        self._loop.remove_reader(self._source.fileno())
        self._loop.add_writer(self._sink.fileno(), self._turn)

    def _await_source(self) -> None:
        self._loop.remove_writer(self._sink.fileno())
        self._loop.add_reader(self._source.fileno(), self._turn)

    def _read(self) -> bool:
        """Take what there is; ``False`` if there is nothing yet."""
        if self.carried > _BULK and self._pipe is None and not self._plain:
            self._open_pipe()
        try:
            if self._pipe is not None:
                count = os.splice(self._source.fileno(), self._pipe[1], _PIPE_SIZE, flags=_SPLICE)
                self._piped += count
            else:
                self._rest = self._source.recv(_CHUNK)
                count = len(self._rest)
        except BlockingIOError:
            return False
        self._over = count == 0
        self.carried += count
        return True

    def _write(self) -> bool:
        """Hand on what was taken; ``False`` if not all of it is wanted yet."""
        try:
            while self._rest:
                self._rest = self._rest[self._sink.send(self._rest, socket.MSG_NOSIGNAL) :]
            while self._piped and self._pipe is not None:
                self._piped -= os.splice(self._pipe[0], self._sink.fileno(), self._piped, flags=_SPLICE)
        except BlockingIOError:
            return False
        return True

    def _finish(self) -> None:
        self._loop.remove_reader(self._source.fileno())
        self._loop.remove_writer(self._sink.fileno())
        with suppress(OSError):
            self._sink.shutdown(socket.SHUT_WR)
        self.done = True
        self._stream.ended()

    def _open_pipe(self) -> None:
        try:
            self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self._plain = True
            return
        with suppress(OSError):  # a user's pipes are limited in all: then it is a small one
            fcntl.fcntl(self._pipe[1], fcntl.F_SETPIPE_SZ, _PIPE_SIZE)


_SPLICE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


def prepare(one: socket.socket) -> None:
    """Small messages at once, and dead peers noticed.

    Raises:
        OSError: not a TCP socket.
    """
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        one.setsockopt(socket.IPPROTO_TCP, option, value)


def abort(one: socket.socket) -> None:
    """Have the close of a socket be a reset: the other side sees an error, not an end."""
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
