"""Binds and volumes, carried out: how their mounts stay tied to the host's, and what goes wrong in docker's words."""

from __future__ import annotations

import errno
import os
import stat

from contextkernel.errors import LaunchFailed, SyscallFailed
from contextkernel.linux import mount as mounts
from contextkernel.runtime import operations as op
from contextkernel.runtime.mountpoints import MountPoints

#: words of mount options, by mount(8)
FLAGS = {
    "ro": mounts.MS_RDONLY,
    "nosuid": mounts.MS_NOSUID,
    "nodev": mounts.MS_NODEV,
    "noexec": mounts.MS_NOEXEC,
    "noatime": mounts.MS_NOATIME,
    "nodiratime": mounts.MS_NODIRATIME,
    "relatime": mounts.MS_RELATIME,
    "strictatime": mounts.MS_STRICTATIME,
    "sync": mounts.MS_SYNCHRONOUS,
}
_HARMLESS = frozenset((3, 5, 7, 8, 9))  # null, zero, full, random, urandom (Documentation/admin-guide/devices.txt)
_WITHOUT_EFFECT = frozenset(("rw", "suid", "dev", "exec", "async", "atime", "diratime", "defaults"))


def hold_source(step: op.HoldSource) -> int:
    """Carry out :class:`~contextkernel.runtime.operations.HoldSource`; the mount, at no place yet.

    Raises:
        LaunchFailed: the source's mount is not shared. SyscallFailed: the kernel refused.
    """
    kind = step.propagation.removeprefix("r")
    point, tags = _mount_of(step.source)
    if kind == "shared" and not any(tag.startswith("shared:") for tag in tags):
        problem = f"path {step.source} is mounted on {point} but it is not a shared mount"
        raise LaunchFailed(problem, hint=f"mount --make-shared {point}, where this engine's namespace is the host's")
    if kind == "slave" and not tags:
        problem = f"path {step.source} is mounted on {point} but it is not a shared or slave mount"
        raise LaunchFailed(problem, hint=f"mount --make-shared {point}, before this engine starts")
    tree = mounts.clone_tree(step.source, recursive=step.recursive)
    change = mounts.MS_SHARED if kind == "shared" else mounts.MS_SLAVE
    mounts.mount_setattr("", directory=tree, propagation=change, recursive=step.propagation.startswith("r"))
    return tree


def _mount_of(source: str) -> tuple[str, tuple[str, ...]]:
    """The mount point that ``source`` is below, and its ``shared:N`` and ``master:N`` (proc_pid_mountinfo(5))."""
    path = os.path.realpath(source)
    best, tags = "", tuple[str, ...]()
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            words = [_unescaped(word) for word in line.split()]
            point = words[4]
            inside = path == point or path.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= len(best):  # a later one lies above an earlier one
                best = point
                tags = tuple(word for word in words[6 : words.index("-")] if word.startswith(("shared:", "master:")))
    return best, tags


def _unescaped(word: bytes) -> str:
    for character in (b" ", b"\t", b"\n", b"\\"):
        word = word.replace(b"\\%03o" % ord(character), character)
    return os.fsdecode(word)


def bind_mount(step: op.BindMount, points: MountPoints, held: int) -> None:
    """Carry out :class:`~contextkernel.runtime.operations.BindMount`.

    Args:
        step: the operation.
        points: of the container.
        held: descriptor of a mount that was taken before, which is closed; else -1.

    Raises:
        LaunchFailed: the source is gone, or a directory meets a file. SyscallFailed: the kernel refused.
    """
    try:
        tree = held if held >= 0 else mounts.clone_tree(step.source, recursive=step.recursive)
        try:
            here = f"/proc/self/fd/{tree}"
            directory = os.path.isdir(here)
            nodev = step.nodev and not _for_everybody(here)
            attributes = mounts.MOUNT_ATTR_RDONLY * step.read_only | mounts.MOUNT_ATTR_NODEV * nodev
            point = points.at(step.target, directory=directory)
            try:
                _check_kinds(step, point, directory=directory)
                if attributes:
                    mounts.mount_setattr("", directory=tree, set_attributes=attributes, recursive=step.read_only_below)
                mounts.attach(tree, point)
            finally:
                os.close(point)
        finally:
            os.close(tree)
    except SyscallFailed as failure:
        if failure.number in (errno.ENOTDIR, errno.EISDIR):
            raise _mixed(step) from failure
        raise SyscallFailed(failure.call, failure.number, f"{step.source} at {step.target}") from failure


def _for_everybody(path: str) -> bool:
    """Whether it is a device that every container may open, as in ``-v /dev/null:/etc/motd``."""
    found = os.stat(path)
    return stat.S_ISCHR(found.st_mode) and os.major(found.st_rdev) == 1 and os.minor(found.st_rdev) in _HARMLESS


def _check_kinds(step: op.BindMount, point: int, *, directory: bool) -> None:
    if os.path.isdir(f"/proc/self/fd/{point}") != directory:
        raise _mixed(step)


def _mixed(step: op.BindMount) -> LaunchFailed:
    return LaunchFailed(
        f"error mounting {step.source!r} to rootfs at {step.target!r}: not a directory",
        hint="are you trying to mount a directory onto a file (or vice versa)? Check that the host path is what it is "
        "meant to be",
    )


def mount_device(step: op.MountDevice, points: MountPoints) -> None:
    """Carry out :class:`~contextkernel.runtime.operations.MountDevice`.

    Raises:
        LaunchFailed: the kernel refused, as it does for most kinds in a user namespace.
    """
    flags, data = mounts.MS_NODEV * step.nodev, []
    for word in filter(None, step.options.split(",")):
        if word in FLAGS:
            flags |= FLAGS[word]
        elif word not in _WITHOUT_EFFECT:
            data.append(word)
    flags |= mounts.MS_RDONLY * step.read_only
    point = points.at(step.target)
    try:
        mounts.mount(step.device, f"/proc/self/fd/{point}", step.kind, flags, ",".join(data))
    except SyscallFailed as failure:
        raise LaunchFailed(
            f"failed to mount local volume: mount {step.device}:{step.target}, data: {step.options}: "
            f"{os.strerror(failure.number).lower()}",
            hint="in a user namespace only tmpfs and binds can be mounted"
            if failure.number == errno.EPERM
            else "check the volume's options: volume inspect",
        ) from failure
    finally:
        os.close(point)
