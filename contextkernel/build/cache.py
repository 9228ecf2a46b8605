"""The build cache as a build asks it: stage by stage, in order, until the first step that has to be done.

What counts is in :mod:`contextkernel.plan.keys`; what was found before is in the store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import msgspec

from contextkernel.build.commits import KeyMaker, Stack, StackLayer
from contextkernel.build.copying import ResolvedCopy
from contextkernel.build.ports import BuildStore
from contextkernel.model.digest import Digest
from contextkernel.plan import keys
from contextkernel.plan.image import MadeLayer
from contextkernel.plan.steps import CopyStep, LayerStep, RunStep, WorkdirStep


class CacheEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A step as the cache knows it.

    Attributes:
        step: that is to be done.
        key: makes its key of the identity of what is below it.
    """

    step: LayerStep
    key: KeyMaker


class BuildCache:
    """The cache of one build.

    Args:
        store: holds what earlier builds came to.
        keep: keeps a layer from being removed until the build ends; false if it is gone already.
        use: false for ``--no-cache``: nothing is looked up, everything is recorded.
    """

    def __init__(self, store: BuildStore, keep: Callable[[Digest], bool], *, use: bool = True) -> None:
        self._store = store
        self._keep = keep
        self._use = use

    def stage(self) -> StageCache:
        """The cache for one stage."""
        return StageCache(self, use=self._use)

    def look_up(self, key: Digest) -> StackLayer | None:
        """The layer that ``key`` led to before, if it is still there; it stays until the build ends."""
        record = self._store.step(key)
        if record is None or not self._keep(record.diff_id):
            return None
        directory = self._store.layer(record.diff_id).directory
        return StackLayer(record.diff_id, directory, MadeLayer(record.diff_id, record.created))


class StageCache:
    """What a stage asks; used by one thread."""

    def __init__(self, cache: BuildCache, *, use: bool) -> None:
        self._cache = cache
        self._use = use

    def entry(self, step: LayerStep, copy: ResolvedCopy | None) -> CacheEntry:
        """The step with its key.

        Args:
            step: the next one of the stage.
            copy: what was found for it, for a COPY or ADD.
        """
        return CacheEntry(step=step, key=_key_maker(step, copy))

    def find(self, entry: CacheEntry, stack: Stack) -> StackLayer | None:
        """The layer of an equal step on top of an equal stack.

        Once a step has to be done, those after it are done too: what they stand on is new.
        """
        if not self._use:
            return None
        found = self._cache.look_up(entry.key(stack.identity))
        self._use = found is not None
        return found


def _key_maker(step: LayerStep, copy: ResolvedCopy | None) -> KeyMaker:
    match step:
        case RunStep():
            return lambda parent: keys.run_key(step, parent)
        case CopyStep():
            content: Digest | None = copy.content if copy is not None else None
            assert content is not None  # noqa: S101 - every copy was resolved
            return lambda parent: keys.copy_key(step, parent, content)
        case WorkdirStep():
            return lambda parent: keys.workdir_key(step, parent)
        case _ as never:
            assert_never(never)
