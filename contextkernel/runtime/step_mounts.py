"""The mounts of a build step: from the request to set-up operations (pure), and how those are carried out.

What they show comes from elsewhere, so a link in a source is only ever followed inside of where it comes from; what
they are shown at is a mount point like any other, and taken away after the step if it had to be made.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias, assert_never

from contextkernel.errors import LaunchFailed, SyscallFailed
from contextkernel.linux import mount as mounts
from contextkernel.linux.openat2 import open_in_root
from contextkernel.model.step_mounts import CacheBind, LayerBind, SecretFile, SocketBind
from contextkernel.runtime import operations as op

if TYPE_CHECKING:
    from contextkernel.model.container import LaunchRequest
    from contextkernel.model.step_mounts import StepMount
    from contextkernel.runtime.facts import HostFacts
    from contextkernel.runtime.mountpoints import MountPoints

UserMount: TypeAlias = (
    op.BindMount | op.MountDevice | op.MountTmpfs | op.BindLayers | op.BindCache | op.BindSecret | op.BindSocket
)

_SECRET = mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV
_GENERATED = ".generated"


def step_mount(mount: StepMount, target: str, request: LaunchRequest, facts: HostFacts) -> UserMount:
    """The operation for one mount of ``request``.

    Args:
        mount: what was asked for.
        target: its place, checked.
        request: as a whole.
        facts: of this host.
    """
    nodev = not facts.user_namespace and not request.insecure
    lenient = request.fake_ids
    match mount:
        case LayerBind():
            return op.BindLayers(
                target, mount.lowers, mount.source, mount.room, mount.read_only, facts.user_namespace, nodev, lenient
            )
        case CacheBind():
            return op.BindCache(mount.source, target, mount.path, mount.read_only, nodev)
        case SecretFile():
            return op.BindSecret(target, mount.content, mount.mode, mount.uid, mount.gid, lenient)
        case SocketBind():
            return op.BindSocket(mount.source, target, mount.mode, mount.uid, mount.gid, lenient)
        case _ as never:
            assert_never(never)


def bind_layers(step: op.BindLayers, points: MountPoints) -> None:
    """Carry out :class:`~contextkernel.runtime.operations.BindLayers`.

    Raises:
        LaunchFailed: there is nothing at ``source``. SyscallFailed: the kernel refused.
    """
    view, empty, upper, work = (f"{step.room}/{name}" for name in ("view", "empty", "upper", "work"))
    for path in (view, empty, upper, work):
        os.mkdir(path, 0o755)
    writable = not step.read_only
    # overlay wants a lower directory in any case, and without a writable one it wants two
    lowers = step.lowers if len(step.lowers) > (not writable) else (empty, *step.lowers)
    if len(lowers) == 1 and not writable:
        view = empty
    else:
        if writable:  # its root is what the upper directory says
            root = os.stat(lowers[-1])
            _own(upper, root.st_uid, root.st_gid, root.st_mode & 0o7777, lenient=step.lenient)
        mounts.overlay(
            view,
            lowers=lowers,
            upper=upper if writable else "",
            work=work if writable else "",
            userxattr=step.userxattr,
            volatile=writable,
        )
    attributes = mounts.MOUNT_ATTR_RDONLY * step.read_only | mounts.MOUNT_ATTR_NODEV * step.nodev
    _bind_inside(view, step.source, step.target, attributes, points)


def bind_cache(step: op.BindCache, points: MountPoints) -> None:
    """Carry out :class:`~contextkernel.runtime.operations.BindCache`.

    Raises:
        LaunchFailed: there is nothing at ``path``. SyscallFailed: the kernel refused.
    """
    attributes = mounts.MOUNT_ATTR_RDONLY * step.read_only | mounts.MOUNT_ATTR_NODEV * step.nodev
    _bind_inside(step.source, step.path, step.target, attributes, points)


def bind_socket(step: op.BindSocket, points: MountPoints) -> None:
    """Carry out :class:`~contextkernel.runtime.operations.BindSocket`.

    Raises:
        SyscallFailed: the kernel refused.
    """
    _own(step.source, step.uid, step.gid, step.mode, lenient=step.lenient)
    point = points.wanted(step.target, directory=False)
    try:
        mounts.bind_at(step.source, point)
    finally:
        os.close(point)


def bind_secret(step: op.BindSecret, points: MountPoints, dev: int) -> None:
    """Carry out :class:`~contextkernel.runtime.operations.BindSecret`.

    Args:
        step: the operation.
        points: of the container.
        dev: descriptor of its /dev, memory in which the file is kept, without a name once it is mounted.

    Raises:
        SyscallFailed: the kernel refused.
    """
    here = f"/proc/self/fd/{dev}/{_GENERATED}"
    descriptor = os.open(_GENERATED, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=dev)
    try:
        rest = memoryview(step.content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        _own(here, step.uid, step.gid, step.mode, lenient=step.lenient)
        point = points.wanted(step.target, directory=False)
        try:
            noexec = 0 if step.mode & 0o111 else mounts.MOUNT_ATTR_NOEXEC
            mounts.bind_at(here, point, _SECRET | noexec)
        finally:
            os.close(point)
    finally:
        os.close(descriptor)
        os.unlink(_GENERATED, dir_fd=dev)


def _bind_inside(root: str, source: str, target: str, attributes: int, points: MountPoints) -> None:
    """Bind what ``source`` means inside of ``root``."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = open_in_root(directory, source)
    except SyscallFailed as failure:
        raise LaunchFailed(
            f"there is no {source!r} to mount at {target}", hint="check source= of the mount"
        ) from failure
    finally:
        os.close(directory)
    try:
        here = f"/proc/self/fd/{found}"
        point = points.wanted(target, directory=os.path.isdir(here))
        try:
            mounts.bind_at(here, point, attributes)
        finally:
            os.close(point)
    finally:
        os.close(found)


def _own(path: str, uid: int, gid: int, mode: int, *, lenient: bool) -> None:
    """Set owner and mode; ``lenient``: this host has one id only, which then owns it."""
    try:
        if (uid, gid) != (0, 0):
            os.chown(path, uid, gid)
    except OSError as problem:
        if not lenient:
            hint = "give this user more ids in /etc/subuid and /etc/subgid"
            raise SyscallFailed(f"chown to {uid}:{gid}", problem.errno or 0, path, hint) from problem
    os.chmod(path, mode)
