"""Small files that the engine writes for a container: in its own /dev, where nothing else is yet, and bound from there.

The /dev was mounted a moment ago and nobody else has seen it: names in it are plain. ``dev`` is its descriptor.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from contextkernel.errors import LaunchFailed, SyscallFailed
from contextkernel.linux import mount as mounts
from contextkernel.linux.openat2 import open_in_root
from contextkernel.runtime import operations as op
from contextkernel.runtime.child_report import hand_over
from contextkernel.runtime.messages import Generated
from contextkernel.runtime.mountpoints import OWN, MountPoints

_PROTECTED = mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
_GENERATED = "/dev/.generated"


def name_in_dev(path: str) -> str:
    """The last component of ``/dev/NAME``.

    Raises:
        LaunchFailed: it is elsewhere.
    """
    directory, name = os.path.split(path)
    if directory != "/dev":
        raise LaunchFailed(f"the plan puts {path!r} elsewhere than in /dev")
    return name


def write(dev: int, target: str, content: str) -> None:
    """Make ``target``, a new file in /dev, mode 0644.

    Raises:
        LaunchFailed: it is elsewhere. OSError: it cannot be made.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    descriptor = os.open(name_in_dev(target), flags, 0o644, dir_fd=dev)
    data = content.encode("utf-8", "surrogateescape")
    while data:
        data = data[os.write(descriptor, data) :]
    os.close(descriptor)


def hosts_file(step: op.HostsFile, points: MountPoints, dev: int) -> None:
    """Bind a file that is kept in /dev's memory and has no name there any more.

    An image whose file is a link into /proc, /sys or /dev (``/etc/resolv.conf -> /dev/null``) keeps it.

    Raises:
        SyscallFailed, OSError: it cannot be made, or bound.
    """
    point = points.file(step.target)
    if f"/{points.inside(point).partition('/')[0]}" in OWN:
        os.close(point)
        return
    with _generated(step.content, point, dev) as source:
        mounts.bind_at(source, point, _PROTECTED * step.read_only)


def proc_file(step: op.ProcFile, points: MountPoints, dev: int) -> None:
    """Like :func:`hosts_file`, over a file of /proc or /sys; where there is none, nothing is shown either.

    The monitor gets a descriptor of it, to keep it fresh.

    Raises:
        SyscallFailed, OSError: it cannot be made, or bound.
    """
    try:
        point = open_in_root(points.root, step.target, os.O_PATH)
    except SyscallFailed:
        return
    with _generated(step.content, point, dev) as source:
        file = os.open(source, os.O_WRONLY | os.O_CLOEXEC)
        mounts.bind_at(source, point, _PROTECTED)
        hand_over(Generated(step.target), file)
        os.close(file)


@contextmanager
def _generated(content: str, point: int, dev: int) -> Iterator[str]:
    """A file with this content, by a name that it has until it is bound to ``point``, which is closed then."""
    write(dev, _GENERATED, content)
    try:
        yield f"/proc/self/fd/{dev}/{name_in_dev(_GENERATED)}"
    finally:
        os.close(point)
    os.unlink(name_in_dev(_GENERATED), dir_fd=dev)
