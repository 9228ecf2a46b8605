"""What takes how much room, one by one: ``system df -v``."""

from __future__ import annotations

import msgspec

from contextkernel.model.cache import CacheRow
from contextkernel.model.results import ContainerRow, ImageRow
from contextkernel.model.serving import RegistryRow
from contextkernel.model.volumes import VolumeRow


class ImageUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The room of one image; an image with several names comes once for each, as in ``images``.

    Attributes:
        shared: bytes of its layers that another image has too.
        unique: bytes of the others: what its removal frees.
        containers: how many containers were made from it.
    """

    image: ImageRow
    shared: int
    unique: int
    containers: int


class DiskUsage(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; containers with what they have written, volumes and registries with the size of their files."""

    images: tuple[ImageUsage, ...]
    containers: tuple[ContainerRow, ...]
    volumes: tuple[VolumeRow, ...]
    cache: tuple[CacheRow, ...]
    registries: tuple[RegistryRow, ...] = ()


class Cleaned(msgspec.Struct, frozen=True, kw_only=True):
    """What ``system prune`` removed, and the bytes that this gave back.

    Attributes:
        containers, cache: ids.
        networks, volumes: names.
        images: docker's lines, ``Untagged: ...`` and ``Deleted: ...``.
    """

    containers: tuple[str, ...]
    networks: tuple[str, ...]
    volumes: tuple[str, ...]
    images: tuple[str, ...]
    cache: tuple[str, ...]
    freed: int
