"""The foreign caches of one build: opened before its steps, written after them, shown as steps of their own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeAlias, assert_never, cast

import msgspec

from contextkernel.build.cache_transfer import (
    CacheWriter,
    ForeignCache,
    ImportedCache,
    RemoteCaches,
    export_cache,
    imported,
    inline_cache,
    inline_document,
    local_cache,
)
from contextkernel.build.explaining import AskedStep
from contextkernel.build.ports import BaseResolver, BuildStore
from contextkernel.build.reporting import BuildReport
from contextkernel.build.request import BuildRequest
from contextkernel.errors import ContextKernelError, ImageNotFound, InvalidInput
from contextkernel.model.cache_transport import (
    CacheSource,
    ImageCacheSource,
    InlineCacheTarget,
    LocalCacheSource,
    LocalCacheTarget,
    RegistryCacheTarget,
)
from contextkernel.model.digest import Digest
from contextkernel.model.ports import LayerWorker
from contextkernel.model.reference import ImageRef

if TYPE_CHECKING:
    from contextkernel.store.store import Store

_INLINE_ARGUMENT = "BUILDKIT_INLINE_CACHE"


CachePart: TypeAlias = tuple[Sequence[AskedStep], Sequence[Digest]]
"""What one platform adds to the cache: its steps, and the layers of its result."""


class CacheExchange:
    """What ``--cache-from`` and ``--cache-to`` ask for.

    Args:
        store: of the build.
        worker: renders and unpacks layers.
        request: what was asked for.
        report: of the build.
        resolve: finds images that have a cache in them.
        parts: of the platforms that are done, shared by all of them: their cache is one, written after the last.
        remote: caches in registries; ``None``: only images are looked at.
    """

    def __init__(
        self,
        store: BuildStore,
        worker: LayerWorker,
        request: BuildRequest,
        report: BuildReport,
        resolve: BaseResolver,
        parts: list[CachePart],
        remote: RemoteCaches | None = None,
    ) -> None:
        self._store = cast("Store", store)
        self._worker = worker
        self._request = request
        self._report = report
        self._resolve = resolve
        self._parts = parts
        self._remote = remote

    @property
    def inline(self) -> bool:
        """Whether the image is to have the cache in it."""
        asked = self._request.given_args.get(_INLINE_ARGUMENT, "")
        return asked.lower() in ("1", "t", "true") or any(
            isinstance(target, InlineCacheTarget) for target in self._request.cache_to
        )

    def open(self, stack: ExitStack) -> tuple[ForeignCache, ...]:
        """The caches of ``--cache-from``; one that cannot be used is a warning, as with BuildKit.

        Args:
            stack: what was brought in stays until it is closed.
        """
        if self._request.no_cache:
            return ()
        found = []
        for source in self._request.cache_from:
            with self._report.step(f"importing cache manifest from {_shown(source)}") as step:
                try:
                    cache = self._opened(source)
                except ContextKernelError as problem:
                    step.note(f"not imported: {problem.problem}")
                    self._report.warn(f"--cache-from {_shown(source)}: {problem.problem}")
                    continue
            stack.callback(cache.close)
            found.append(cache)
        return tuple(found)

    def _opened(self, source: CacheSource) -> ImportedCache:
        match source:
            case LocalCacheSource():
                return local_cache(self._store, self._worker, source, self._report.warn)
            case ImageCacheSource(ref=ref):
                found = self._remote.read(ref) if self._remote is not None and not self._here(ref) else None
                if found is not None:
                    return imported(self._store, self._worker, found, self._report.warn)
                image = self._resolve(ref, pull=False)
                return inline_cache(self._store, self._worker, self._store.config(image), self._report.warn)
            case _ as never:
                assert_never(never)

    def _here(self, ref: ImageRef) -> bool:
        """Whether the store has an image of this name: it is asked itself then, and no registry."""
        try:
            self._store.resolve(str(ref))
        except ImageNotFound:
            return False
        return True

    def write(self, asked: Sequence[AskedStep], layers: Sequence[Digest]) -> str | None:
        """Write the caches of ``--cache-to``, if this is the last platform.

        Args:
            asked: the steps of the build.
            layers: of the result.

        Returns:
            The cache for the configuration of the image, if it is wanted there.

        Raises:
            InvalidInput, RegistryProblem: a directory or registry refuses, and ``ignore-error`` is not set.
        """
        self._parts.append((asked, layers))
        last = len(self._parts) >= len(self._request.platforms)
        steps, image = joined(self._parts)
        for target in self._request.cache_to if last else ():
            if isinstance(target, InlineCacheTarget):
                continue
            local = isinstance(target, LocalCacheTarget)
            try:
                with self._report.step(f"exporting cache to {'client directory' if local else 'registry'}") as step:
                    step.note("preparing build cache for export")
                    writer = self._writer(target)
                    export_cache(self._store, self._worker, target, writer, steps, image, step.note)
            except ContextKernelError as problem:
                if not target.ignore_error:
                    raise
                name = target.dest if isinstance(target, LocalCacheTarget) else target.ref.familiar
                self._report.warn(f"--cache-to {name}: {problem.problem}")
        return inline_document(self._store, asked, layers) if self.inline else None

    def _writer(self, target: LocalCacheTarget | RegistryCacheTarget) -> CacheWriter:
        from contextkernel.store.cache_layout import CacheLayoutWriter

        if isinstance(target, LocalCacheTarget):
            return CacheLayoutWriter(target)
        if self._remote is None:
            raise InvalidInput(f"--cache-to {target.ref.familiar}: there is nobody here who speaks to registries")
        return self._remote.writer(target)


def joined(parts: Sequence[CachePart]) -> CachePart:
    """Several platforms' parts as one; a stage of one is another than that of the same number of the next."""
    steps: list[AskedStep] = []
    offset = 0
    for asked, _ in parts:
        steps += [msgspec.structs.replace(step, stage=step.stage + offset) for step in asked]
        offset += max((step.stage for step in asked), default=0) + 1
    return steps, list(dict.fromkeys(layer for _, layers in parts for layer in layers))


def _shown(source: CacheSource) -> str:
    return f"local:{source.src}" if isinstance(source, LocalCacheSource) else str(source.ref)
