"""Content-addressed files: written under a temporary name, verified on the way in and on the way out."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, Protocol

from contextkernel.errors import DigestMismatch, SizeMismatch, StoreProblem
from contextkernel.model.digest import Digest
from contextkernel.store import leases
from contextkernel.store.bound import Bound
from contextkernel.store.database import Database
from contextkernel.store.paths import Paths, refused
from contextkernel.store.sessions import Session
from contextkernel.store.sweep import referenced_blobs

CHUNK = 1 << 20


class Readable(Protocol):
    """What content is read from: a file, a pipe, an HTTP response."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


class Blobs:
    """The blobs of a store."""

    def __init__(self, paths: Paths, database: Database, session: Session, bound: Bound) -> None:
        self._bound = bound
        self._paths = paths
        self._database = database
        self._session = session

    def write(self, content: bytes | Readable, expected: Digest | None, size: int | None) -> Digest:
        """Store ``content``; leased to this session until an image or layer refers to it.

        Raises:
            DigestMismatch, SizeMismatch: nothing was stored. StoreFull, StoreProblem: see there.
        """
        source: Readable = io.BytesIO(content) if isinstance(content, bytes) else content
        session = self._session.id
        temporary = self._paths.temporary(session)
        small = len(content) <= CHUNK if isinstance(content, bytes) else size is not None and size <= CHUNK
        if size is not None and not small:
            self._bound.admit(size)  # before the first of its bytes is fetched
        count = _anything if small else self._bound.meter()
        try:
            with self._writing(temporary) as sink:
                digest = _transfer(source, sink, expected, size, self._paths.root, count)
            # leased before it appears: whoever removes unused blobs looks at the leases under the write lock
            with self._database.transaction() as sql:
                leases.begin(sql, session, leases.BLOB, digest)
            try:
                final = self._paths.blob(digest)
                if digest.algorithm != "sha256":
                    os.makedirs(os.path.dirname(final), 0o700, exist_ok=True)
                os.rename(temporary, final)
                sync_directory(os.path.dirname(final))
            except OSError as problem:
                raise refused(problem, self._paths.root) from problem
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        return digest

    def adopt(self, path: str, digest: Digest) -> None:
        """Make a verified file of the store's own file system a blob, leased to this session; the file is moved.

        Raises:
            StoreFull, StoreProblem: see there.
        """
        # leased before it appears, as in write
        with self._database.transaction() as sql:
            leases.begin(sql, self._session.id, leases.BLOB, digest)
        try:
            final = self._paths.blob(digest)
            os.makedirs(os.path.dirname(final), 0o700, exist_ok=True)
            _sync(path)  # whoever wrote it was in a hurry: what is named by its digest is whole after a crash, too
            os.rename(path, final)
            sync_directory(os.path.dirname(final))
        except OSError as problem:
            raise refused(problem, self._paths.root) from problem

    @contextmanager
    def _writing(self, path: str) -> Iterator[IO[bytes]]:
        try:
            sink = open(path, "xb", buffering=0)  # noqa: SIM115 # closed below, with the error typed
        except OSError as problem:
            raise refused(problem, self._paths.root) from problem
        try:
            yield sink
            os.fsync(sink.fileno())
        except OSError as problem:
            raise refused(problem, self._paths.root) from problem
        finally:
            sink.close()

    def has(self, digest: Digest, content: bytes) -> bool:
        """Whether a small blob is here and undamaged.

        Args:
            digest: of the blob.
            content: what it must hold.
        """
        try:
            with open(self._paths.blob(digest), "rb", buffering=0) as source:
                return source.read(len(content) + 1) == content
        except OSError:
            return False

    def drop(self, digest: Digest) -> None:
        """Give up this session's lease, and the blob unless something else needs it."""
        session = self._session.id
        with self._database.transaction() as sql:
            leases.end(sql, session, leases.BLOB, [digest])
        # only now, and under the write lock: see Sweeper.collect
        with self._database.transaction() as sql:
            if str(digest) not in referenced_blobs(sql):
                with suppress(FileNotFoundError):
                    os.unlink(self._paths.blob(digest))

    def open(self, digest: Digest, size: int | None = None) -> IO[bytes]:
        """A verifying reader of a blob.

        Raises:
            StoreProblem: there is none.
        """
        try:
            source = open(self._paths.blob(digest), "rb", buffering=0)  # noqa: SIM115 # the reader closes it
        except FileNotFoundError:
            raise StoreProblem(
                f"there is no blob {digest} in the store {self._paths.root}",
                hint="the store may be damaged: contextkernel system check",
            ) from None
        except OSError as problem:
            raise refused(problem, self._paths.root) from problem
        return io.BufferedReader(VerifyingReader(source, digest, size), CHUNK)

    def read(self, digest: Digest) -> bytes:
        """The whole of a (small) blob, verified.

        Raises:
            StoreProblem: there is none. DigestMismatch: it is damaged.
        """
        with self.open(digest) as source:
            return source.read()


