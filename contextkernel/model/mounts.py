"""What a container is to see besides its image: volumes, files of the host, memory."""

from __future__ import annotations

from typing import Literal

import msgspec

MountType = Literal["bind", "volume", "tmpfs"]
Recursion = Literal["enabled", "disabled", "writable", "readonly"]
#: how a mount was asked for: ``-v``, ``--mount``, ``--tmpfs``, ``-v /path`` and VOLUME, ``--volumes-from``
Origin = Literal["volume", "mount", "tmpfs", "image", "container"]


class Mount(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One mount (``-v``, ``--mount``, ``--tmpfs``, VOLUME).

    Attributes:
        type: what is mounted.
        source: absolute path of the host, name of a volume, or empty. Of a launch: of a volume, its directory.
        target: absolute path inside, resolved inside the container's root.
        read_only: no writes.
        origin: how it was asked for.
        text: the value of ``-v`` as docker's ``HostConfig.Binds`` has it.
        mode: what ``Mounts`` of ``inspect`` shows as mode, such as ``ro,z``.
        anonymous: a volume that nobody gave a name.
        propagation: of a bind: ``rprivate`` (also if empty), ``private``, ``rslave``, ``slave``, ``rshared``,
            ``shared``.
        recursive: what happens to mounts below the source of a bind: ``disabled``: they are left out; ``writable``:
            they are not made read-only; ``readonly``: they are for sure.
        create_source: make a missing source directory.
        no_copy: a new volume does not get what the image has at ``target``.
        subpath: what of a volume is mounted, relative.
        driver: of a volume that does not exist yet; empty for ``local``.
        labels, options: of a volume that does not exist yet.
        size: of a tmpfs, in bytes; 0 for no limit.
        permissions: mode bits of a tmpfs; 0 for the default.
        tmpfs: options of ``--tmpfs``, as given.
        consistency: as given; without effect, as with docker on Linux.
        device: of a launch: kind, device and options of a volume that is a file system to be mounted.
    """

    type: MountType
    source: str = ""
    target: str
    read_only: bool = False
    origin: Origin = "mount"
    text: str = ""
    mode: str = ""
    anonymous: bool = False
    propagation: str = ""
    recursive: Recursion = "enabled"
    create_source: bool = False
    no_copy: bool = False
    subpath: str = ""
    driver: str = ""
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    size: int = 0
    permissions: int = 0
    tmpfs: str = ""
    consistency: str = ""
    device: tuple[str, str, str] | None = None


class Mounts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of a container's.

    Attributes:
        points: the mounts. Of a container: all of them, volumes by name; of a wish: those that were asked for by name.
        anonymous: targets of ``-v /path``.
        volumes_from: ``CONTAINER[:MODE]`` whose volumes are wanted too.
        volume_driver: for the volumes of ``-v`` and VOLUME.
    """

    points: tuple[Mount, ...] = ()
    anonymous: tuple[str, ...] = ()
    volumes_from: tuple[str, ...] = ()
    volume_driver: str = ""
