"""File descriptors of this process, and turning one into another kind."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from contextkernel.errors import SyscallFailed
from contextkernel.linux.libc import syscall

_LAST = 0xFFFF_FFFF


def close_from(first: int) -> None:
    """Close descriptor ``first`` and all above it (close_range(2))."""
    with suppress(SyscallFailed):
        syscall("close_range", first, _LAST, 0)
        return
    for name in os.listdir("/proc/self/fd"):
        if int(name) >= first:
            with suppress(OSError):
                os.close(int(name))


def close_all_but(keep: int) -> None:
    """Close every descriptor from 3 on except ``keep``."""
    with suppress(SyscallFailed):
        if keep > 3:
            syscall("close_range", 3, keep - 1, 0)
        syscall("close_range", max(keep + 1, 3), _LAST, 0)
        return
    for name in os.listdir("/proc/self/fd"):
        if int(name) >= 3 and int(name) != keep:
            with suppress(OSError):
                os.close(int(name))


def null_standard_streams() -> None:
    """Point descriptors 0, 1 and 2 at /dev/null."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for place in range(3):
        os.dup2(null, place)
    if null > 2:
        os.close(null)


def own_nonblocking(descriptor: int) -> int:
    """A descriptor of the same pipe or terminal that does not block, while the given one stays as it is.

    ``O_NONBLOCK`` belongs to the open file, which others share; so the file is opened once more. Where that is not
    possible (sockets, regular files) the descriptor itself is returned. Else it is closed.
    """
    kind = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISCHR(kind)):
        return descriptor
    try:
        twin = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return descriptor
    os.close(descriptor)
    return twin
