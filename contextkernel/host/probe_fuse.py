"""fuse-overlayfs, tried beside the kernel's overlay: what it makes of changes is what a layer would be.

It is told, and not used (docs/decisions/0007-copies-by-index-where-overlay-does-not-work.md): a layer that depends on
which program laid the others over each other would have another digest, or other files.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress

from contextkernel.host.probe_files import lower_and_rest, remove_and_replace
from contextkernel.host.trying import Limited, Refused
from contextkernel.linux import mount as mounts

_OLD = 1_000_000_000  # seconds since the epoch
_KEPT = "kept"
#: two names of one file, and what each is to have as its mode
_NAMES = (("one", 0o640), ("two", 0o604))
_PIPE = "pipe"


def try_fuse_overlayfs(place: str, program: str | None) -> str:
    """Have fuse-overlayfs mount an overlay in ``place``, and change it as a build step does.

    /dev/fuse is opened first: inside the user namespace, where the program opens it too (a descriptor from outside is
    refused by the mount).

    Args:
        place: a directory on the store's file system.
        program: path of fuse-overlayfs; ``None``: there is none.

    Returns:
        The program's path: it does what the kernel's overlay does.

    Raises:
        Limited: it mounts, and leaves other changes than the kernel's overlay. Refused: it does not work.
        OSError: the device cannot be opened.
    """
    os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    if program is None:
        raise Refused("fuse-overlayfs is not installed")
    lower, upper, work, merged = paths = lower_and_rest(place)
    try:
        fill(lower)
        command = [program, "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", merged]
        actions = [(os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_RDWR, 0) for descriptor in (0, 1, 2)]
        pid = os.posix_spawn(program, command, os.environ, file_actions=actions)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status:
            raise Refused(f"fuse-overlayfs ended with exit status {status}")
        try:
            remove_and_replace(merged)
            change(merged)
        finally:
            mounts.umount(merged, mounts.MNT_DETACH)
        found = differences(upper)
    finally:
        for path in paths:
            shutil.rmtree(path, ignore_errors=True)
    if found:
        raise Limited(f"unlike the kernel's overlay: {'; '.join(found)}")
    return program


def fill(lower: str) -> None:
    """Put into a lower directory what union file systems treat differently: names of one file, a FIFO, a time."""
    kept = os.path.join(lower, _KEPT)
    os.mkdir(kept)
    (first, _), (second, _) = _NAMES
    with open(os.path.join(kept, first), "wb"):
        pass
    os.link(os.path.join(kept, first), os.path.join(kept, second))
    os.mkfifo(os.path.join(kept, _PIPE))
    os.utime(kept, (_OLD, _OLD))


def change(merged: str) -> None:
    """Give each file of :func:`fill` another mode, which brings it into the upper directory; nothing else."""
    kept = os.path.join(merged, _KEPT)
    os.listdir(kept)
    for name, mode in (*_NAMES, (_PIPE, 0o600)):
        with suppress(OSError):  # what has not come is seen in the upper directory
            os.chmod(os.path.join(kept, name), mode)


def differences(upper: str) -> tuple[str, ...]:
    """What the kernel's overlay would not have left of :func:`change`.

    Args:
        upper: the upper directory; nothing is mounted over it any more.
    """
    kept = os.path.join(upper, _KEPT)
    found = []
    if any(stat.S_IMODE(_mode(os.path.join(kept, name))) != mode for name, mode in _NAMES):
        found.append("a change of a file with several names is another name's")
    if not stat.S_ISFIFO(_mode(os.path.join(kept, _PIPE))):
        found.append("a FIFO that is changed becomes a file")
    if os.stat(kept).st_mtime_ns != _OLD * 10**9:
        found.append("a directory's time changes with a file in it")
    return tuple(found)


def _mode(path: str) -> int:
    try:
        return os.lstat(path).st_mode
    except FileNotFoundError:
        return 0
