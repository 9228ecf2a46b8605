"""What our processes say to each other: closed unions of values, framed on unix sockets.

A frame is four bytes of length, big-endian, and that much MessagePack; descriptors ride on the first bytes.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Literal, NoReturn, TypeVar

import msgspec

from contextkernel.errors import CommandNotExecutable, CommandNotFound, LaunchFailed, ProtocolViolation
from contextkernel.linux.passing import receive_with, send_with
from contextkernel.model.container import ExecRequest, LaunchRequest, Usage
from contextkernel.model.ids import IdMap
from contextkernel.model.life import RestartPolicy
from contextkernel.model.resources import Resources
from contextkernel.model.union import UnionDecoder
from contextkernel.runtime.facts import HostFacts

_LENGTH = struct.Struct(">I")
_MAX_FRAME = 16 << 20
_MAX_DESCRIPTORS = 8


class Hello(msgspec.Struct, frozen=True, tag=True):
    """Client to launcher, first and once: the ids containers have, and where others with the same ids are found.

    ``registry`` is a directory (see ``linux.userns_shared``); ``None``: a user namespace of its own.
    """

    idmap: IdMap
    registry: str | None = None


class Launch(msgspec.Struct, frozen=True, tag=True):
    """Client to launcher: start a container.

    Descriptors: the monitor's end of a socket to the client, then those streams that are ``True``, in this order.
    """

    request: LaunchRequest
    facts: HostFacts
    stdin: bool
    stdout: bool
    stderr: bool
    detach_keys: bytes = b""


class Welcome(msgspec.Struct, frozen=True, tag=True):
    """Launcher to client: ready; ``pid`` is the launcher's."""

    pid: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """Launcher to client: the id map cannot be had."""

    problem: str
    hint: str | None


