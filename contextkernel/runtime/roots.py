"""Making the container's root the root of its first process, in the best way that the host allows; and stand-ins."""

from __future__ import annotations

import os

from contextkernel.errors import SyscallFailed
from contextkernel.linux import mount as mounts

_EMPTY = "/dev/.empty"


def pivot() -> None:
    """Make the working directory, a mount point, the root, and detach the old one (pivot_root(2)).

    Raises:
        SyscallFailed: the kernel refused.
    """
    mounts.pivot_root(".", ".")
    mounts.umount(".", mounts.MNT_DETACH)


def move() -> None:
    """Move the working directory, a mount point, over the root (as switch_root(8) does), and go into it.

    The old root stays mounted below. No name leads there: what is looked up from the root, or upwards, begins and ends
    at the uppermost mount.

    Raises:
        SyscallFailed: the kernel refused.
    """
    mounts.mount(".", "/", None, mounts.MS_MOVE)
    change()


def change() -> None:
    """Make the working directory the root of this process (chroot(2)). Whoever may do that again can leave it.

    Raises:
        SyscallFailed: the kernel refused.
    """
    try:
        os.chroot(".")
    except OSError as problem:
        raise SyscallFailed("chroot", problem.errno or 0) from problem


def make_scratch(path: str, mode: int) -> None:
    """An empty directory; what was there before goes.

    Args:
        path: on the host; its parent is made if it is missing.
        mode: its permissions.

    Raises:
        OSError: it cannot be made.
    """
    import shutil  # the host's files are there still, and most hosts have file systems in memory

    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    os.chmod(path, mode)


def mask_directory(target: str) -> str:
    """Hide what is in a directory; called inside of the container's root.

    Args:
        target: of the container.

    Returns:
        An empty directory that cannot be written to, to be bound over others.

    Raises:
        SyscallFailed: the kernel refused.
    """
    flags = mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
    try:
        mounts.mount("tmpfs", target, "tmpfs", flags, "size=0k,mode=755")
    except SyscallFailed:
        # no tmpfs here: a directory of the container's /dev
        try:
            os.mkdir(_EMPTY, 0o555)
        except OSError as problem:
            raise SyscallFailed("mkdir", problem.errno or 0, _EMPTY) from problem
        mounts.bind(_EMPTY, target, recursive=False)
        mounts.mount_setattr(target, set_attributes=mounts.MOUNT_ATTR_RDONLY)
    return target
