"""The few device nodes of a container, none of which is the host's to change."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress

from contextkernel.errors import LaunchFailed
from contextkernel.linux import mount as mounts

_NULL = os.makedev(1, 3)  # Documentation/admin-guide/devices.txt


def make_device(dev: int, name: str, path: str) -> None:
    """Make a device node in the container's /dev that can be opened.

    One of its own where that may be made: the container's root could change owner and mode of the host's. Else it is
    the host's, which a read-only mount protects in the same way; a device can be written to all the same.

    Args:
        dev: descriptor of /dev, a tmpfs of the container's own that is mounted ``nodev``.
        name: in there.
        path: the host's.

    Raises:
        SyscallFailed, OSError: neither is possible.
    """
    here = f"/proc/self/fd/{dev}/{name}"
    try:
        os.mknod(name, stat.S_IFCHR, os.stat(path).st_rdev, dir_fd=dev)
    except PermissionError:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=dev))
        mounts.bind(path, here, recursive=False)
        mounts.mount_setattr(here, set_attributes=mounts.MOUNT_ATTR_RDONLY)
    else:
        os.chmod(name, 0o666, dir_fd=dev)  # noqa: S103 - as everywhere
        mounts.bind(here, here, recursive=False)
        mounts.mount_setattr(here, clear=mounts.MOUNT_ATTR_NODEV)  # of this mount; /dev itself stays nodev


def reopen_null(descriptors: Iterable[int]) -> None:
    """Turn those that are the host's /dev/null into the container's: by descriptor, too, its mode could be changed.

    Args:
        descriptors: to look at; the process is inside of the container's root.
    """
    host = [number for number in descriptors if stat.S_ISCHR(os.fstat(number).st_mode)]
    if host:
        check_null()
        null = os.open("/dev/null", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        for number in host:
            os.dup2(null, number)
        os.close(null)


def check_null() -> None:
    """What files are masked with must hide them.

    Raises:
        LaunchFailed: /dev/null is missing, or something else, because of a mount that the user asked for.
    """
    with suppress(OSError):
        found = os.stat("/dev/null", follow_symlinks=False)
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == _NULL:
            return
    raise LaunchFailed("the container's /dev/null is not the null device", hint="mount nothing over /dev or /dev/null")
