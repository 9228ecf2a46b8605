"""The build cache as a build asks it: stage by stage, in order, until the first step that has to be done.

What counts is in :mod:`contextkernel.plan.keys`; what was found before is in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import assert_never

import msgspec

from contextkernel.build.board import StackLayer
from contextkernel.build.cache_transfer import ForeignCache
from contextkernel.build.commits import KeyMaker, Stack
from contextkernel.build.copying import ResolvedCopy
from contextkernel.build.explaining import Explainer, StageAccount, StepAccount
from contextkernel.build.ports import BuildStore
from contextkernel.model.digest import Digest
from contextkernel.plan import keys
from contextkernel.plan.image import MadeLayer
from contextkernel.plan.run_mounts import RunMount
from contextkernel.plan.steps import CopyStep, LayerStep, RunStep, WorkdirStep


class CacheEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A step as the cache knows it.

    Attributes:
        step: that is to be done.
        definition: makes its key of whatever stands for what is below it.
        key: the same of the identity of what is below it, and notes that its result is to be found under this key.
        account: what is kept of it for explanations.
    """

    step: LayerStep
    definition: KeyMaker
    key: KeyMaker
    account: StepAccount


class BuildCache:
    """The cache of one build.

    Args:
        store: holds what earlier builds came to.
        explainer: keeps account of what is asked.
        keep: keeps a layer from being removed until the build ends; false if it is gone already.
        without: positions of stages for which nothing is looked up (``--no-cache``, ``--no-cache-filter``);
            what they come to is recorded all the same.
        foreign: caches from elsewhere, asked in order for what the store does not have.
    """

    def __init__(
        self,
        store: BuildStore,
        explainer: Explainer,
        keep: Callable[[Digest], bool],
        *,
        without: Container[int] = frozenset(),
        foreign: Sequence[ForeignCache] = (),
    ) -> None:
        self._store = store
        self._explainer = explainer
        self._keep = keep
        self._without = without
        self._foreign = foreign

    def stage(self, index: int) -> StageCache:
        """The cache for the stage at a position."""
        return StageCache(self, self._explainer.stage(index), use=index not in self._without)

    def look_up(self, key: Digest) -> StackLayer | None:
        """The layer that ``key`` led to before, if it is still there; it stays until the build ends."""
        record = self._store.step(key)
        if record is None and any(cache.bring(key) for cache in self._foreign):
            record = self._store.step(key)
        if record is None or not self._keep(record.diff_id):
            return None
        directory = self._store.layer(record.diff_id).directory
        return StackLayer(record.diff_id, directory, MadeLayer(record.diff_id, record.created))


class StageCache:
    """What a stage asks; used by one thread."""

    def __init__(self, cache: BuildCache, account: StageAccount, *, use: bool) -> None:
        self._cache = cache
        self._account = account
        self._allowed = self._use = use

    def begin(self, stack: Stack) -> None:
        """Say what the stage starts from, before the first step."""
        self._account.begin(stack.identity)

    @property
    def allowed(self) -> bool:
        """Whether anything is looked up for this stage at all."""
        return self._allowed

    @property
    def active(self) -> bool:
        """Whether steps are looked up still."""
        return self._use

    def shared(self, entry: CacheEntry, stack: Stack) -> None:
        """A step that was not found is taken from an equal one of this build, on top of ``stack``: look on."""
        self._use = self._allowed
        entry.key(stack.identity)
        self._account.shared(entry.account)

    def entry(
        self, step: LayerStep, copy: ResolvedCopy | None, mounted: Mapping[RunMount, Digest] | None = None
    ) -> CacheEntry:
        """The step with its key.

        Args:
            step: the next one of the stage.
            copy: what was found for it, for a COPY or ADD.
            mounted: digests of what its mounts show from elsewhere, for a RUN.
        """
        account = self._account.step(step, copy, mounted)
        key = _key_maker(step, copy, mounted or {})

        def noted(parent: Digest) -> Digest:
            found = key(parent)
            self._account.asked(account, found, parent)
            return found

        return CacheEntry(step=step, definition=key, key=noted, account=account)

    def find(self, entry: CacheEntry, stack: Stack) -> StackLayer | None:
        """The layer of an equal step on top of an equal stack.

        Once a step has to be done, those after it are done too: what they stand on is new. It does not matter to a
        COPY --link.
        """
        linked = isinstance(entry.step, CopyStep) and entry.step.link
        if not self._allowed:
            self._account.unasked(entry.account)
            return None
        if not self._use and not linked:
            self._account.miss(entry.account, None)
            return None
        parent = stack.identity
        key = entry.key(parent)
        found = self._cache.look_up(key)
        if found is not None:
            self._account.hit(entry.account)
            return found
        self._use = False
        self._account.miss(entry.account, key)
        return None


def _key_maker(step: LayerStep, copy: ResolvedCopy | None, mounted: Mapping[RunMount, Digest]) -> KeyMaker:
    match step:
        case RunStep():
            return lambda parent: keys.run_key(step, parent, mounted)
        case CopyStep():
            content: Digest | None = copy.content if copy is not None else None
            assert content is not None  # noqa: S101 - every copy was resolved
            return lambda parent: keys.copy_key(step, parent, content)
        case WorkdirStep():
            return lambda parent: keys.workdir_key(step, parent)
        case _ as never:
            assert_never(never)
