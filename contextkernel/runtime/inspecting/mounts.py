"""What ``inspect`` says of volumes and mounts, in docker's shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from contextkernel.model.volumes import DRIVER

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.mounts import Mount


def host_config(spec: ContainerSpec) -> dict[str, Any]:
    """Its part of ``HostConfig``."""
    points = spec.mounts.points
    document: dict[str, Any] = {
        "Binds": [mount.text for mount in points if mount.origin == "volume"] or None,
        "ReadonlyRootfs": spec.read_only,
        "Tmpfs": {mount.target: mount.tmpfs for mount in points if mount.origin == "tmpfs"} or None,
        "VolumeDriver": spec.mounts.volume_driver,
        "VolumesFrom": list(spec.mounts.volumes_from) or None,
        "StorageOpt": None,
    }
    asked = [_asked(mount) for mount in points if mount.origin == "mount"]
    if asked:
        document["Mounts"] = asked
    return document


def _asked(mount: Mount) -> dict[str, Any]:
    """A value of ``--mount`` as docker keeps it."""
    out: dict[str, Any] = {"Type": mount.type}
    if mount.source and not mount.anonymous:
        out["Source"] = mount.source
    out["Target"] = mount.target
    if mount.read_only:
        out["ReadOnly"] = True
    if mount.consistency:
        out["Consistency"] = mount.consistency
    bind = {
        "Propagation": mount.propagation,
        "NonRecursive": mount.recursive == "disabled",
        "CreateMountpoint": mount.create_source,
        "ReadOnlyNonRecursive": mount.recursive == "writable",
        "ReadOnlyForceRecursive": mount.recursive == "readonly",
    }
    driver = {"Name": mount.driver, "Options": mount.options}
    volume = {"NoCopy": mount.no_copy, "Labels": mount.labels, "Subpath": mount.subpath}
    memory = {"SizeBytes": mount.size, "Mode": mount.permissions}
    if mount.type == "bind" and any(bind.values()):
        out["BindOptions"] = _set(bind)
    if mount.type == "volume" and any((*driver.values(), *volume.values())):
        out["VolumeOptions"] = {**_set(volume), "DriverConfig": _set(driver)}
    if mount.type == "tmpfs" and any(memory.values()):
        out["TmpfsOptions"] = _set(memory)
    return out


def _set(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}


def mounts(spec: ContainerSpec, directory: str) -> list[dict[str, Any]]:
    """``Mounts``.

    Args:
        spec: of the container.
        directory: of the container, which tells where the store is.
    """
    root = directory.rstrip("/").rsplit("/", 2)[0]
    return [
        _mount(mount, lambda name: f"{root}/volumes/{name}/_data")
        for mount in spec.mounts.points
        if mount.origin != "tmpfs"
    ]


def _mount(mount: Mount, volume_dir: Callable[[str], str]) -> dict[str, Any]:
    named = {"Name": mount.source} if mount.type == "volume" else {}
    source = volume_dir(mount.source) if mount.type == "volume" else mount.source
    return {
        "Type": mount.type,
        **named,
        "Source": source,
        "Destination": mount.target,
        **({"Driver": DRIVER} if named else {}),
        "Mode": mount.mode,
        "RW": not mount.read_only,
        "Propagation": (mount.propagation or "rprivate") if mount.type == "bind" else "",
    }


def volumes(spec: ContainerSpec, image_volumes: dict[str, Any] | None) -> dict[str, Any] | None:
    """``Config.Volumes``: the image's and those of ``-v /path``."""
    targets = {*(image_volumes or {}), *spec.mounts.anonymous}
    return {target: {} for target in sorted(targets)} or None
