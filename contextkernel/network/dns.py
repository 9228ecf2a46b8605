"""The name server inside every container of a network that was made by the user (docker's embedded DNS).

It listens in the container's network namespace, at 127.0.0.11, with sockets that were made there; it works outside. It
knows the containers of the network and asks the host's servers for everything else. Docker's rules (moby,
daemon/libnetwork/resolver.go): answers live for 600 seconds and come in any order; a name that exists but has no
address of the family, or is asked for mail servers, gives an empty answer and is asked of nobody else; servers that
fail or refuse are passed over; when nobody answers, the client hears of a server failure.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from dnslib import QTYPE

from contextkernel.network import dns_packets
from contextkernel.network.accepting import Acceptor
from contextkernel.network.datagrams import ANCILLARY, ask_for_source, source_of
from contextkernel.network.dns_packets import BadQuery, Question, read_query
from contextkernel.network.loop import Loop, Timer
from contextkernel.network.names import Names, Server, View, reversed_address
from contextkernel.network.upstream import HostServers, Upstream

_LARGEST = 65535
_TURNS = 32  # datagrams before others have their turn
_WAITING = 256  # questions of one container that are asked of others at a time
_CLIENTS = 32  # connections of one container
_PIPELINED = 16  # questions of one connection that are being answered
_IDLE = 10.0  # seconds
_UNSENT = 1 << 18  # bytes that a client has not taken
_LENGTH = struct.Struct(">H")

Reply = Callable[[bytes], None]


class NameServer:
    """Answers for all containers of a store.

    Args:
        loop: that of this thread.
        names: of the containers.
        upstream: asks others.
        host: the host's own servers.
    """

    def __init__(self, loop: Loop, names: Names, upstream: Upstream, host: HostServers | None = None) -> None:
        self._loop = loop
        self._names = names
        self._upstream = upstream
        self._host = host or HostServers()

    @property
    def loop(self) -> Loop:
        """The loop."""
        return self._loop

    def serve(self, view: View, udp: socket.socket | None = None, tcp: socket.socket | None = None) -> Resolver:
        """Answer one container.

        Args:
            view: what it sees.
            udp: bound in its network namespace; it does not block, and belongs to the resolver from here on.
            tcp: the same, listening.
        """
        return Resolver(self, lambda _asker: view, udp, tcp)

    def serve_many(
        self,
        view_of: Callable[[str], View | None],
        udp: socket.socket | None = None,
        tcp: socket.socket | None = None,
    ) -> Resolver:
        """Answer several containers by one socket.

        Args:
            view_of: what the one with an address sees; ``None``: it is not answered.
            udp, tcp: see :meth:`serve`.
        """
        return Resolver(self, view_of, udp, tcp)

    def answer(self, question: Question, view: View, *, limit: int) -> bytes | None:
        """What is known of the containers, as a packet; ``None``: this is for others to answer.

        Args:
            question: what is asked.
            view: of the container that asks.
            limit: bytes that the answer may have.
        """
        if not question.internet:
            return None
        if question.kind == QTYPE.PTR:
            address = reversed_address(question.name)
            name = None if address is None else self._names.name_of(address, view)
            return None if name is None else dns_packets.pointer(question, name)
        found = self._names.find(question.name, view)
        if found is not None:
            if question.kind not in (QTYPE.A, QTYPE.AAAA):
                return dns_packets.failure(question, dns_packets.NO_ERROR)
            known = list(found.ipv4 if question.kind == QTYPE.A else found.ipv6)
            random.shuffle(known)
            return dns_packets.addresses(question, known, limit=limit)
        if view.dotted and question.kind in (QTYPE.A, QTYPE.AAAA) and "." not in question.name:
            return dns_packets.failure(question, dns_packets.NO_ERROR)
        return None

    def forward(self, query: bytes, question: Question, view: View, *, stream: bool, done: Reply) -> None:
        """Ask others; ``done`` gets what they say, or that nobody says anything."""

        def answered(data: bytes | None) -> None:
            done(dns_packets.failure(question, dns_packets.SERVER_FAILURE) if data is None else data)

        servers: Sequence[Server] = self._host() if view.servers is None else view.servers
        if not view.forwards:
            # a server that is itself on the network may be asked
            servers = [server for server in servers if server.inside]
        self._upstream.ask(query, question, servers, stream=stream, done=answered)


class Resolver:
    """The sockets by which one container (or several) asks; made by :class:`NameServer`.

    Args:
        server: gives the answers.
        view_of: what the container with an address sees.
        udp, tcp: the sockets.
    """

    def __init__(
        self,
        server: NameServer,
        view_of: Callable[[str], View | None],
        udp: socket.socket | None,
        tcp: socket.socket | None,
    ) -> None:
        self._server = server
        self._loop = server.loop
        self._view_of = view_of
        self._udp = udp
        self._tcp = tcp
        self._acceptor: Acceptor | None = None
        self._clients: dict[_Client, None] = {}
        self._waiting = 0
        self._open = True
        if udp is not None:
            udp.settimeout(0)
            ask_for_source(udp)
            self._loop.add_reader(udp.fileno(), self._receive)
        if tcp is not None:
            tcp.settimeout(0)
            self._acceptor = Acceptor(self._loop, tcp, self._begin)

    @property
    def clients(self) -> int:
        """Connections that are open."""
        return len(self._clients)

    def look(self, view: View) -> None:
        """From here on the container sees something else."""
        self._view_of = lambda _asker: view

    def close(self) -> None:
        """Close the sockets; questions under way are not answered. Idempotent."""
        self._open = False
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None
        for client in list(self._clients):
            client.close()
        for one in (self._udp, self._tcp):
            if one is not None:
                self._loop.remove(one.fileno())
                one.close()
        self._udp = self._tcp = None

    def take(self, data: bytes, asker: str, reply: Reply, *, stream: bool) -> bool:
        """Answer one packet, at once or later; ``False`` if there is nothing to say to it."""
        view = self._view_of(asker)
        if view is None:
            return False
        try:
            question = read_query(data)
        except BadQuery as bad:
            if bad.answer is not None:
                reply(bad.answer)
            return bad.answer is not None
        known = self._server.answer(question, view, limit=_LARGEST if stream else question.size)
        if known is not None:
            reply(known)
            return True
        if self._waiting >= _WAITING:
            reply(dns_packets.failure(question, dns_packets.REFUSED))
            return True
        self._waiting += 1

        def done(answer: bytes) -> None:
            self._waiting -= 1
            if self._open:
                reply(answer)

        self._server.forward(data, question, view, stream=stream, done=done)
        return True

    def forget(self, client: _Client) -> None:
        """A connection is closed."""
        self._clients.pop(client, None)

    def _receive(self) -> None:
        for _ in range(_TURNS):
            if self._udp is None:
                return
            try:
                data, notes, _, asker = self._udp.recvmsg(_LARGEST, ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                continue
            self.take(data, asker[0], self._replier(asker, source_of(notes)), stream=False)

    def _replier(self, asker: tuple[Any, ...], source: tuple[int, int, bytes] | None) -> Reply:
        def reply(answer: bytes) -> None:
            if self._udp is not None:
                with suppress(OSError):
                    self._udp.sendmsg([answer], [source] if source else [], 0, asker)

        return reply

    def _begin(self, connection: socket.socket, asker: tuple[Any, ...]) -> None:
        if len(self._clients) >= _CLIENTS:
            next(iter(self._clients)).close()
        self._clients[_Client(self, self._loop, connection, asker[0])] = None


class _Client:
    """A connection over which questions come, one after the other."""

    def __init__(self, resolver: Resolver, loop: Loop, connection: socket.socket, asker: str) -> None:
        self._resolver = resolver
        self._loop = loop
        self._connection = connection
        self._asker = asker
        self._got = b""
        self._rest = b""
        self._pending = 0
        self._open = True
        self._over = False
        self._timer: Timer = loop.call_later(_IDLE, self._look)
        self._heard = False
        loop.add_reader(connection.fileno(), self._receive)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._timer.cancel()
            self._loop.remove(self._connection.fileno())
            self._connection.close()
            self._resolver.forget(self)

    def _look(self) -> None:
        if not self._heard and not self._pending:
            self.close()
            return
        self._heard = False
        self._timer = self._loop.call_later(_IDLE, self._look)

    def _receive(self) -> None:
        try:
            data = self._connection.recv(_LARGEST)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._heard = True
        self._over = not data
        self._got += data
        self._serve()

    def _serve(self) -> None:
        """Take up the questions that have arrived, as many as may be pending."""
        while self._open and self._pending < _PIPELINED and len(self._got) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._got)
            if len(self._got) < _LENGTH.size + length:
                break
            packet = self._got[_LENGTH.size : _LENGTH.size + length]
            self._got = self._got[_LENGTH.size + length :]
            self._pending += 1
            if not self._resolver.take(packet, self._asker, self._reply, stream=True):
                self.close()  # whatever it speaks, it is not this protocol
        if not self._open:
            return
        if self._pending >= _PIPELINED or self._over:
            self._loop.remove_reader(self._connection.fileno())
        else:
            self._loop.add_reader(self._connection.fileno(), self._receive)
        if self._over and not self._pending and not self._rest:
            self.close()

    def _reply(self, answer: bytes) -> None:
        self._pending -= 1
        if not self._open:
            return
        self._rest += _LENGTH.pack(len(answer)) + answer
        if len(self._rest) > _UNSENT:
            self.close()
            return
        self._write()
        self._loop.call_soon(self._again)

    def _again(self) -> None:
        if self._open:
            self._serve()

    def _write(self) -> None:
        try:
            self._rest = self._rest[self._connection.send(self._rest, socket.MSG_NOSIGNAL) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._rest:
            self._loop.add_writer(self._connection.fileno(), self._write_on)
        else:
            self._loop.remove_writer(self._connection.fileno())

    def _write_on(self) -> None:
        self._write()
        self._again()
