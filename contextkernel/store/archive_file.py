"""Random access to the members of a tar file that somebody handed in."""

from __future__ import annotations

import io
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import msgspec

from contextkernel.errors import InvalidArchive, InvalidInput
from contextkernel.store.blobs import CHUNK
from contextkernel.store.decompression import compression_of
from contextkernel.store.paths import refused
from contextkernel.store.store import Store

_MAX_MEMBERS = 100_000
#: The longest single read of tar headers; PAX records of image archives are a few hundred bytes.
_MAX_HEADER = 1 << 20
#: The longest document (manifest, index, config).
MAX_DOCUMENT = 16 << 20
_MAX_LINKS = 8


@contextmanager
def opened(source: str | int, store: Store) -> Iterator[IO[bytes]]:
    """A seekable reader of ``source``; what comes through a pipe is kept in the store's tmp/ meanwhile.

    Raises:
        InvalidInput: it cannot be opened.
    """
    shown = source if isinstance(source, str) else "standard input"
    try:
        stream = open(os.dup(source) if isinstance(source, int) else source, "rb")  # noqa: SIM115 # just below
    except OSError as problem:
        raise InvalidInput(
            f"cannot read {shown}: {(problem.strerror or str(problem)).lower()}", hint="name an archive file"
        ) from problem
    with stream:
        if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            yield stream
            return
        with _spooled(iter(lambda: stream.read(CHUNK), b""), store) as copy:
            yield copy


@contextmanager
def _spooled(parts: Iterator[bytes | memoryview], store: Store) -> Iterator[IO[bytes]]:
    path = store.temporary_path()
    try:
        copy = open(path, "xb+")  # noqa: SIM115 # just below
        os.unlink(path)  # the file lives as long as it is open
    except OSError as problem:
        raise refused(problem, store.root) from problem
    with copy:
        try:
            count = store.bound.meter()
            for part in parts:
                count(len(part))
                copy.write(part)
            copy.seek(0)
        except OSError as problem:
            raise refused(problem, store.root) from problem
        yield copy


@contextmanager
def plain(stream: IO[bytes], store: Store, limit: int | None = None) -> Iterator[IO[bytes]]:
    """The same content without compression, seekable.

    Raises:
        InvalidArchive: damaged, or longer than ``limit`` bytes when unpacked.
    """
    head = stream.read(8)
    stream.seek(0)
    if not compression_of(head):
        yield stream
        return
    from contextkernel.store.worker_extract import open_source

    source = open_source(cast("Any", stream), limit)
    with _spooled(iter(lambda: source.take(CHUNK), b""), store) as copy:
        yield copy


class _Place(msgspec.Struct, frozen=True):
    offset: int
    size: int
    link: str = ""


class _Bounded:
    """Keeps a tar header from making ``tarfile`` read gigabytes into memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek = stream.seek
        self.tell = stream.tell

    def read(self, count: int) -> bytes:
        if count > _MAX_HEADER:
            raise InvalidArchive(f"a header of the archive has {count} bytes")
        return self._stream.read(count)


class ArchiveFile:
    """The table of contents of an uncompressed tar file, and its members' content.

    Names are only looked up here; nothing is written under a name from the archive.

    Args:
        stream: of a file.
        shown: what to call the archive in messages.

    Raises:
        InvalidArchive: not a tar file, damaged, or with too many members.
    """

    def __init__(self, stream: IO[bytes], shown: str) -> None:
        import tarfile

        self._stream = stream
        self._shown = shown
        self._places: dict[str, _Place] = {}
        length = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        try:
            table = tarfile.TarFile(fileobj=cast("Any", _Bounded(stream)), mode="r", errors="surrogateescape")
            member = table.next()
            while member is not None:
                if len(self._places) >= _MAX_MEMBERS:
                    raise InvalidArchive(f"{shown} has more than {_MAX_MEMBERS} members")
                self._note(member, length)
                table.members = []  # type: ignore[attr-defined] # what tarfile remembers would only grow
                member = table.next()
        except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError) as problem:
            raise InvalidArchive(
                f"{shown} is not a tar archive: {str(problem).lower()}",
                hint="expected a file written by save, docker save, or skopeo copy (docker-archive:, oci-archive:)",
            ) from None

    def _note(self, member: Any, length: int) -> None:
        name = _clean(member.name)
        if member.issym():
            self._places[name] = _Place(0, 0, _clean(posixpath.join(posixpath.dirname(name), member.linkname)))
        elif member.islnk():
            self._places[name] = _Place(0, 0, _clean(member.linkname))
        elif member.isreg() and not member.issparse():
            if member.offset_data + member.size > length:
                raise InvalidArchive(
                    f"{self._shown} ends in the middle of {name!r}", hint="it was cut off; copy it again"
                )
            self._places[name] = _Place(member.offset_data, member.size)

    def __contains__(self, name: str) -> bool:
        return _clean(name) in self._places

    def size(self, name: str) -> int:
        """Bytes of a member; see :meth:`open`."""
        return self._find(name).size

    def _find(self, name: str) -> _Place:
        here = _clean(name)
        for _ in range(_MAX_LINKS):
            place = self._places.get(here)
            if place is None:
                raise InvalidArchive(f"{self._shown} lacks {name!r}", hint="it is incomplete; write it again")
            if not place.link:
                return place
            here = place.link
        raise InvalidArchive(f"{name!r} in {self._shown} is a link that leads nowhere")

    def open(self, name: str) -> IO[bytes]:
        """A reader of a member; several are independent of each other.

        Raises:
            InvalidArchive: there is none, and no link to one, of that name.
        """
        place = self._find(name)
        return cast("IO[bytes]", _Part(self._stream.fileno(), place.offset, place.size))

    def document(self, name: str) -> bytes:
        """The whole of a small member.

        Raises:
            InvalidArchive: there is none, or it is not small.
        """
        if self.size(name) > MAX_DOCUMENT:
            raise InvalidArchive(f"{name!r} in {self._shown} is larger than {MAX_DOCUMENT} bytes")
        with self.open(name) as source:
            return source.read()


class _Part(io.RawIOBase):
    """A part of a file; as many as one likes may be read at the same time, by several threads.

    Args:
        descriptor: of the file, which stays open as long as this is used.
        offset: where the part begins.
        size: bytes of it.
    """

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._descriptor = descriptor
        self._at = offset
        self._rest = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = os.preadv(self._descriptor, [memoryview(buffer)[: self._rest]], self._at) if self._rest else 0
        self._at += count
        self._rest -= count
        return count


def _clean(name: str) -> str:
    return posixpath.normpath("/" + name).lstrip("/")
