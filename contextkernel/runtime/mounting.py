"""From wishes about mounts to a container's mounts: whose volumes, which are new, and what a launch binds.

Docker's order (moby, daemon/volumes_unix.go and create_unix.go): what ``--volumes-from`` names, ``-v`` and ``--mount``
over it, then an anonymous volume for each VOLUME and ``-v /path`` at whose place nothing is yet.
"""

from __future__ import annotations

import os
import posixpath
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from contextkernel.errors import InvalidInput, VolumeNotFound
from contextkernel.model.box import BoxMount
from contextkernel.model.mounts import Mount, Mounts
from contextkernel.model.volumes import Volume, bound_directory, check_driver
from contextkernel.store.volumes import anonymous_volume

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec
    from contextkernel.store import Store


def resolve_mounts(
    wanted: Mounts, image_volumes: Mapping[str, object] | None, find: Callable[[str], ContainerSpec]
) -> tuple[Mounts, tuple[Volume, ...]]:
    """All mounts of a new container, and the volumes they need.

    Args:
        wanted: what was asked for.
        image_volumes: VOLUME of the image.
        find: the container of a name.

    Returns:
        The mounts, every volume with its name; and volumes to be made where there is none of the name.

    Raises:
        ContainerNotFound: of ``--volumes-from``.
    """
    points = {mount.target: mount for mount in _from_containers(wanted.volumes_from, find)}
    new: list[Volume] = []
    for mount in wanted.points:
        points.pop(mount.target, None)  # in the order of the wishes
        points[mount.target] = _named(mount, new)
    targets = {_clean(target) for target in (image_volumes or {})} | set(wanted.anonymous)
    for target in sorted(targets - set(points)):
        check_driver("volume", wanted.volume_driver)
        new.append(anonymous_volume())
        points[target] = Mount(type="volume", source=new[-1].name, target=target, origin="image", anonymous=True)
    return msgspec.structs.replace(wanted, points=tuple(points.values())), tuple(new)


def _clean(target: str) -> str:
    return posixpath.normpath(f"/{target}").replace("//", "/")


def _from_containers(words: Iterable[str], find: Callable[[str], ContainerSpec]) -> Iterable[Mount]:
    for word in words:
        name, _, modes = word.partition(":")
        for mount in find(name).mounts.points:
            if mount.type != "tmpfs":
                yield msgspec.structs.replace(
                    mount,
                    origin="container",
                    text="",
                    mode="",
                    no_copy=True,
                    read_only=mount.read_only or "ro" in modes.split(","),
                )


def _named(mount: Mount, new: list[Volume]) -> Mount:
    """A volume's mount with its name; what docker shows as mode where none was given."""
    if mount.type != "volume":
        return mount
    mode = mount.mode or "z"
    if not mount.source:
        volume = anonymous_volume()
        new.append(msgspec.structs.replace(volume, labels={**volume.labels, **mount.labels}, options=mount.options))
        return msgspec.structs.replace(mount, source=volume.name, anonymous=True, mode=mode)
    new.append(Volume(name=mount.source, created=time.time_ns(), labels=mount.labels, options=mount.options))
    return msgspec.structs.replace(mount, mode=mode)


def launch_mounts(mounts: Mounts, store: Store) -> tuple[Mount, ...]:
    """The mounts as a launch carries them out: volumes by directory or device. Missing sources of ``-v`` are made.

    Raises:
        VolumeNotFound: its directory is gone. InvalidInput: a source that is missing and cannot be made.
    """
    return tuple(_launched(mount, store) for mount in mounts.points)


def _launched(mount: Mount, store: Store) -> Mount:
    if mount.type == "volume":
        options = store.volume(mount.source).volume.options
        bound = bound_directory(options)
        if bound is not None:
            if not os.path.isdir(bound):
                raise InvalidInput(
                    f"error while mounting volume {mount.source}: {bound}: no such directory",
                    hint="make it, or remove the volume",
                )
            return msgspec.structs.replace(mount, source=bound)
        if options:
            device = (options["type"], options["device"], options.get("o", ""))
            return msgspec.structs.replace(mount, device=device)
        directory = store.volume_dir(mount.source)
        if not os.path.isdir(directory):
            raise VolumeNotFound(f"the directory of volume {mount.source} is gone: {directory}")
        return msgspec.structs.replace(mount, source=directory)
    if mount.type == "bind" and not os.path.exists(mount.source):
        if not mount.create_source:
            raise InvalidInput(
                f'invalid mount config for type "bind": bind source path does not exist: {mount.source}',
                hint="it was there when the container was created",
            )
        try:
            os.makedirs(mount.source, exist_ok=True)
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            raise InvalidInput(f"cannot make the directory {mount.source}: {reason}") from None
    return mount


def box_mounts(mounts: Mounts, store: Store) -> tuple[BoxMount, ...]:
    """The volumes and binds of a container that does not run, as far as they are there: what ``cp`` sees."""
    found = []
    for mount in mounts.points:
        source = mount.source
        if mount.type == "volume":
            try:
                options = store.volume(mount.source).volume.options
            except VolumeNotFound:
                continue
            source = _directory_of(mount.source, options, store)
        if mount.type != "tmpfs" and source and os.path.exists(source):
            found.append(BoxMount(source=source, target=mount.target, read_only=mount.read_only, subpath=mount.subpath))
    return tuple(found)


def to_populate(mount: Mount, layers: Iterable[str], store: Store) -> Mount | None:
    """A volume that gets what the image has at its place, with its directory as source; ``None``: it does not.

    It does if it is empty, and the image has anything there.

    Args:
        mount: of a volume.
        layers: ``diff`` directories of the image.
        store: where the volume is.
    """
    options = store.volume(mount.source).volume.options
    directory = _directory_of(mount.source, options, store)
    try:
        with os.scandir(directory) as listing:
            empty = next(listing, None) is None
    except OSError:  # a device, a directory that is gone or not to be looked into: the launch will say so
        return None
    return (
        msgspec.structs.replace(mount, source=directory) if empty and _may_exist(mount.target, tuple(layers)) else None
    )


def _directory_of(volume: str, options: dict[str, str], store: Store) -> str:
    """Where a volume's files are; empty for one that is a file system of its own."""
    return bound_directory(options) or ("" if options else store.volume_dir(volume))


def _may_exist(target: str, lowers: tuple[str, ...]) -> bool:
    """Whether an image may have something at ``target``; ``True`` if that takes more than a look."""
    here = ""
    for part in target.strip("/").split("/"):
        here = f"{here}/{part}"
        known = False
        for lower in lowers:
            try:
                mode = os.lstat(f"{lower}{here}").st_mode
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                return True
            if mode & 0o170000 != 0o040000:  # a link, or a whiteout
                return True
            known = True
        if not known:
            return False
    return True
