"""What has arrived of layers whose pull was interrupted: files of the store that ``store.arriving`` writes and reads.

A lock on such a file tells that somebody is at it; it goes with the process.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress

from contextkernel.model.digest import Digest
from contextkernel.store.paths import Paths

KEPT_SECONDS = 7 * 24 * 3600
"""How long what nobody asked for again is kept."""


class Downloads:
    """The partial downloads of a store."""

    def __init__(self, paths: Paths) -> None:
        self._root = paths.root
        self._folder = paths.downloads

    def _path(self, digest: Digest) -> str:
        return download_path(self._root, digest)

    def size(self) -> int:
        """Bytes of all of them."""
        total = 0
        for path in self._files():
            with suppress(FileNotFoundError):  # complete meanwhile
                total += os.lstat(path).st_size
        return total

    def remove(self, digest: Digest) -> None:
        """Let go of one that is not needed any more, unless somebody is at it."""
        self._remove(self._path(digest), time.time())

    def prune(self, older: float = 0.0) -> int:
        """Remove those that nobody is at.

        Args:
            older: only what was not written to for so many seconds.

        Returns:
            Bytes that were freed.
        """
        last = time.time() - older
        return sum(self._remove(path, last) for path in self._files())

    def _files(self) -> list[str]:
        try:
            return sorted(entry.path for entry in os.scandir(self._folder))
        except FileNotFoundError:
            return []

    def _remove(self, path: str, last: float) -> int:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return 0
        try:
            facts = os.fstat(descriptor)
            if facts.st_mtime > last or not lock(descriptor) or not is_at(descriptor, path):
                return 0
            os.unlink(path)
            return facts.st_size
        except OSError:
            return 0
        finally:
            os.close(descriptor)


def download_path(root: str, digest: Digest) -> str:
    """Where what has arrived of a blob is kept.

    Args:
        root: of the store.
        digest: of the blob.
    """
    return f"{root}/downloads/{digest.replace(':', '-')}"


def lock(file: int) -> bool:
    """Take the lock of an open download; false if somebody else has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(file: int, path: str) -> bool:
    """Whether whoever had the lock before has left the file there."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
