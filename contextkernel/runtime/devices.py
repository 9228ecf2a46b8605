"""The few device nodes of a container, none of which is the host's to change; and those that were asked for."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from contextkernel.errors import LaunchFailed, SyscallFailed
from contextkernel.linux import mount as mounts
from contextkernel.runtime.oci import DeviceNode

if TYPE_CHECKING:
    from contextkernel.model.container import LaunchRequest
    from contextkernel.runtime.mountpoints import MountPoints

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


#: what --privileged leaves out of /dev: a container has its own (containerd, pkg/oci: getDevices)
_OWN = ("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console")
_HIDDEN = ".device"  # a node's name in the container's /dev, until it is bound to its place


def host_devices(dev: int) -> None:
    """Make all of the host's devices in the container's /dev, those in its folders too; what is there already stays.

    Args:
        dev: descriptor of /dev, a tmpfs of the container's own.

    Raises:
        SyscallFailed, OSError: a node cannot be made, and the host's cannot be bound either.
    """
    for path, found in hosts():
        parent = os.path.dirname(path).removeprefix("/dev").strip("/")
        here = f"/proc/self/fd/{dev}/{parent}" if parent else f"/proc/self/fd/{dev}"
        os.makedirs(here, 0o755, exist_ok=True)
        node = f"{here}/{os.path.basename(path)}"
        if os.path.lexists(node):
            continue
        try:
            os.mknod(node, found.st_mode, found.st_rdev)
        except PermissionError:
            os.close(os.open(node, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            with suppress(SyscallFailed):  # one that this user may not see
                mounts.bind(path, node, recursive=False)
        else:
            os.chmod(node, stat.S_IMODE(found.st_mode))
            os.chown(node, found.st_uid, found.st_gid)


def add_device(points: MountPoints, dev: int, source: str, target: str) -> None:
    """Make a device of the host, or all in a folder, in the container.

    Args:
        points: of the container.
        dev: descriptor of its /dev.
        source: path on the host; a link is followed.
        target: path in the container.

    Raises:
        LaunchFailed: there is no device. SyscallFailed, OSError: it cannot be made, and the host's not be bound.
    """
    for path, status, place in _sources(source, target):
        _add(points, dev, path, status, place)


def hosts() -> Iterator[tuple[str, os.stat_result]]:
    """The host's devices that a privileged container gets."""
    return _below("/dev", skip=_OWN)


def found(source: str, target: str) -> Iterator[tuple[str, os.stat_result]]:
    """Where in the container which devices would be, for ``source`` of the host at ``target``.

    Raises:
        LaunchFailed: there is no device.
    """
    for _, status, place in _sources(source, target):
        yield place, status


def device_nodes(request: LaunchRequest) -> Iterator[DeviceNode]:
    """The devices that the container gets besides the standard ones, as they are on this host.

    Raises:
        LaunchFailed: one that was asked for is not there.
    """
    wanted: dict[str, os.stat_result] = {}
    if request.security.privileged:
        wanted.update(hosts())
    for device in request.security.devices:
        wanted.update(found(device.source, device.target))
    for path, status in wanted.items():
        yield DeviceNode(
            path=path,
            type="b" if stat.S_ISBLK(status.st_mode) else "c",
            major=os.major(status.st_rdev),
            minor=os.minor(status.st_rdev),
            file_mode=stat.S_IMODE(status.st_mode),
            uid=status.st_uid,
            gid=status.st_gid,
        )


def _sources(source: str, target: str) -> Iterator[tuple[str, os.stat_result, str]]:
    """Path on the host, status, and place in the container."""
    real = os.path.realpath(source)
    try:
        status = os.stat(real)
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise _no_device(source, reason) from None
    inside = list(_below(real)) if stat.S_ISDIR(status.st_mode) else []
    if _is_device(status):
        yield real, status, target
    elif not inside:
        raise _no_device(source, "not a device node")
    for path, one in inside:
        yield path, one, target + path.removeprefix(real)


def _no_device(source: str, reason: str) -> LaunchFailed:
    return LaunchFailed(
        f'error gathering device information while adding custom device "{source}": {reason}',
        hint="--device takes a device of this host, or a folder of devices",
    )


def _add(points: MountPoints, dev: int, path: str, found: os.stat_result, target: str) -> None:
    point = points.wanted(target, directory=False)
    try:
        try:
            os.mknod(_HIDDEN, found.st_mode, found.st_rdev, dir_fd=dev)
        except PermissionError:
            mounts.bind_at(path, point, mounts.MOUNT_ATTR_RDONLY)
            return
        try:
            os.chmod(_HIDDEN, stat.S_IMODE(found.st_mode), dir_fd=dev)
            os.chown(_HIDDEN, found.st_uid, found.st_gid, dir_fd=dev)
            mounts.bind_at(f"/proc/self/fd/{dev}/{_HIDDEN}", point, clear=mounts.MOUNT_ATTR_NODEV)
        finally:
            os.unlink(_HIDDEN, dir_fd=dev)
    finally:
        os.close(point)


def _below(directory: str, skip: Iterable[str] = ()) -> Iterator[tuple[str, os.stat_result]]:
    """Devices in ``directory``, at any depth, in order; links are not followed."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        path = os.path.join(directory, name)
        if name in skip:
            continue
        try:
            found = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISDIR(found.st_mode):
            yield from _below(path)
        elif _is_device(found):
            yield path, found


def _is_device(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode)


def reopen_null(descriptors: Iterable[int]) -> None:
    """Turn those that are the host's /dev/null into the container's: by descriptor, too, its mode could be changed.

    Args:
        descriptors: to look at; the process is inside of the container's root.
    """
    host = [number for number in descriptors if _device(number) == _NULL]
    if host:
        check_null()
        own = os.open("/dev/null", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        for number in host:
            os.dup2(own, number)
        os.close(own)


def _device(descriptor: int) -> int:
    found = os.fstat(descriptor)
    return found.st_rdev if stat.S_ISCHR(found.st_mode) else 0


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
