"""Room kept back for the day the disk is full: SQLite needs some even to open its file, and so does cleaning up.

``root/reserve`` is a file of allocated blocks. It is given up when space runs out, so that what fills the disk can
be found and removed, and made again when there is plenty.
"""

from __future__ import annotations

import os
from contextlib import suppress

from contextkernel.linux.room import free_space

#: Bytes kept back: shared memory and write-ahead log of some dozen transactions (sqlite.org/wal.html).
SIZE = 256 << 10
#: The reserve is made where there is this many times its size.
_PLENTY = 2
#: With less than this many bytes free, a transaction or the opening of the file is likely to fail.
_SCARCE = 64 << 10


def renew(root: str) -> None:
    """Make the reserve if there is none and room for it; never fails.

    Args:
        root: the store's directory.
    """
    path = _path(root)
    if os.path.exists(path) or free(root) < _PLENTY * SIZE:
        return
    temporary = f"{path}.{os.getpid()}"
    with suppress(OSError):
        descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SIZE)
            os.rename(temporary, path)
        except OSError:
            os.unlink(temporary)
        finally:
            os.close(descriptor)


def ease(root: str) -> None:
    """Give the reserve up if there is next to no room left; never fails.

    Not earlier: whoever is filling the disk would fill it up as well.
    """
    if free(root) < _SCARCE:
        give_up(root)


def give_up(root: str) -> None:
    """Give the reserve up; never fails."""
    with suppress(OSError):
        os.unlink(_path(root))


def free(root: str) -> int:
    """Bytes that this user may still write in the file system of ``root``; plenty where it does not say."""
    return free_space(root)


def _path(root: str) -> str:
    return f"{root}/reserve"
