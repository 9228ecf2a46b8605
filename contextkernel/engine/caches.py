"""Verbs of the build cache: what it holds, what of it goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from contextkernel.engine.composition import Composition
from contextkernel.model.room import STORE_LIMIT_VARIABLE

if TYPE_CHECKING:
    from contextkernel.model.cache import CacheFilter, CacheLimits, CachePruned, CacheRow

LIMIT_VARIABLE = "CONTEXTKERNEL_BUILD_CACHE"
"""Environment variable: how large the build cache may become (``20GB``); ``0`` for no limit."""
DEFAULT_LIMIT = 20 * 1000**3
"""Bytes; less where this is more than a quarter of the file system."""
_SHARE = 4
_MARGIN = 20
"""A twentieth of the disk, or of the store's bound, is kept free at the cost of cache, before a build or pull ..."""
_MOST_MARGIN = 1000**3
"""... but no more than this, in bytes."""


class Caches(Composition):
    """The build cache as something that takes room."""

    _evicted = 0

    def build_cache(self, wanted: CacheFilter | None = None) -> tuple[CacheRow, ...]:
        """The entries of the build cache, least recently used first; ``wanted`` limits them."""
        rows = sorted([*self._store.cache_rows(), *self._mount_rows()], key=lambda row: row.used)
        return tuple(row for row in rows if wanted is None or wanted.fits(row))

    def prune_build_cache(
        self, wanted: CacheFilter | None = None, limits: CacheLimits | None = None, *, all: bool = False
    ) -> CachePruned:
        """Remove entries of the build cache, least recently used first; never what an image, container or build uses.

        Args:
            wanted: which may go; default: every one.
            limits: what may stay; default: nothing.
            all: also entries whose layer an image or container has, which frees nothing.
        """
        self._sweep()
        pruned = self._prune(wanted, limits, all=all, mounts=self._mount_rows())
        self._empty_trash()
        return pruned

    def _mount_rows(self) -> tuple[CacheRow, ...]:
        """The directories of ``RUN --mount=type=cache``."""
        from datetime import UTC, datetime

        from contextkernel.model.cache import CacheRow

        return tuple(
            CacheRow(
                id=mount.name,
                type="exec.cachemount",
                description=f"cache mount {mount.id}",
                size=self._store.cache_mount_size(mount.name),
                created=datetime.fromtimestamp(mount.created / 1e9, UTC),
                used=datetime.fromtimestamp(mount.used / 1e9, UTC),
                reclaimable=not mount.in_use,
            )
            for mount in self._store.cache_mounts()
        )

    def _prune(
        self, wanted: CacheFilter | None, limits: CacheLimits | None, *, all: bool, mounts: Sequence[CacheRow]
    ) -> CachePruned:
        import msgspec

        pruned = self._store.prune_cache(wanted, limits, shared=all, others=mounts)
        names = [row.id for row in pruned.rows if row.type == "exec.cachemount"]
        kept = set(names) - set(self._store.remove_cache_mounts(names)) if names else set()
        if not kept:
            return pruned
        # somebody began to use them just now
        rows = tuple(row for row in pruned.rows if row.id not in kept)
        return msgspec.structs.replace(pruned, rows=rows, freed=sum(row.size for row in rows if not row.shared))

    def _make_room(self, size: int) -> None:
        from contextkernel.model.cache import CacheLimits

        self._empty_trash()
        if not size:
            return
        mounts = self._mount_rows()
        total = self._store.private_cache_size() + sum(row.size for row in mounts)
        limits = CacheLimits(max_used=total - size) if total > size else None
        self._evicted += self._prune(None, limits, all=False, mounts=mounts).freed
        self._empty_trash()

    def _keep_free(self) -> None:
        """Before something large is written: let unused cache go where the disk, or the bound, is nearly used up."""
        from contextkernel.errors import StoreProblem

        bound = self._store.bound
        try:
            left, whole = bound.disk()
            if bound.limit():
                room = bound.room()
                left, whole = room.left, room.bound
            wanted = min(whole // _MARGIN, _MOST_MARGIN)
            if left < wanted:
                self._make_room(wanted - left)
        except StoreProblem:
            return  # what follows says so

    def _tell_evicted(self) -> None:
        """Say once what had to give way."""
        size, self._evicted = self._evicted, 0
        if size:
            from contextkernel.model.room import human_size

            self._warn(f"{human_size(size)} of build cache that nothing uses was removed: the store was nearly full")

    def _bound_cache(self, limit: int) -> None:
        """Keep the build cache within ``limit`` bytes (0: any number); a look at the database if it is."""
        from contextkernel.errors import StoreProblem
        from contextkernel.model.cache import CacheLimits

        if not limit:
            return
        try:
            mounts = self._store.cache_mounts()
            if not mounts and self._store.private_cache_size() <= limit:
                return
            rows = self._mount_rows()
            if self._store.private_cache_size() + sum(row.size for row in rows) > limit:
                self._prune(None, CacheLimits(max_used=limit), all=False, mounts=rows)
        except StoreProblem:
            return  # the build has its result, or a problem of its own; the next one tries again


def cache_limit(root: str) -> int:
    """Bytes that the build cache of the store at ``root`` may have; 0 for no limit.

    By default 20GB, a quarter of the disk, or half of the store's bound, whichever is least.

    Raises:
        InvalidInput: the setting is no size.
    """
    from contextkernel.model.cache import parse_size

    chosen = os.environ.get(LIMIT_VARIABLE)
    if chosen:
        return parse_size(chosen)
    whole = os.environ.get(STORE_LIMIT_VARIABLE)
    most = min(DEFAULT_LIMIT, parse_size(whole) // 2) if whole and parse_size(whole) else DEFAULT_LIMIT
    try:
        disk = os.statvfs(root)
    except OSError:
        return most
    return min(most, disk.f_blocks * disk.f_frsize // _SHARE)