class Signal(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Client to monitor: send this signal to the container's init, or to the program of :class:`Exec`. No answer.

    Attributes:
        ends: its sender means the end of the container: a restart policy does not start it again, and a paused one is
            resumed.
    """

    number: int
    ends: bool = False


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Client to monitor: end the container, for good. The answer is :class:`Exited`.

    Attributes:
        number: signal to send to its init first.
        timeout: seconds until SIGKILL; negative: never.
    """

    number: int
    timeout: int


class Update(msgspec.Struct, frozen=True, tag=True):
    """Client to monitor: change what can be changed while the container runs. Answer: :class:`Done`, :class:`Refusal`.

    Attributes:
        restart: the restart policy from now on; ``None``: as it is.
        resources: all limits, as they are to be; ``None``: as they are.
    """

    restart: RestartPolicy | None = None
    resources: Resources | None = None


class Pause(msgspec.Struct, frozen=True, tag=True):
    """Client to monitor: pause all processes. Answer: :class:`Done` or :class:`Refusal`."""


class Unpause(msgspec.Struct, frozen=True, tag=True):
    """Client to monitor: let all processes go on. Answer: :class:`Done` or :class:`Refusal`."""


class Attach(msgspec.Struct, frozen=True, tag=True):
    """Client to monitor: connect these streams to the container. Answer: :class:`Done` or :class:`Refusal`.

    Descriptors: those streams that are ``True``, in this order. Output is given from now on. An input's end is the end
    of the container's input only if the container was started by somebody who was attached to it.

    Attributes:
        detach_keys: what to type in order to leave; empty: nothing.
    """

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    detach_keys: bytes = b""


class Exec(msgspec.Struct, frozen=True, tag=True):
    """Client to monitor: start a further program in the container; this connection is about it from now on.

    Descriptors: those streams that are ``True``, in this order. Answers: :class:`Started` or :class:`Failed` or
    :class:`Refusal`, and after :class:`Started` an :class:`Exited`. The program goes on when the client goes.
    """

    request: ExecRequest
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    detach_keys: bytes = b""


class Resize(msgspec.Struct, frozen=True, tag=True):
    """Client to monitor: the terminal has this size now: the one of :class:`Exec`, else the container's. No answer."""

    rows: int
    columns: int


class Processes(msgspec.Struct, frozen=True, tag=True):
    """Client to monitor: which processes are in the container? Answer: :class:`ProcessList`."""


class Done(msgspec.Struct, frozen=True, tag=True):
    """Monitor to client: it is as you asked."""


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """Monitor to client: what you asked for is not possible; the container is as it was."""

    problem: str
    hint: str | None = None


class ProcessList(msgspec.Struct, frozen=True, tag=True):
    """Monitor to client: process ids as the host sees them, parents before children."""

    pids: tuple[int, ...]


class Detached(msgspec.Struct, frozen=True, tag=True):
    """Monitor to client: the detach keys were typed; your streams are closed, the container goes on."""


class Taken(msgspec.Struct, frozen=True, tag=True):
    """Monitor to client: the request has arrived; from here on it must not be sent again."""


class Started(msgspec.Struct, frozen=True, tag=True):
    """Monitor to client: the program has been executed, or is running already; ``pid`` is of the container's init.

    It is 0 while a container waits for its next start.
    """

    pid: int


class Exited(msgspec.Struct, frozen=True, tag=True):
    """Monitor to client: it is over, all output is written, the state is recorded; what it used, if that is known."""

    exit_code: int
    usage: Usage | None = None


FailureKind = Literal["setup", "not_executable", "not_found"]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Child to monitor to client: why there is no container.

    Attributes:
        kind: which of docker's exit codes it is.
        operation: name of the set-up step that failed.
        number: errno, 0 if it was not a system call.
    """

    kind: FailureKind
    problem: str
    hint: str | None = None
    operation: str = ""
    number: int = 0

    def error(self) -> LaunchFailed:
        """The same as an error to raise."""
        classes = {"setup": LaunchFailed, "not_executable": CommandNotExecutable, "not_found": CommandNotFound}
        return classes[self.kind](self.problem, hint=self.hint)


class Stub(msgspec.Struct, frozen=True):
    """A mount point that had to be made in the container; ``path`` counts from its root, links resolved."""

    path: str
    directory: bool


class StubParent(msgspec.Struct, frozen=True):
    """The directory in which stubs were made, as it was.

    Attributes:
        before, after: its modification time in nanoseconds before the first and after the last stub.
        ours: it was not in the upper directory before, so a copy that holds nothing else is ours too.
    """

    path: str
    mode: int
    uid: int
    gid: int
    before: int
    after: int
    ours: bool


class Opened(msgspec.Struct, frozen=True, tag=True):
    """Child to monitor: the program has a terminal; its other end comes with this message."""


class Forked(msgspec.Struct, frozen=True, tag=True):
    """Helper to monitor: the process of an ``exec`` is there; ``pid`` as the host sees it."""

    pid: int


class SetUp(msgspec.Struct, frozen=True, tag=True):
    """Child to monitor: all mounts are made; these mount points were created for them, outermost first."""

    stubs: tuple[Stub, ...]
    parents: tuple[StubParent, ...]


class Rooted(msgspec.Struct, frozen=True, tag=True):
    """Child to monitor, with one descriptor: the root that it is going to have, which its mount namespace has not."""


class Generated(msgspec.Struct, frozen=True, tag=True):
    """Child to monitor, with one descriptor: a generated file of this path, for writing."""

    path: str


class Answering(msgspec.Struct, frozen=True, tag=True):
    """Child to monitor: who answers changes of owner from now on.

    Attributes:
        problem: why they cannot be noted, and a filter answers them. Empty: two descriptors come along, the listener
            that hears of them, and the container's root directory.
        noted: what is said is to be noted. Not so for a program that was to have another user: it takes itself
            for root, and would not say, or be allowed, otherwise what it says.
    """

    problem: str = ""
    noted: bool = True


ToLauncher = Hello | Launch
FromLauncher = Welcome | Refused
ToMonitor = Signal | Stop | Pause | Unpause | Attach | Exec | Resize | Update | Processes
FromMonitor = Taken | Started | Failed | Exited | Detached | Done | Refusal | ProcessList
FromChild = SetUp | Opened | Rooted | Generated | Answering | Forked | Failed

T = TypeVar("T")
_ENCODER = msgspec.msgpack.Encoder()


def encode(message: msgspec.Struct) -> bytes:
    """One message as a frame."""
    data = _ENCODER.encode(message)
    return _LENGTH.pack(len(data)) + data


class Decoder(Generic[T]):
    """Turns frames into the messages of one union.

    Args:
        union: the messages that may come.
        receiver, sender: names of the two processes, for the error.
    """

    def __init__(self, union: Any, receiver: str, sender: str) -> None:
        self._decoder: UnionDecoder[T] = UnionDecoder(union, receiver, sender)
        self._receiver = receiver
        self._sender = sender
        self._pending = bytearray()

    def decode(self, data: bytes) -> T:
        """The message in ``data`` (a frame without its length).

        Raises:
            ProtocolViolation: it is none of the expected.
        """
        return self._decoder.decode(data)

    def feed(self, data: bytes) -> Iterator[T]:
        """Take bytes as they come, yield the messages that are complete.

        Raises:
            ProtocolViolation: a frame is too long, or not a message of the union.
        """
        self._pending += data
        while len(self._pending) >= _LENGTH.size:
            length = self._length(bytes(self._pending[: _LENGTH.size]))
            if len(self._pending) < _LENGTH.size + length:
                return
            body = bytes(self._pending[_LENGTH.size : _LENGTH.size + length])
            del self._pending[: _LENGTH.size + length]
            yield self.decode(body)

    def receive(self, link: socket.socket) -> tuple[T | None, list[int]]:
        """Wait for one message and its descriptors; ``None`` when the other side has gone.

        Raises:
            ProtocolViolation: as :meth:`decode`, or the stream ends inside a frame.
            OSError: the connection is broken.
        """
        head, descriptors = receive_with(link, _LENGTH.size, _MAX_DESCRIPTORS)
        if not head:
            return None, descriptors
        head += self._exactly(link, _LENGTH.size - len(head))
        body = self._exactly(link, self._length(head))
        return self.decode(body), descriptors

    def _length(self, head: bytes) -> int:
        length: int = _LENGTH.unpack(head)[0]
        if length > _MAX_FRAME:
            raise ProtocolViolation(f"the {self._sender} announced {length} bytes to the {self._receiver}")
        return length

    def _exactly(self, link: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = link.recv(count - len(data))
            if not piece:
                raise ProtocolViolation(f"the {self._sender} stopped inside a message to the {self._receiver}")
            data += piece
        return data


def send(link: socket.socket, message: msgspec.Struct, descriptors: Sequence[int] = ()) -> None:
    """Send one message; descriptors are duplicated into the receiver.

    Raises:
        OSError: the connection is broken.
    """
    frame = encode(message)
    sent = send_with(link, frame, descriptors)
    if sent < len(frame):
        link.sendall(frame[sent:], socket.MSG_NOSIGNAL)


def receive_some(link: socket.socket) -> tuple[bytes, list[int]]:
    """Take what there is, at most 64 KiB, with its descriptors; empty at the end.

    Raises:
        OSError: the connection is broken, or nothing is there and it does not block.
    """
    return receive_with(link, 65536, _MAX_DESCRIPTORS)


def unexpected(receiver: str, sender: str, message: object, expected: str) -> NoReturn:
    """A message of the union that does not fit this moment.

    Raises:
        ProtocolViolation: always.
    """
    raise ProtocolViolation(f"the {receiver} expected {expected} from the {sender}, got {type(message).__name__}")
