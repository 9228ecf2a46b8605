"""What is said to ck-network and inside of it: closed unions, one MessagePack message a packet.

The sockets are unix sockets that keep packets apart (``SOCK_SEQPACKET``); descriptors ride on the packet that speaks of
them. *Service* is the process in the host's network namespace that clients speak to, *inner* is the one beside it that
changes links, routes and filters.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from contextkernel.errors import Conflict, ContextKernelError, InvalidInput, LaunchFailed, ProtocolViolation
from contextkernel.linux.passing import receive_with, send_with
from contextkernel.model.networking import PortBinding
from contextkernel.model.networks import NetworkRecord, NetworkState, Wish
from contextkernel.model.union import UnionDecoder, decoder_of
from contextkernel.network.plan import Operation

_MAX_PACKET = 1 << 20
_MAX_DESCRIPTORS = 32


class Attach(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Monitor to service: connect the network namespace of the descriptor that comes with this. Answer: Attached.

    It stays connected as long as this connection is open.

    Attributes:
        container: id.
        name: of the container.
        wishes: at least one.
        ports: to be published.
        servers: name servers for what is not a container's name; empty: the host's.
        dotted: names without a dot are left to its search list.
        before: what it had before the service was lost: it gets the same again, and what is still there is kept.
    """

    container: str
    name: str
    wishes: tuple[Wish, ...]
    ports: tuple[PortBinding, ...] = ()
    servers: tuple[str, ...] = ()
    dotted: bool = False
    before: NetworkState | None = None


class Prepare(msgspec.Struct, frozen=True, tag=True):
    """Monitor to service, before it leaves the host's network: bring networks up. Answer: Done."""

    networks: tuple[NetworkRecord, ...]


class Detach(msgspec.Struct, frozen=True, tag=True):
    """Monitor to service: the container has ended. Answer: Done, once its addresses, names and ports are free."""


class Join(msgspec.Struct, frozen=True, tag=True):
    """Engine to service: connect a running container to one more network. Answer: Done; its monitor gets Changed."""

    container: str
    wish: Wish


class Part(msgspec.Struct, frozen=True, tag=True):
    """Engine to service: take a running container off a network. Answer: Done; its monitor gets Changed."""

    container: str
    network_id: str


class Drop(msgspec.Struct, frozen=True, tag=True):
    """Engine to service: a network is going to be removed; take its bridge down. Answer: Done, or Refused if in use."""

    network_id: str


class Attached(msgspec.Struct, frozen=True, tag=True):
    """Service to monitor: what the container got.

    Attributes:
        resolver: names are resolved at 127.0.0.11 in the container.
    """

    state: NetworkState
    resolver: bool


class Changed(msgspec.Struct, frozen=True, tag=True):
    """Service to monitor, unasked: what the container has now, and what it is to be attached to from now on."""

    state: NetworkState
    resolver: bool
    wishes: tuple[Wish, ...] = ()


class Done(msgspec.Struct, frozen=True, tag=True):
    """Service to client: it is so."""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """Service to client: it cannot be."""

    problem: str
    hint: str | None = None
    kind: str = "launch"
    number: int = 0

    def error(self) -> ContextKernelError:
        """The same as an error to raise."""
        classes: dict[str, type[ContextKernelError]] = {"conflict": Conflict, "input": InvalidInput}
        return classes.get(self.kind, LaunchFailed)(self.problem, hint=self.hint)


class Adopt(msgspec.Struct, frozen=True, tag=True):
    """Service to inner: the descriptor that comes with this is the network namespace ``place``. No answer."""

    place: str


class Abandon(msgspec.Struct, frozen=True, tag=True):
    """Service to inner: forget ``place``. No answer."""

    place: str


class Apply(msgspec.Struct, frozen=True, tag=True):
    """Service to inner: apply operations, all or none. Answer: Applied or Failed, with the same number.

    Attributes:
        unless: do nothing, and answer Applied, if there is a link of this name already.
    """

    number: int
    operations: tuple[Operation, ...]
    unless: str = ""


class MakeSockets(msgspec.Struct, frozen=True, tag=True):
    """Service to inner: make sockets in a place. Answer: Made with the descriptors, or Failed.

    Attributes:
        place: network namespace; empty for inner's own.
        bind: address and port; ``None`` leaves them unbound.
        listen: let them listen.
    """

    number: int
    place: str
    family: int
    kind: int
    count: int = 1
    bind: tuple[str, int] | None = None
    listen: bool = False


class Restore(msgspec.Struct, frozen=True, tag=True):
    """Service to inner: the last network has gone; set the host's settings back. No answer."""


class Applied(msgspec.Struct, frozen=True, tag=True):
    """Inner to service: done."""

    number: int


class Made(msgspec.Struct, frozen=True, tag=True):
    """Inner to service: the sockets come with this."""

    number: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Inner to service: it could not be done, and nothing has changed."""

    number: int
    problem: str
    errno: int = 0
    hint: str | None = None


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Inner to service: it has loaded what it needs. ``problem`` says why it cannot work."""

    problem: str = ""
    hint: str | None = None


ToService = Prepare | Attach | Detach | Join | Part | Drop
FromService = Attached | Changed | Done | Refused
ToInner = Adopt | Abandon | Apply | MakeSockets | Restore
FromInner = Applied | Made | Failed | Ready

T = TypeVar("T")
_ENCODER = msgspec.msgpack.Encoder()


def rehearse(*unions: Any) -> None:
    """Make the decoders of unions now, which takes a moment."""
    for union in unions:
        decoder_of(union)


class Link(Generic[T]):
    """One end of a connection: sends any message, receives those of one union.

    Args:
        connection: a socket that keeps packets apart.
        union: the messages that may come.
        receiver, sender: names of the two processes, for errors.
    """

    def __init__(self, connection: socket.socket, union: Any, receiver: str, sender: str) -> None:
        self._connection = connection
        self._decoder: UnionDecoder[T] = UnionDecoder(union, receiver, sender)

    def fileno(self) -> int:
        """Its descriptor, -1 once it is closed."""
        return self._connection.fileno()

    def send(self, message: msgspec.Struct, descriptors: Sequence[int] = ()) -> None:
        """Send one message; descriptors are duplicated into the receiver.

        Raises:
            OSError: the connection is broken, or (not blocking) full.
        """
        send_with(self._connection, _ENCODER.encode(message), descriptors)

    def receive(self) -> tuple[T | None, list[int]]:
        """The next message and its descriptors, which are the caller's; ``None`` when the other side has gone.

        Raises:
            ProtocolViolation: it is none of the union; its descriptors are closed.
            BlockingIOError: there is none yet. OSError: the connection is broken.
        """
        data, descriptors = receive_with(self._connection, _MAX_PACKET, _MAX_DESCRIPTORS)
        if not data:
            return None, descriptors
        try:
            return self._decoder.decode(data), descriptors
        except ProtocolViolation:
            for descriptor in descriptors:
                os.close(descriptor)
            raise

    def close(self) -> None:
        """End the connection. Idempotent."""
        self._connection.close()
