"""Datagrams that come for a port are relayed by a flow per sender, and what comes back to that sender."""

from __future__ import annotations

import socket
import struct
from collections import OrderedDict, deque
from contextlib import suppress
from typing import Any

from contextkernel.network.dial import Dialer
from contextkernel.network.loop import Loop, Timer

_IDLE = 90.0  # seconds; docker-proxy's
_FLOWS = 1024  # senders at a time; the longest silent is forgotten
_LARGEST = 1 << 16
_TURNS = 64  # datagrams before others have their turn
_HELD = 16  # datagrams of a sender that wait for the flow to be made
_IP_PKTINFO = 8
_IPV6_RECVPKTINFO, _IPV6_PKTINFO = 49, 50
ANCILLARY = 64  # bytes that hold what ask_for_source() asks for


class DatagramRelay:
    """A bound UDP socket, and the flows of those who sent to it.

    Args:
        loop: that of this thread.
        one: the socket; it does not block, and stays its owner's.
        idle: seconds of silence after which a flow ends.
        most: flows at a time.
    """

    def __init__(self, loop: Loop, one: socket.socket, *, idle: float = _IDLE, most: int = _FLOWS) -> None:
        self._loop = loop
        self._socket = one
        self._idle = idle
        self._most = most
        self._dialer: Dialer | None = None
        self._address: tuple[str, int] | None = None
        self._flows: OrderedDict[tuple[Any, ...], _Flow] = OrderedDict()
        ask_for_source(one)
        loop.add_reader(one.fileno(), self._receive)

    @property
    def flows(self) -> int:
        """How many there are just now."""
        return len(self._flows)

    def lead(self, dialer: Dialer | None, address: tuple[str, int] | None) -> None:
        """Where new flows are to go; ``None``: nowhere, datagrams are dropped. Flows that there are end."""
        self._dialer = dialer
        self._address = address
        for flow in list(self._flows.values()):
            flow.close()

    def close(self) -> None:
        """End all flows; the socket stays open. Idempotent."""
        self._loop.remove(self._socket.fileno())
        for flow in list(self._flows.values()):
            flow.close()

    def _receive(self) -> None:
        for _ in range(_TURNS):
            try:
                data, notes, _, sender = self._socket.recvmsg(_LARGEST, ANCILLARY)
            except BlockingIOError:
                return
            except OSError:
                continue  # what a sender did not get (ICMP): not ours to pass on
            flow = self._flow(sender, source_of(notes))
            if flow is not None:
                flow.send(data)

    def _flow(self, sender: tuple[Any, ...], source: tuple[int, int, bytes] | None) -> _Flow | None:
        known = self._flows.get(sender)
        if known is not None:
            self._flows.move_to_end(sender)
            return known
        if self._dialer is None or self._address is None:
            return None
        if len(self._flows) >= self._most:
            next(iter(self._flows.values())).close()

        def answer(data: bytes) -> None:
            with suppress(OSError):  # the sender's buffer is full, or it is gone: datagrams may be lost
                self._socket.sendmsg([data], [source] if source else [], 0, sender)

        flow = _Flow(self._loop, self._idle, answer, lambda: self._flows.pop(sender, None))
        self._flows[sender] = flow
        self._dialer.dial(socket.SOCK_DGRAM, *self._address, flow.dialled)
        return flow


class _Flow:
    """What goes on between one sender and the container."""

    def __init__(self, loop: Loop, idle: float, answer: Any, closed: Any) -> None:
        self._loop = loop
        self._idle = idle
        self._answer = answer
        self._closed = closed
        self._socket: socket.socket | None = None
        self._held: deque[bytes] = deque(maxlen=_HELD)
        self._open = True
        self._heard = True
        self._timer: Timer = loop.call_later(idle, self._look)

    def dialled(self, made: socket.socket | OSError) -> None:
        if isinstance(made, OSError):
            self.close()
            return
        if not self._open:
            made.close()
            return
        self._socket = made
        self._loop.add_reader(made.fileno(), self._receive)
        while self._held:
            self.send(self._held.popleft())

    def send(self, data: bytes) -> None:
        self._heard = True
        if self._socket is None:
            self._held.append(data)
            return
        with suppress(OSError):  # nobody listens inside, or not fast enough
            self._socket.send(data)

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        self._timer.cancel()
        if self._socket is not None:
            self._loop.remove(self._socket.fileno())
            self._socket.close()
        self._closed()

    def _receive(self) -> None:
        for _ in range(_TURNS):
            if self._socket is None or not self._open:
                return
            try:
                data = self._socket.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError:
                continue  # refused by the container; the next datagram may be welcome
            self._heard = True
            self._answer(data)

    def _look(self) -> None:
        """Ends the flow if nothing has come for a while; one timer, not one for each datagram."""
        if not self._heard:
            self.close()
            return
        self._heard = False
        self._timer = self._loop.call_later(self._idle, self._look)


def ask_for_source(one: socket.socket) -> None:
    """Have a socket tell at which address a datagram arrived: the answer must come from there; a host has several."""
    with suppress(OSError):
        if one.family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        else:
            one.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def source_of(notes: list[tuple[int, int, bytes]]) -> tuple[int, int, bytes] | None:
    """The ancillary message that has an answer sent from where the question was sent to."""
    for level, kind, data in notes:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            _, local, _ = struct.unpack_from("i4s4s", data)
            return socket.IPPROTO_IP, _IP_PKTINFO, struct.pack("i4s4s", 0, local, b"\0" * 4)
        if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO):
            address = data[:16]
            # a link-local address means something on one interface only
            interface = struct.unpack_from("I", data, 16)[0] if address[:2] == b"\xfe\x80" else 0
            return socket.IPPROTO_IPV6, _IPV6_PKTINFO, address + struct.pack("I", interface)
    return None
