"""What the layer worker and its client say to each other: closed unions, framed MessagePack on a unix socket.

A frame is its length (4 bytes, big endian) and one tagged message; a descriptor travels with the first byte of the
frame that speaks of it (SCM_RIGHTS, unix(7)).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections import deque
from typing import Any

import msgspec

from contextkernel import errors
from contextkernel.errors import ContextKernelError, ProtocolViolation, StoreProblem, SyscallFailed
from contextkernel.layer.index import decode_name, encode_name
from contextkernel.linux.passing import receive_with, send_with
from contextkernel.model.backing import Backing, PrepareRequest, Root, SettleRequest
from contextkernel.model.box import BoxView, Change, PathFacts, PathKind, PlaceRequest
from contextkernel.model.codec import from_msgpack, to_msgpack
from contextkernel.model.ids import IdMap
from contextkernel.model.layers import CopyRequest, ExportRequest, LayerFacts, MakeDirRequest, PopulateRequest
from contextkernel.model.room import Growth
from contextkernel.store.paths import ROOM_ADVICE

_MAX_DESCRIPTORS = 8  # in one piece of what is received


class Start(msgspec.Struct, frozen=True, tag=True):
    """The first message: what ids to work with, where others with the same ids are found, and how trees are made."""

    idmap: IdMap
    registry: str | None = None
    backing: Backing = "overlay"


class Commit(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.commit; ``lowers`` tell owners that the host cannot store, and what is the same."""

    id: int
    directory: str
    lowers: tuple[str, ...] = ()


