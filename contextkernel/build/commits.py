"""Finished layers are hashed while the next step runs; they are recorded in order, by the thread that builds."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from contextkernel.build.ports import BuildStore, OwnerKeepingWorker
from contextkernel.errors import StoreProblem
from contextkernel.layer.lowers import overlay_lowers
from contextkernel.model.digest import Digest
from contextkernel.model.layers import LayerFacts
from contextkernel.plan.image import MadeLayer
from contextkernel.plan.keys import chain

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from contextkernel.store.steps import StepRecord

KeyMaker = Callable[[Digest], Digest]
"""Makes a step's cache key of the identity of what is below it."""


class StackLayer(msgspec.Struct, frozen=True):
    """A layer of a stage that is known in full."""

    diff_id: Digest
    directory: str
    made: MadeLayer | None = None


class _Pending(msgspec.Struct):
    directory: str
    key: KeyMaker
    created: int
    facts: Future[LayerFacts]


class Stack(msgspec.Struct):
    """The layers of a stage so far: known ones, then ones that are still being hashed.

    Attributes:
        known: base first.
        pending: on top of them.
    """

    known: list[StackLayer] = msgspec.field(default_factory=list)
    pending: list[_Pending] = msgspec.field(default_factory=list)

    @property
    def lowers(self) -> tuple[str, ...]:
        """Overlay directories, base first."""
        return overlay_lowers(
            [*(layer.directory for layer in self.known), *(layer.directory for layer in self.pending)]
        )

    @property
    def identity(self) -> Digest:
        """Of the known layers, for cache keys."""
        return chain(layer.diff_id for layer in self.known)


class Committer:
    """Hashes layers in the background, one after the other.

    Use as a context manager; at its end nothing runs any more and what was not recorded is given up.

    Args:
        store: where layers and cache entries go.
        worker: does the hashing.
        record: makes a cache entry of a diff id and a time.

    Attributes:
        added: layers that were recorded; the store keeps them for this session until they are released.
        wakes: a descriptor that becomes readable when a layer has been hashed.
    """

    def __init__(
        self, store: BuildStore, worker: OwnerKeepingWorker, record: Callable[[Digest, int], StepRecord]
    ) -> None:
        self._store = store
        self._worker = worker
        self._record = record
        self._pool: ThreadPoolExecutor | None = None
        self._open: list[str] = []
        self.added: list[Digest] = []
        self.wakes, self._wake = os.pipe()
        os.set_blocking(self._wake, False)

    def __enter__(self) -> Committer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        os.close(self.wakes)
        os.close(self._wake)
        for directory in self._open:
            self.give_up(directory)

    def give_up(self, directory: str) -> None:
        """Let go of a directory that will not become a layer."""
        try:
            self._store.discard_layer_dir(directory)
        except StoreProblem:
            # the disk may be full, of just this; the end of the session does the rest
            self._worker.remove([directory])

    def submit(self, stack: Stack, directory: str, key: KeyMaker, created: int) -> None:
        """Put a finished layer directory on top of ``stack`` and begin to hash it."""
        self._open.append(directory)
        lowers = stack.lowers
        future = self._workshop().submit(lambda: self._worker.commit(directory, lowers=lowers))
        future.add_done_callback(self._ring)
        stack.pending.append(_Pending(directory, key, created, future))

    def _workshop(self) -> ThreadPoolExecutor:
        if self._pool is None:  # a build that finds all in the cache does without the import
            from concurrent.futures import ThreadPoolExecutor

            # one thread: where owners cannot be stored on the host, a layer is indexed with those below it at hand
            self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="commit")
        return self._pool

    def _ring(self, _future: object) -> None:
        try:
            os.write(self._wake, b"!")
        except OSError:  # full, or closed because the build is over: nobody has to be woken
            return

    def gather(self, stack: Stack, *, wait: bool = False, in_use: bool = False) -> None:
        """Record hashed layers of ``stack``, in order.

        Args:
            stack: whose pending layers become known.
            wait: for all of them.
            in_use: a step runs on top of them, so a directory must not give way to an equal layer in the store.
        """
        while stack.pending:
            first = stack.pending[0]
            if not wait and not first.facts.done():
                return
            facts = first.facts.result()
            if in_use and self._store.has_layer(facts.diff_id):
                return
            key = first.key(stack.identity)
            layer = self._store.add_layer(first.directory, facts)
            self._store.add_step(key, self._record(layer.diff_id, first.created))
            self._open.remove(first.directory)
            self.added.append(layer.diff_id)
            made = MadeLayer(layer.diff_id, first.created)
            stack.known.append(StackLayer(layer.diff_id, layer.directory, made))
            del stack.pending[0]
