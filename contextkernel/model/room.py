"""Room: what the store takes, what it may take, and how far one directory may grow."""

from __future__ import annotations

import msgspec

STORE_LIMIT_VARIABLE = "CONTEXTKERNEL_MAX_SIZE"
"""Environment variable: what the store may take (``5GB``, ``512MiB``, bytes); unset or ``0``: what the disk has."""


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """How far a directory may grow.

    Attributes:
        root: the store's directory: on its file system the room is.
        directory: absolute.
        size: bytes that it has now.
        most: bytes that it may have.
    """

    root: str
    directory: str
    size: int
    most: int


class StoreRoom(msgspec.Struct, frozen=True, kw_only=True):
    """What the store takes; bytes.

    Attributes:
        layers: of images and of the build cache, unpacked.
        blobs: configurations, and layers as they came.
        containers: what containers have written.
        volumes: what is in volumes.
        caches: of ``RUN --mount=type=cache``.
        registries: what was pushed to registries of the store's own.
        working: in the making, left by failed steps, or about to be removed.
        bound: what all of it may take; 0: whatever the disk has.
        free: what the file system has left for this user.
        disk: what the file system has in all.
    """

    layers: int = 0
    blobs: int = 0
    containers: int = 0
    volumes: int = 0
    caches: int = 0
    registries: int = 0
    working: int = 0
    bound: int = 0
    free: int = 0
    disk: int = 0

    @property
    def used(self) -> int:
        """All that it takes."""
        kept = self.layers + self.blobs + self.containers + self.volumes + self.caches + self.registries
        return kept + self.working

    @property
    def left(self) -> int:
        """What may still be written."""
        return self.free if not self.bound else max(0, min(self.bound - self.used, self.free))


def human_size(size: float, digits: int = 3) -> str:
    """``72776453`` bytes -> ``72.8MB``: decimal units, ``digits`` significant digits, no trailing zeros."""
    units = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
    unit = 0
    while size >= 1000 and unit < len(units) - 1:
        size /= 1000
        unit += 1
    return f"{size:.{digits}g}{units[unit]}"