def _anything(_size: int) -> None:
    """Documents are not counted before they are there."""


def _transfer(
    source: Readable,
    sink: IO[bytes],
    expected: Digest | None,
    size: int | None,
    root: str,
    count: Callable[[int], None],
) -> Digest:
    algorithm = expected.algorithm if expected else "sha256"
    state = hashlib.new(algorithm)
    total = 0
    while chunk := source.read(CHUNK):
        total += len(chunk)
        if size is not None and total > size:
            raise SizeMismatch(f"content of {expected or 'a blob'} is longer than the promised {size} bytes")
        count(len(chunk))
        state.update(chunk)
        view = memoryview(chunk)
        try:
            while view:
                view = view[sink.write(view) :]
        except OSError as problem:
            raise refused(problem, root) from problem
    if size is not None and total != size:
        raise SizeMismatch(f"content of {expected or 'a blob'} has {total} bytes instead of the promised {size}")
    digest = Digest(f"{algorithm}:{state.hexdigest()}")
    if expected is not None and digest != expected:
        raise DigestMismatch(
            f"content has digest {digest} instead of {expected}", hint="it was damaged on its way; fetch it again"
        )
    return digest


def sync_directory(path: str) -> None:
    """Make a rename in ``path`` durable."""
    _sync(path, os.O_DIRECTORY)


def _sync(path: str, kind: int = 0) -> None:
    descriptor = os.open(path, os.O_RDONLY | kind | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class VerifyingReader(io.RawIOBase):
    """Passes content through, and raises at its end when digest or size are not the promised ones.

    Args:
        source: unbuffered or buffered binary reader; closed with this one.
        digest: the promised digest.
        size: the promised number of bytes, if known.
    """

    def __init__(self, source: Any, digest: Digest, size: int | None = None) -> None:
        self._source = source
        self._digest = digest
        self._size = size
        self._total = 0
        self._state = hashlib.new(digest.algorithm)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what comes next.

        Raises:
            DigestMismatch, SizeMismatch: at the end, or as soon as there is too much.
        """
        count = int(self._source.readinto(buffer) or 0)
        if not count and len(buffer):
            self._verify()
            return 0
        self._total += count
        if self._size is not None and self._total > self._size:
            raise SizeMismatch(f"content of {self._digest} is longer than the promised {self._size} bytes")
        self._state.update(memoryview(buffer)[:count])
        return count

    def _verify(self) -> None:
        if self._size is not None and self._total != self._size:
            raise SizeMismatch(
                f"content of {self._digest} has {self._total} bytes instead of the promised {self._size}"
            )
        found = self._state.hexdigest()
        if found != self._digest.hex:
            raise DigestMismatch(
                f"content of {self._digest} has digest {self._digest.algorithm}:{found}",
                hint="it was damaged since it was stored: contextkernel system check --repair",
            )

    def close(self) -> None:
        """Close the source too."""
        if not self.closed:
            self._source.close()
        super().close()
