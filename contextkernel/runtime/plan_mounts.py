"""The mounts that a user asked for, as set-up operations. Pure.

Outer targets come before inner ones, as docker orders them; ``tmpfs`` options follow docker's rules (moby,
daemon/oci_linux.go and volume/mounts).
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from contextkernel.errors import InvalidInput
from contextkernel.runtime import operations as op
from contextkernel.runtime.plan_security import nodev
from contextkernel.runtime.step_mounts import UserMount, step_mount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contextkernel.model.container import Bind, LaunchRequest
    from contextkernel.model.mounts import Mount
    from contextkernel.runtime.facts import HostFacts
    from contextkernel.runtime.operations import Operation

_TMPFS_FLAGS = {
    "ro": "ro",
    "rw": "",
    "nosuid": "nosuid",
    "suid": "",
    "noexec": "noexec",
    "exec": "",
    "nodev": "nodev",
    "dev": "",
    "noatime": "noatime",
    "atime": "",
    "relatime": "",
    "sync": "sync",
    "async": "",
    "nodiratime": "nodiratime",
}
_TMPFS_VALUES = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol")


def user_mounts(request: LaunchRequest, facts: HostFacts) -> list[UserMount]:
    """Binds, volumes, tmpfs and the mounts of a build step, outer targets before inner ones.

    Raises:
        InvalidInput: a mount target that is not possible, or an unknown tmpfs option.
    """
    closed = not facts.user_namespace and nodev(request, facts)
    mounts: list[UserMount] = [
        *(_bind(bind, nodev=closed) for bind in request.binds),
        *(plan_tmpfs(tmpfs.target, tmpfs.options) for tmpfs in request.tmpfs),
        *(_volume(mount, nodev=closed) for mount in request.volumes),
        *(step_mount(mount, mount_target(mount.target), request, facts) for mount in request.mounts),
    ]
    return sorted(mounts, key=lambda mount: mount.target.count("/"))


def without_tmpfs(operations: tuple[Operation, ...], request: LaunchRequest) -> tuple[Operation, ...]:
    """The same with directories beside the container's writable one, where no tmpfs can be mounted."""
    rooms = posixpath.join(posixpath.dirname(request.upper), "rooms")
    found: list[Operation] = []
    for step in operations:
        if isinstance(step, op.MountTmpfs):
            mode = next((word[5:] for word in step.options.split(",") if word.startswith("mode=")), "")
            source = posixpath.join(rooms, f"scratch-{len(found)}")
            found.append(op.MakeScratch(step.target, source, step.flags, mode))
        else:
            found.append(step)
    return tuple(found)


def kept_sources(mounts: list[UserMount]) -> Iterator[Operation]:
    """Sources whose mounts stay tied to the host's: they are taken before this mount namespace is cut off."""
    for mount in mounts:
        if isinstance(mount, op.BindMount) and mount.propagation:
            yield op.HoldSource(mount.source, mount.target, mount.propagation, mount.recursive)


def mount_target(text: str) -> str:
    """A mount target as a clean absolute path.

    Raises:
        InvalidInput: it is not absolute, is the root, or is in /proc.
    """
    path = posixpath.normpath(text)
    if not text.startswith("/") or path.lstrip("/") == "":
        raise InvalidInput(f"invalid mount target {text!r}", hint="an absolute path other than /")
    path = "/" + path.lstrip("/")
    if path.split("/")[1] == "proc":
        raise InvalidInput(f"invalid mount target {text!r}", hint="/proc belongs to the engine")
    return path


def plan_tmpfs(target: str, options: str) -> op.MountTmpfs:
    """Docker's defaults ``noexec,nosuid,nodev``, changed by the given options; ``dev`` is not granted.

    Raises:
        InvalidInput: an option that is none.
    """
    flags = dict.fromkeys(("nosuid", "nodev", "noexec"), True)
    values: dict[str, str] = {}
    for word in filter(None, options.split(",")):
        key, equals, value = word.partition("=")
        if equals and key in _TMPFS_VALUES:
            values[key] = value
        elif not equals and key in _TMPFS_FLAGS:
            if _TMPFS_FLAGS[key]:
                flags[key] = True
            elif key != "dev":
                flags.pop(f"no{key}" if key != "rw" else "ro", None)
        else:
            raise InvalidInput(
                f"invalid tmpfs option {word!r} for {target}",
                hint=f"flags such as exec, or {', '.join(f'{name}=' for name in _TMPFS_VALUES)}",
            )
    text = ",".join(f"{key}={value}" for key, value in values.items())
    return op.MountTmpfs(mount_target(target), tuple(flags), text)


def _bind(bind: Bind, *, nodev: bool) -> op.BindMount:
    return op.BindMount(bind.source, mount_target(bind.target), bind.read_only, nodev)


def _volume(mount: Mount, *, nodev: bool) -> UserMount:
    target = mount_target(mount.target)
    if mount.type == "tmpfs":
        words = [mount.tmpfs] if mount.tmpfs else []
        words += [f"size={mount.size}"] if mount.size else []
        words += [f"mode={mount.permissions:o}"] if mount.permissions else []
        words += ["ro"] if mount.read_only else []
        return plan_tmpfs(target, ",".join(words))
    if mount.device is not None:
        kind, device, options = mount.device
        return op.MountDevice(target, kind, device, options, mount.read_only, nodev)
    if mount.subpath:
        return op.BindCache(mount.source, target, mount.subpath, mount.read_only, nodev)
    propagation = mount.propagation if mount.propagation not in ("", "private", "rprivate") else ""
    return op.BindMount(
        mount.source,
        target,
        mount.read_only,
        nodev,
        recursive=mount.recursive != "disabled",
        read_only_below=mount.recursive != "writable",
        propagation=propagation,
    )
