"""openat2(2): opening names in a tree that is not trusted, so that no link in it leads outside."""

from __future__ import annotations

import ctypes
import errno
import os

from contextkernel.errors import SyscallFailed
from contextkernel.linux.libc import syscall

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_ATTEMPTS = 32  # the kernel answers EAGAIN when a rename races with "..", and asks to try again


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(directory: int, path: str | bytes, flags: int, mode: int = 0, *, resolve: int = 0) -> int:
    """Open ``path`` relative to ``directory``; the descriptor is close-on-exec.

    Args:
        directory: descriptor of a directory (``O_PATH`` will do), or ``AT_FDCWD``.
        path: name to open.
        flags: ``os.O_...``.
        mode: permission bits of a file that is created.
        resolve: ``RESOLVE_...``, limits on how the name is followed.

    Raises:
        SyscallFailed: with errno ``EXDEV`` or ``ELOOP`` when a limit of ``resolve`` was hit.
    """
    creates = flags & os.O_CREAT or flags & os.O_TMPFILE == os.O_TMPFILE
    how = _OpenHow(flags=flags | os.O_CLOEXEC, mode=mode if creates else 0, resolve=resolve)
    name = os.fsencode(path)
    for attempt in range(_ATTEMPTS):
        try:
            return syscall("openat2", directory, name, ctypes.byref(how), ctypes.sizeof(how), path=os.fsdecode(path))
        except SyscallFailed as failure:
            if failure.number != errno.EAGAIN or attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def open_in_root(root_fd: int, path: str | bytes, flags: int = os.O_PATH, mode: int = 0) -> int:
    """Open ``path`` as a process would whose root directory is ``root_fd``: absolute links and ``..`` stay inside.

    Links of /proc that jump (``/proc/self/exe``) are refused.

    Args:
        root_fd: descriptor of the directory that counts as ``/``.
        path: absolute or relative name, both count from there.
        flags: ``os.O_...``.
        mode: permission bits of a file that is created.

    Raises:
        SyscallFailed: it cannot be opened.
    """
    return openat2(root_fd, path, flags, mode, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def open_beneath(directory: int, path: str | bytes, flags: int = os.O_PATH, mode: int = 0) -> int:
    """Open ``path`` below ``directory``; a link or ``..`` that leads outside is an error (``EXDEV``).

    Args:
        directory: descriptor of the directory.
        path: relative name.
        flags: ``os.O_...``.
        mode: permission bits of a file that is created.

    Raises:
        SyscallFailed: it cannot be opened.
    """
    return openat2(directory, path, flags, mode, resolve=RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)


def make_dirs_in_root(root_fd: int, path: str, mode: int = 0o755) -> tuple[int, tuple[str, ...]]:
    """Create directory ``path`` and its missing parents inside ``root_fd``, following links as inside.

    Args:
        root_fd: descriptor of the directory that counts as ``/``.
        path: absolute or relative name, both count from there.
        mode: permission bits of what is created (before umask).

    Returns:
        An ``O_PATH`` descriptor of the directory, and the names that were created, outermost first.

    Raises:
        SyscallFailed: a component is not a directory (``ENOTDIR``), or a directory cannot be made.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    made: list[str] = []
    here = os.dup(root_fd)
    for count, part in enumerate(parts, 1):
        # each prefix is resolved from the root again: its links may be absolute, and ".." must not climb out
        name = "/".join(parts[:count])
        try:
            below = open_in_root(root_fd, name, os.O_PATH | os.O_DIRECTORY)
        except SyscallFailed as failure:
            if failure.number != errno.ENOENT:
                os.close(here)
                raise
            try:
                os.mkdir(part, mode, dir_fd=here)
                below = open_in_root(root_fd, name, os.O_PATH | os.O_DIRECTORY)
            except OSError as problem:
                raise SyscallFailed("mkdir", problem.errno or 0, name) from problem
            finally:
                os.close(here)
            made.append(name)
            here = below
            continue
        os.close(here)
        here = below
    return here, tuple(made)