class Unpack(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.unpack; without a path it comes with one descriptor."""

    id: int
    source: str | None
    directory: str
    limit: int | None = None


class Copy(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.copy."""

    id: int
    request: CopyRequest


class MakeDir(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.make_dir."""

    id: int
    request: MakeDirRequest


class Populate(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.populate."""

    id: int
    request: PopulateRequest


class Look(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.look; comes with the root of a running container."""

    id: int
    view: BoxView
    path: str
    follow: bool


class Pack(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.pack; comes with one descriptor, and the root of a running container."""

    id: int
    view: BoxView
    path: str
    name: str
    kind: PathKind


class Place(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.place; comes with one descriptor, and the root of a running container."""

    id: int
    request: PlaceRequest


class Changes(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.changes."""

    id: int
    view: BoxView


class WriteChanges(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.write_changes; comes with one descriptor."""

    id: int
    view: BoxView


class WriteTar(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.write_tar; comes with one descriptor."""

    id: int
    directory: str
    latest: int | None = None


class ExportTar(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.export_tar; comes with one descriptor."""

    id: int
    request: ExportRequest


class ExportTree(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.export_tree; comes with one descriptor."""

    id: int
    request: ExportRequest


class Remove(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.remove."""

    id: int
    paths: tuple[str, ...]


class Measure(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.measure; the notes of the answer are the numbers."""

    id: int
    paths: tuple[str, ...]


class Adopt(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.adopt."""

    id: int
    source: str
    directory: str


class Prepare(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.prepare."""

    id: int
    request: PrepareRequest


class Settle(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """ports.LayerWorker.settle."""

    id: int
    request: SettleRequest


class Cancel(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Give up job ``id`` at the next entry; it answers as failed."""

    id: int


class Bounded(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A job whose directory may grow so far and no further; a descriptor comes along as for the job itself."""

    job: Job
    growth: Growth


BoxJob = Look | Pack | Place | Changes | WriteChanges
TreeJob = Prepare | Settle
Job = (
    BoxJob
    | TreeJob
    | Commit
    | Unpack
    | Copy
    | MakeDir
    | Populate
    | WriteTar
    | ExportTar
    | ExportTree
    | Remove
    | Measure
    | Adopt
)
Request = Start | Job | Bounded | Cancel


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error on its way to the client, where the same class is raised."""

    kind: str
    problem: str
    hint: str | None = None
    call: str = ""
    number: int = 0
    path: str | None = None


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The worker is in its namespaces."""


class Done(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A job is finished; ``notes`` is what its user should know of it, the others what it was asked for."""

    id: int
    facts: LayerFacts | None = None
    notes: tuple[str, ...] = ()
    path: PathFacts | None = None
    changes: tuple[Change, ...] = ()
    root: Root | None = None


class Failed(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """A job has failed; id 0 stands for the start."""

    id: int
    error: Problem


Answer = Ready | Done | Failed


class Cancelled(ContextKernelError):
    """The client has given the job up."""


class Outgrown(ContextKernelError):
    """What the job writes has become too large; the text is a number of bytes."""


OUTGROWN = Outgrown.__name__


def target(job: Job) -> str:
    """The directory that a job fills; empty for one that fills none."""
    match job:
        case Unpack(directory=directory):
            return directory
        case Copy(request=copy):
            return copy.upper
        case Populate(request=populate):
            return populate.directory
        case Prepare(request=prepare):
            return os.path.dirname(prepare.root.upper)
        case Place(request=place):
            return place.view.room
    return ""


def to_problem(error: BaseException) -> Problem:
    """What to tell the client about ``error``."""
    match error:
        case SyscallFailed(number=errno.ENOSPC) | OSError(errno=errno.ENOSPC):
            return Problem(
                kind="StoreFull",
                problem="no space left where the store lives",
                hint=f"{ROOM_ADVICE}, or set CONTEXTKERNEL_ROOT to a larger file system",
            )
        case SyscallFailed():
            return Problem(
                kind="SyscallFailed",
                problem=error.problem,
                hint=error.hint,
                call=error.call,
                number=error.number,
                path=error.path,
            )
        case ContextKernelError():
            return Problem(kind=type(error).__name__, problem=error.problem, hint=error.hint)
        case OSError(errno=int(number)):
            name = error.filename
            path = os.fsdecode(name) if isinstance(name, (str, bytes)) else None
            return Problem(kind="SyscallFailed", problem="", call="file operation", number=number, path=path)
    return Problem(kind="StoreProblem", problem=f"the layer worker failed: {type(error).__name__}: {error}")


def to_error(problem: Problem) -> ContextKernelError:
    """The error that ``problem`` describes, of its own class."""
    if problem.kind == "SyscallFailed":
        return SyscallFailed(problem.call, problem.number, problem.path, problem.hint)
    kind = getattr(errors, problem.kind, StoreProblem)
    if not (isinstance(kind, type) and issubclass(kind, ContextKernelError)):
        kind = StoreProblem
    return kind(problem.problem, hint=problem.hint)


class _Escaped(msgspec.Struct, frozen=True, tag=True):
    """A message whose texts hold bytes that are not UTF-8: every byte is one character in ``data``."""

    data: bytes


def encode(message: object) -> bytes:
    """MessagePack of one message; names in it may be any bytes."""
    try:
        return to_msgpack(message)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(message, builtin_types=(bytes,))
        spread = _mapped(plain, escape=True)
        return to_msgpack(_Escaped(data=msgspec.msgpack.encode(spread)))


def decode(data: bytes, kind: Any) -> Any:
    """The message of ``data``, one of the union ``kind``.

    Raises:
        ProtocolViolation: it is not one of them.
    """
    try:
        try:
            return from_msgpack(data, kind)
        except msgspec.ValidationError:
            escaped = msgspec.msgpack.decode(data, type=_Escaped)
            plain = _mapped(msgspec.msgpack.decode(escaped.data), escape=False)
            return msgspec.convert(plain, kind, builtin_types=(bytes,))
    except msgspec.MsgspecError as problem:
        head = data[:40]
        raise ProtocolViolation(f"layer worker and client disagree: expected {kind}, got {head!r}") from problem


def _mapped(value: Any, *, escape: bool) -> Any:
    if isinstance(value, str):
        return encode_name(value).decode("latin-1") if escape else decode_name(value.encode("latin-1"))
    if isinstance(value, dict):
        return {_mapped(key, escape=escape): _mapped(one, escape=escape) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mapped(one, escape=escape) for one in value]
    return value


class Channel:
    """One end of the socket. Sending is safe from several threads; receiving is for one at a time.

    Attributes:
        descriptors: what has arrived and has not been claimed, oldest first; close-on-exec.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._sending = threading.Lock()
        self._buffer = bytearray()
        self.descriptors: deque[int] = deque()

    def send(self, message: object, descriptors: tuple[int, ...] = ()) -> None:
        """Send one message.

        Raises:
            OSError: the other end is gone.
        """
        data = encode(message)
        frame = len(data).to_bytes(4, "big") + data
        with self._sending:
            sent = 0
            if descriptors:
                sent = send_with(self._end, frame, descriptors)
            self._end.sendall(frame[sent:])

    def receive(self, kind: Any) -> Any:
        """The next message, of the union ``kind``, or ``None`` when the other end is gone.

        What was read stays read when this is interrupted.
        """
        while True:
            if len(self._buffer) >= 4:
                end = 4 + int.from_bytes(self._buffer[:4], "big")
                if len(self._buffer) >= end:
                    data = bytes(self._buffer[4:end])
                    del self._buffer[:end]
                    return decode(data, kind)
            try:
                data, descriptors = receive_with(self._end, 1 << 16, _MAX_DESCRIPTORS)
            except ConnectionError:
                return None
            self._buffer += data
            self.descriptors.extend(descriptors)
            if not data:
                return None

    def shut(self) -> None:
        """Let the other end, and whoever receives here, see the end."""
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close this end."""
        self._end.close()


__all__ = [
    "OUTGROWN", "Adopt", "Answer", "Bounded", "BoxJob", "Cancel", "Cancelled", "Changes", "Channel", "Commit", "Copy",
    "Done", "ExportTar", "ExportTree", "Failed", "Job", "Look", "MakeDir", "Measure", "Outgrown", "Pack", "Place",
    "Populate", "Problem", "Ready", "Remove", "Request", "Start", "Unpack", "WriteChanges", "WriteTar",
    "target", "to_error", "to_problem",
]  # fmt: skip
