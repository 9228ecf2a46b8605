"""Which user a program runs as, by the image's own files; read so that nothing of the image leads elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress

from contextkernel.errors import SyscallFailed
from contextkernel.linux.libc import AT_FDCWD
from contextkernel.linux.openat2 import RESOLVE_NO_MAGICLINKS, open_in_root, openat2
from contextkernel.runtime.users import Identity, resolve

_MAX_USER_FILE = 10 << 20


def identity_of(user: str, more_groups: Iterable[str] = (), *, root: int = -1) -> Identity:
    """Resolve a user with the image's /etc/passwd and /etc/group.

    Args:
        user: ``user[:group]``, names or ids.
        more_groups: supplementary groups besides the user's own.
        root: descriptor of the container's root; -1 for this process's own.

    Raises:
        InvalidInput: no such user or group.
    """
    return resolve(user, _read("/etc/passwd", root), _read("/etc/group", root), more_groups)


def _read(path: str, root: int) -> str:
    """Content of one of the image's small files, empty if there is none; nothing but a plain file is read.

    Args:
        path: absolute.
        root: descriptor of what counts as ``/`` for it; -1 for the process's own.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK
    try:
        if root >= 0:
            descriptor = open_in_root(root, path, flags)
        else:
            descriptor = openat2(AT_FDCWD, path, flags, resolve=RESOLVE_NO_MAGICLINKS)
    except SyscallFailed:
        return ""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return ""
        data = b""
        with suppress(OSError):  # a link to something in /proc that cannot be read at once
            while len(data) < _MAX_USER_FILE and (piece := os.read(descriptor, _MAX_USER_FILE - len(data))):
                data += piece
        return data.decode("utf-8", "surrogateescape")
    finally:
        os.close(descriptor)
