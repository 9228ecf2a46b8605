"""The part of the store about the build cache: steps with what they led to, and the directories of cache mounts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from contextkernel.model.cache import CacheFilter, CacheLimits

if TYPE_CHECKING:
    from contextkernel.model.cache import CachePruned, CacheRow
    from contextkernel.model.digest import Digest
    from contextkernel.store.cache_mounts import CacheMountRow, CacheMounts, Sharing
    from contextkernel.store.pruning import Pruning
    from contextkernel.store.step_notes import Notes, StepNote, StepPlace
    from contextkernel.store.steps import StepRecord, Steps


class CacheRecords:
    """What a store keeps of the build cache; see :class:`contextkernel.store.Store`."""

    _steps: Steps
    _notes: Notes
    _caches: CacheMounts
    _pruning: Pruning

    # ---- build cache

    def step(self, key: Digest) -> StepRecord | None:
        """What the build step with this cache key led to, or ``None``."""
        return self._steps.get(key)

    def add_step(self, key: Digest, record: StepRecord) -> None:
        """Remember what a build step led to; its layer is kept from then on.

        Raises:
            StoreProblem: the layer is not here.
        """
        self._steps.add(key, record)

    def note_steps(self, notes: Iterable[StepNote]) -> None:
        """Note what a build asked the cache for and came to; entries that were found count as used now."""
        self._notes.add(notes, time.time_ns())

    def earlier_step(self, place: StepPlace, *, anywhere: bool = True) -> tuple[str, bytes | None] | None:
        """Key and inputs of the step that most likely stood at ``place`` before; see ``Notes.earlier``."""
        return self._notes.earlier(place, anywhere=anywhere)

    def knows_step(self, key: Digest) -> bool:
        """Whether a step with this key was ever built here, even if its result is gone."""
        return self._notes.known(key)

    def step_listing(self, content: str) -> bytes | None:
        """The files of a copy with this content digest, as they were noted, or ``None``."""
        return self._notes.listing(content)

    def file_digest(self, path: str, facts: os.stat_result) -> str | None:
        """The remembered content digest of a file whose identity, size and times have not changed since."""
        return self._steps.file_digest(path, facts)

    def remember_file_digests(self, items: Iterable[tuple[str, os.stat_result, str]]) -> None:
        """Remember content digests of many files at once; files changed in the last two seconds are left out."""
        self._steps.remember(items)

    # ---- cache mounts

    def use_cache_mount(
        self,
        identity: str,
        id: str,
        sharing: Sharing,
        make: Callable[[str], None],
        waiting: Callable[[], None] | None = None,
    ) -> AbstractContextManager[str]:
        """The directory of a cache mount, this session's to use inside of a ``with`` block.

        ``shared`` may be used by many at once, ``private`` gets one that nobody else uses, ``locked`` waits until
        nobody else does; across threads, builds and processes.

        Args:
            identity: which directories fit.
            id: to show for it.
            sharing: see there.
            make: makes ``data`` with its content in an empty directory, if a new one is needed.
            waiting: called now and then while a lock is waited for; may raise to stop.

        Returns:
            Gives the absolute path.
        """
        return self._caches.use(identity, id, sharing, make, waiting)

    def cache_mounts(self) -> tuple[CacheMountRow, ...]:
        """The cache directories there are, last used first."""
        return self._caches.rows()

    def cache_mount_size(self, name: str) -> int:
        """Bytes of the files in a cache directory, as far as this user may look into it."""
        return self._caches.size(name)

    def remove_cache_mounts(self, names: Iterable[str]) -> tuple[str, ...]:
        """Forget cache directories that are not in use; they become trash.

        Args:
            names: from :meth:`cache_mounts`.

        Returns:
            The names of those that went.
        """
        return self._caches.remove(tuple(names))

    # ---- what it takes, and giving it up

    def cache_rows(self) -> tuple[CacheRow, ...]:
        """The entries of the build cache, least recently used first."""
        return self._pruning.rows()

    def private_cache_size(self) -> int:
        """Bytes of layers that nothing but the build cache keeps."""
        return self._pruning.private_size()

    def prune_cache(
        self,
        wanted: CacheFilter | None = None,
        limits: CacheLimits | None = None,
        *,
        shared: bool = False,
        others: Sequence[CacheRow] = (),
    ) -> CachePruned:
        """Remove entries of the build cache; their layers become trash unless something else needs them.

        Args:
            wanted: which may go; all by default.
            limits: what may stay; nothing by default.
            shared: also entries whose layer an image or container uses, which frees nothing.
            others: rows of what else belongs to the cache; see ``Pruning.prune``.
        """
        return self._pruning.prune(wanted or CacheFilter(), limits or CacheLimits(), shared=shared, others=others)
