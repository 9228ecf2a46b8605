"""Small file operations that the layer worker needs on trees which it must not trust."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os

from contextkernel.errors import SyscallFailed
from contextkernel.linux.libc import AT_EMPTY_PATH, check, libc
from contextkernel.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2

_STRICT = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS
DIRECTORY = os.O_PATH | os.O_DIRECTORY
_PROC, _OVERLAY = 0x9FA0, 0x794C_7630  # <linux/magic.h>


def open_strictly(root_fd: int, path: str, flags: int = DIRECTORY) -> int:
    """Open ``path`` below ``root_fd`` where no component may be a symbolic link.

    Args:
        root_fd: descriptor of the tree's root.
        path: clean relative path, ``"."`` for the root.
        flags: ``os.O_...``; nothing is created.

    Raises:
        SyscallFailed: it cannot be opened; ``ELOOP`` when there is a link on the way.
    """
    try:
        return openat2(root_fd, path, flags, resolve=_STRICT)
    except SyscallFailed as failure:
        # EPERM: seccomp profiles from before openat2 refuse calls that they do not know
        if failure.number not in {errno.ENOSYS, errno.EPERM}:
            raise
    return _open_stepwise(root_fd, path, flags)


def _open_stepwise(root_fd: int, path: str, flags: int) -> int:
    """The same for Linux before 5.6: one component at a time, none followed."""
    parts = [part for part in path.split("/") if part != "."]
    here = os.open(".", DIRECTORY | os.O_CLOEXEC, dir_fd=root_fd)
    try:
        for part in parts[:-1]:
            below = os.open(part, DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
        return os.open(parts[-1] if parts else ".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    except OSError as problem:
        raise SyscallFailed("open", problem.errno or 0, path) from problem
    finally:
        os.close(here)


_FICLONE = 0x40049409  # ioctl_ficlonerange(2)
_UNSHARED = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.ETXTBSY}


def clone(source: int, target: int) -> bool:
    """Let ``target``, an empty file, share all blocks of ``source``, so that a later change makes a copy.

    Args:
        source, target: open descriptors of regular files.

    Returns:
        Whether it does; not where the file system has no shared blocks, or the two are on different ones.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as problem:
        if problem.errno in _UNSHARED:
            return False
        raise
    return True


def _type(descriptor: int) -> int:
    found = (ctypes.c_long * 32)()  # struct statfs begins with its type, and is not larger
    check(libc.fstatfs(ctypes.c_int(descriptor), found), "fstatfs")
    return int(found[0])


def is_proc(descriptor: int) -> bool:
    """Whether an open file (``O_PATH`` will do) is one of /proc."""
    return _type(descriptor) == _PROC


def is_overlay(descriptor: int) -> bool:
    """Whether an open file (``O_PATH`` will do) is on the kernel's overlay file system."""
    return _type(descriptor) == _OVERLAY


def change_owner(descriptor: int, uid: int, gid: int) -> None:
    """Set the owner of an open file (``O_PATH`` will do), a symbolic link included; -1 leaves one as it is.

    Raises:
        SyscallFailed: refused.
    """
    result = libc.fchownat(
        ctypes.c_int(descriptor), b"", ctypes.c_int(uid), ctypes.c_int(gid), ctypes.c_int(AT_EMPTY_PATH)
    )
    check(result, "fchownat")
