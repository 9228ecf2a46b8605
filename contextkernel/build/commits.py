"""Finished layers are hashed while the next step runs; they are recorded in order, by the thread that builds them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from contextkernel.build.board import Board, StackLayer
from contextkernel.build.ports import BuildStore, OwnerKeepingWorker
from contextkernel.errors import StoreProblem
from contextkernel.layer.lowers import overlay_lowers
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Layer, LayerFacts
from contextkernel.plan.image import MadeLayer
from contextkernel.plan.keys import chain

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from contextkernel.store.steps import StepRecord

KeyMaker = Callable[[Digest], Digest]
"""Makes a step's cache key of the identity of what is below it."""


class _Pending(msgspec.Struct):
    directory: str
    key: KeyMaker
    step: Digest
    number: int
    created: int
    facts: Future[LayerFacts]


class Stack:
    """The layers of a stage so far: known ones, then ones that are still being hashed. One thread works on it.

    Args:
        base: what the stage starts from, base first.

    Attributes:
        known: base first.
        pending: on top of them.
        parked: directory of a tree for the next RUN (``build/roots.py``); empty: there is none.
        parked_height: how many of the layers it has.
    """

    def __init__(self, base: Iterable[StackLayer]) -> None:
        self.known = list(base)
        self.pending: list[_Pending] = []
        self.parked = ""
        self.parked_height = 0
        self._wakes = self._wake = -1

    @property
    def directories(self) -> tuple[str, ...]:
        """Of all layers, base first."""
        return (*(layer.directory for layer in self.known), *(layer.directory for layer in self.pending))

    @property
    def lowers(self) -> tuple[str, ...]:
        """Overlay directories, base first."""
        return overlay_lowers(self.directories)

    @property
    def identity(self) -> Digest:
        """Of the known layers, for cache keys."""
        return chain(layer.diff_id for layer in self.known)

    @property
    def wakes(self) -> int:
        """A descriptor that becomes readable when a layer has been hashed."""
        if self._wakes < 0:
            self._wakes, self._wake = os.pipe()
            os.set_blocking(self._wake, False)
        return self._wakes

    def ring(self, _future: object) -> None:
        """Make :attr:`wakes` readable; any thread may."""
        try:
            if self._wake >= 0:
                os.write(self._wake, b"!")
        except OSError:  # full: it is readable
            return

    def close(self) -> None:
        """Nobody rings any more."""
        if self._wakes >= 0:
            os.close(self._wakes)
            os.close(self._wake)
            self._wakes = self._wake = -1


class Committer:
    """Hashes layers in the background; those of one stage one after the other.

    Use as a context manager; at its end nothing runs any more and what was not recorded is given up.

    Args:
        store: where layers and cache entries go.
        worker: does the hashing.
        record: makes a cache entry of a diff id and a time.
        board: is told what claimed steps led to.
        tell: gets number, layer and size in bytes of each step whose layer is known.
        jobs: how many layers are hashed at the same time.
        keep: keeps a layer until the build ends, whatever other builds of this process give up.

    Attributes:
        added: layers that were recorded; the store keeps them for this session until they are released.
    """

    def __init__(
        self,
        store: BuildStore,
        worker: OwnerKeepingWorker,
        record: Callable[[Digest, int], StepRecord],
        board: Board,
        tell: Callable[[int, Digest, int], None],
        *,
        jobs: int = 1,
        keep: Callable[[Digest], object],
    ) -> None:
        self._store = store
        self._keep = keep
        self._worker = worker
        self._record = record
        self._board = board
        self._tell = tell
        self._jobs = jobs
        self._pool: ThreadPoolExecutor | None = None
        self._open: list[str] = []
        self._stacks: list[Stack] = []
        self._recording = threading.Lock()
        self.added: list[Digest] = []

    def __enter__(self) -> Committer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        for stack in self._stacks:
            stack.close()
        for directory in self._open:
            self.give_up(directory)

    def stack(self, base: Iterable[StackLayer]) -> Stack:
        """A stack for a stage that starts from ``base``."""
        stack = Stack(base)
        self._stacks.append(stack)
        return stack

    def give_up(self, directory: str) -> None:
        """Let go of a directory that will not become a layer."""
        try:
            self._store.discard_layer_dir(directory)
        except StoreProblem:
            # the disk may be full, of just this; the end of the session does the rest
            self._worker.remove([directory])

    def remove_later(self, directory: str) -> None:
        """Give a directory up and remove it in the background: deleting ten thousand files takes its time."""
        self.give_up(directory)
        self._workshop().submit(self._worker.remove, [directory])

    def submit(
        self,
        stack: Stack,
        directory: str,
        key: KeyMaker,
        step: Digest,
        number: int,
        created: int,
        *,
        alone: bool = False,
    ) -> None:
        """Put a finished layer directory on top of ``stack`` and begin to hash it.

        Args:
            stack: of the stage.
            directory: what the step has left.
            key: makes its cache key.
            step: as it was claimed on the board.
            number: of the step, for the report.
            created: time of the step, nanoseconds since the epoch.
            alone: the layer stands on nothing, and has all of its entries (``COPY --link``).
        """
        self._open.append(directory)
        lowers = () if alone else stack.lowers
        below = stack.pending[-1].facts if stack.pending else None

        def commit() -> LayerFacts:
            # where owners cannot be stored on the host, a layer is indexed with those below it at hand. They were
            # submitted before, so their turn has come
            if below is not None:
                below.exception()
            return self._worker.commit(directory, lowers=lowers)

        future = self._workshop().submit(commit)
        future.add_done_callback(stack.ring)
        stack.pending.append(_Pending(directory, key, step, number, created, future))

    def _workshop(self) -> ThreadPoolExecutor:
        with self._recording:
            if self._pool is None:  # a build that finds all in the cache does without the import
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(max_workers=self._jobs, thread_name_prefix="commit")
            return self._pool

    def gather(self, stack: Stack, *, wait: bool = False, in_use: bool = False) -> None:
        """Record hashed layers of ``stack``, in order.

        Args:
            stack: whose pending layers become known.
            wait: for all of them.
            in_use: a step runs on top of them, so a directory must not give way to an equal layer in the store.
        """
        while stack.pending:
            first, *above = stack.pending
            if not wait and not first.facts.done():
                return
            facts = first.facts.result()
            # its directory can give way to an equal layer when nobody reads it: no step, and no hashing of those above
            read = in_use or not all(one.facts.done() for one in above)
            with self._recording:
                key = first.key(stack.identity)
                layer = self._added(first, facts, read=read)
                if layer is not None:
                    self.added.append(layer.diff_id)
                    made = StackLayer(layer.diff_id, layer.directory, MadeLayer(layer.diff_id, first.created))
                    self._board.record(first.step, made, [one.diff_id for one in (*stack.known, made)])
                    self._store.add_step(key, self._record(layer.diff_id, first.created))
                    self._open.remove(first.directory)
                    stack.known.append(made)
                    del stack.pending[0]
            if layer is not None:
                self._tell(first.number, layer.diff_id, facts.size)
            elif in_use or not wait:
                return
            else:
                for one in above:
                    one.facts.exception()

    def _added(self, pending: _Pending, facts: LayerFacts, *, read: bool) -> Layer | None:
        """Add a layer to the store; ``None`` if its directory would have to give way to an equal one, but is read."""
        if read and self._store.has_layer(facts.diff_id):
            return None
        self._keep(facts.diff_id)  # before it is there: nobody can take it away in between
        layer = self._store.add_layer(pending.directory, facts, yields=not read)
        # else somebody has added an equal one just now
        return layer if not read or layer.directory == pending.directory else None
