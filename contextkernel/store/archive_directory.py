"""An archive that was unpacked, or was never packed: a directory in OCI image layout, or as ``docker save`` has it."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import msgspec

from contextkernel.errors import ImageNotFound, InvalidArchive, InvalidInput, SyscallFailed
from contextkernel.linux.openat2 import open_beneath
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import MEDIA_MANIFEST, Descriptor, Index
from contextkernel.store.archive_file import MAX_DOCUMENT

_TAG = "org.opencontainers.image.ref.name"
_FULL = "io.containerd.image.name"


@contextmanager
def opened_directory(path: str, shown: str) -> Iterator[ArchiveDirectory]:
    """The files below a directory, for the time of the block.

    Args:
        path: of the directory.
        shown: what to call it in messages.

    Raises:
        InvalidInput: it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as problem:
        raise InvalidInput(
            f"cannot read {path}: {(problem.strerror or str(problem)).lower()}", hint="name an archive or a directory"
        ) from problem
    try:
        yield ArchiveDirectory(descriptor, shown)
    finally:
        os.close(descriptor)


class ArchiveDirectory:
    """The files of a directory as those of an archive; no name and no link in it leads outside.

    Args:
        descriptor: of the directory; it stays open as long as this is used.
        shown: what to call it in messages.
    """

    def __init__(self, descriptor: int, shown: str) -> None:
        self._descriptor = descriptor
        self._shown = shown
        self._index: bytes | None = None

    def __contains__(self, name: str) -> bool:
        try:
            self._open(name).close()
        except (OSError, SyscallFailed):
            return False
        return True

    def size(self, name: str) -> int:
        """See ``ArchiveFile``."""
        if name == "index.json" and self._index is not None:
            return len(self._index)
        with self.open(name) as source:
            return os.fstat(source.fileno()).st_size

    def open(self, name: str) -> IO[bytes]:
        """See ``ArchiveFile``."""
        try:
            return self._open(name)
        except (OSError, SyscallFailed) as problem:
            number = problem.number if isinstance(problem, SyscallFailed) else problem.errno or 0
            if number in (errno.ENOENT, errno.ENOTDIR):
                raise InvalidArchive(
                    f"{self._shown} lacks {name!r}", hint="it is incomplete; write it again"
                ) from problem
            if number == errno.EXDEV:
                raise InvalidArchive(f"{name!r} of {self._shown} leads out of the directory") from problem
            raise InvalidArchive(f"cannot read {name!r} of {self._shown}: {os.strerror(number).lower()}") from problem

    def _open(self, name: str) -> IO[bytes]:
        inside = posixpath.normpath("/" + name).lstrip("/") or "."
        # not held up by a named pipe
        descriptor = open_beneath(self._descriptor, inside, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        source = os.fdopen(descriptor, "rb")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            source.close()
            raise OSError(errno.EINVAL, "not a regular file")
        return source

    def document(self, name: str) -> bytes:
        """See ``ArchiveFile``."""
        if name == "index.json" and self._index is not None:
            return self._index
        with self.open(name) as source:
            data = source.read(MAX_DOCUMENT + 1)
        if len(data) > MAX_DOCUMENT:
            raise InvalidArchive(f"{name!r} in {self._shown} is larger than {MAX_DOCUMENT} bytes")
        return data

    def keep_only(self, wanted: str) -> None:
        """Forget all images of the index but one.

        Args:
            wanted: its digest, or its tag; ``latest`` is also the only one there is.

        Raises:
            ImageNotFound: there is no such image.
        """
        try:
            index = from_json(self.document("index.json"), Index)
        except (msgspec.DecodeError, InvalidInput, UnicodeDecodeError, RecursionError) as problem:
            raise InvalidArchive(f"index.json of {self._shown} cannot be understood: {problem}") from None
        found = [one for one in index.manifests if wanted in _names(one)]
        if not found and wanted == "latest" and len(index.manifests) == 1:
            found = list(index.manifests)
        if not found and ":" in wanted:  # a digest that only a nested index has
            size = self.size(f"blobs/{wanted.replace(':', '/', 1)}") if self._has(wanted) else -1
            found = [Descriptor(MEDIA_MANIFEST, Digest(wanted), size)] if size >= 0 else []
        if not found:
            names = sorted({name for one in index.manifests for name in _names(one) if "sha256:" not in name})
            raise ImageNotFound(
                f"{self._shown} has no image {wanted!r}", hint=f"it has {', '.join(names)}" if names else None
            )
        bare = msgspec.structs.replace(found[0], annotations=None)
        self._index = to_json(msgspec.structs.replace(index, manifests=(bare,)))

    def _has(self, digest: str) -> bool:
        try:
            Digest(digest)
        except InvalidInput:
            return False
        return f"blobs/{digest.replace(':', '/', 1)}" in self


def _names(descriptor: Descriptor) -> set[str]:
    notes = descriptor.annotations or {}
    tag = notes.get(_TAG, "")
    full = notes.get(_FULL, "")
    return {str(descriptor.digest), tag, tag.rpartition(":")[2], full, full.rpartition(":")[2]} - {""}
