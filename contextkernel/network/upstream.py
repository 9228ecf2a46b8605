"""Asking other name servers, for what is no container's name."""

from __future__ import annotations

import os
import secrets
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress

from contextkernel.network import dns_packets
from contextkernel.network.dial import Dialer
from contextkernel.network.dns_packets import Question
from contextkernel.network.loop import Loop, Timer
from contextkernel.network.names import Server, servers_in

_PATIENCE = 4.0  # seconds for a server, as docker has it
_MOST = 1024  # questions under way
_MOST_SERVERS = 3
_LARGEST = 65535
_LENGTH = struct.Struct(">H")

Answered = Callable[["bytes | None"], None]


class HostServers:
    """The name servers of the host, read again when the file changes.

    Args:
        path: of the host's resolv.conf(5).
    """

    def __init__(self, path: str = "/etc/resolv.conf") -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._servers: tuple[Server, ...] = ()

    def __call__(self) -> tuple[Server, ...]:
        """What the file says now; the local machine if it says nothing (resolv.conf(5))."""
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                with open(self._path, encoding="utf-8", errors="replace") as file:
                    self._servers = tuple(Server(address) for address in servers_in(file.read(1 << 20)))
                self._seen = seen
        except OSError:
            self._seen, self._servers = None, ()
        return self._servers or (Server("127.0.0.1"),)


class Upstream:
    """Passes questions on, and answers back.

    Args:
        loop: that of this thread.
        outside: connects from the host.
        inside: connects where containers are; ``None`` where there is no such place.
        patience: seconds for each server.
        most: questions under way; more are refused.
    """

    def __init__(
        self,
        loop: Loop,
        outside: Dialer,
        inside: Dialer | None = None,
        *,
        patience: float = _PATIENCE,
        most: int = _MOST,
    ) -> None:
        self._loop = loop
        self._outside = outside
        self._inside = inside
        self._patience = patience
        self._most = most
        self._under_way: set[_Asking] = set()

    @property
    def under_way(self) -> int:
        """How many questions wait for an answer."""
        return len(self._under_way)

    def ask(self, query: bytes, question: Question, servers: Sequence[Server], *, stream: bool, done: Answered) -> None:
        """Ask servers one after the other until one answers.

        Args:
            query: the packet as it came.
            question: what it asks.
            servers: to ask; three at most.
            stream: over TCP.
            done: gets the answer under the number of the query; ``None``: nobody gave one.
        """
        if len(self._under_way) >= self._most:
            done(dns_packets.failure(question, dns_packets.REFUSED))
            return
        asking = _Asking(self, query, question, list(servers[:_MOST_SERVERS]), stream=stream, done=done)
        self._under_way.add(asking)
        asking.next()

    def close(self) -> None:
        """Give up all that is under way; nobody is told. Idempotent."""
        for asking in list(self._under_way):
            asking.drop()

    # -- for what is under way

    def dial(self, server: Server, *, stream: bool, done: Callable[[socket.socket | OSError], None]) -> None:
        """A connection to a server."""
        dialer = self._inside if server.inside else self._outside
        if dialer is None:
            done(OSError("no such place"))
            return
        dialer.dial(socket.SOCK_STREAM if stream else socket.SOCK_DGRAM, server.address, server.port, done)

    def forget(self, asking: _Asking) -> None:
        """It is over."""
        self._under_way.discard(asking)

    @property
    def loop(self) -> Loop:
        """The loop."""
        return self._loop

    @property
    def patience(self) -> float:
        """Seconds for a server."""
        return self._patience


class _Asking:
    """One question on its way from server to server."""

    def __init__(
        self,
        upstream: Upstream,
        query: bytes,
        question: Question,
        servers: list[Server],
        *,
        stream: bool,
        done: Answered,
    ) -> None:
        self._upstream = upstream
        self._loop = upstream.loop
        self._query = query
        self._question = question
        self._servers = servers
        self._stream = stream
        self._done: Answered | None = done
        self._socket: socket.socket | None = None
        self._timer: Timer | None = None
        self._number = 0
        self._try = 0
        self._got = b""
        self._rest = b""

    def next(self) -> None:
        """Ask the next server."""
        self._leave()
        if self._done is None:
            return
        if not self._servers:
            self._end(None)
            return
        self._try += 1
        self._timer = self._loop.call_later(self._upstream.patience, self.next)
        # a number nobody can guess, from a port nobody can guess: so that nobody else can answer
        self._number = secrets.randbits(16)
        attempt = self._try

        def dialled(made: socket.socket | OSError) -> None:
            if attempt != self._try or self._done is None:  # it took too long
                if not isinstance(made, OSError):
                    made.close()
            elif isinstance(made, OSError):
                self.next()
            else:
                self._send(made)

        self._upstream.dial(self._servers.pop(0), stream=self._stream, done=dialled)

    def drop(self) -> None:
        """Stop, and tell nobody."""
        self._done = None
        self._leave()
        self._upstream.forget(self)

    def _send(self, made: socket.socket) -> None:
        self._socket = made
        packet = dns_packets.with_number(self._query, self._number)
        self._rest = _LENGTH.pack(len(packet)) + packet if self._stream else packet
        self._got = b""
        self._loop.add_reader(made.fileno(), self._receive)
        self._write()

    def _write(self) -> None:
        if self._socket is None:
            return
        try:
            self._rest = self._rest[self._socket.send(self._rest, socket.MSG_NOSIGNAL) :]
        except BlockingIOError:
            pass
        except OSError:
            self.next()
            return
        if self._rest:
            self._loop.add_writer(self._socket.fileno(), self._write)
        else:
            self._loop.remove_writer(self._socket.fileno())

    def _receive(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:
            self.next()
            return
        if not self._stream:
            self._judge(data)
            return
        self._got += data
        if len(self._got) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._got)
            if len(self._got) >= _LENGTH.size + length:
                self._judge(self._got[_LENGTH.size : _LENGTH.size + length])
                return
        if not data:
            self.next()

    def _judge(self, data: bytes) -> None:
        if not dns_packets.is_answer(data, self._number, self._question):
            if self._stream:
                self.next()
            return  # somebody else's datagram: go on waiting
        if dns_packets.code_of(data) in (dns_packets.SERVER_FAILURE, dns_packets.REFUSED):
            self.next()
            return
        self._end(dns_packets.with_number(data, self._question.id))

    def _end(self, answer: bytes | None) -> None:
        done, self._done = self._done, None
        self._leave()
        self._upstream.forget(self)
        if done is not None:
            done(answer)

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            self._loop.remove(self._socket.fileno())
            with suppress(OSError):
                self._socket.close()
            self._socket = None
