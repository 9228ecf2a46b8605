"""Fetching the layers of an image: several at a time, unpacked while they arrive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from contextkernel.errors import DigestMismatch, InvalidArchive, RegistryProblem, SizeMismatch
from contextkernel.model import oci
from contextkernel.model.digest import Digest
from contextkernel.model.events import LayerPhase
from contextkernel.model.ports import LayerWorker
from contextkernel.registry.blob_stream import BlobStream
from contextkernel.registry.client import Repository
from contextkernel.store import Store
from contextkernel.store.arriving import Arrival
from contextkernel.store.side_by_side import News, side_by_side

_TELL = 0.1  # seconds between two pieces of news of a layer
_AT_ONCE = 3  # layers at a time, as docker: a registry is not asked for more, however many processors there are

#: what is told of a layer's blob: what it does, and its bytes that are here
Told: TypeAlias = tuple[oci.Descriptor, LayerPhase, int]


def fetch_layers(
    repository: Repository,
    store: Store,
    worker: LayerWorker,
    layers: Sequence[tuple[oci.Descriptor, Digest]],
    tell: Callable[[oci.Descriptor, LayerPhase, int], None],
    news: News[Told],
) -> int:
    """Have layers in the store, leased to this session.

    What has arrived stays in ``Store.downloads``: removing it is for the caller, who knows when all is there.

    Args:
        repository: has their blobs.
        store: where to.
        worker: unpacks.
        layers: blob and ``diff_id`` of each; the first ones are begun first.
        tell: hears of the progress, in this thread; may raise to stop all. What has arrived by then is kept for the
            next attempt.
        news: used by nothing else meanwhile. Its ``wait`` is how the repository's client should wait, so that nobody
            waits for a layer that is not needed any more.

    Returns:
        Bytes that were received.

    Raises:
        RegistryUnreachable, RegistryRefused, ImageNotFound: the registry's answers. DigestMismatch, SizeMismatch: it
        sent something else than promised. InvalidArchive: refused content.
    """
    wanted = {diff_id: packed for packed, diff_id in layers}
    fetches = [_Fetch(repository, store, worker, packed, diff_id) for diff_id, packed in wanted.items()]
    for waiting in fetches[_AT_ONCE:]:
        tell(waiting.packed, "waiting", 0)
    side_by_side(fetches, lambda event: tell(*event), _AT_ONCE, news)
    return sum(fetch.received for fetch in fetches)


class _Fetch:
    """One layer's job.

    Attributes:
        packed: its blob.
        received: bytes that came from the registry.
    """

    def __init__(
        self, repository: Repository, store: Store, worker: LayerWorker, packed: oci.Descriptor, diff_id: Digest
    ) -> None:
        self._repository = repository
        self._store = store
        self._worker = worker
        self.packed = packed
        self._diff_id = diff_id
        self.received = 0
        self._resumed = 0

    def __call__(self, news: News[Told]) -> None:
        """Do it; what it tells is news."""
        self._store.bound.admit(self.packed.size)
        try:
            self._arrive(news)
        except (DigestMismatch, SizeMismatch, InvalidArchive):
            if not self._resumed:
                raise
            self._arrive(news)  # what an earlier pull had left was damaged
        news.tell((self.packed, "complete", self.packed.size))

    def _arrive(self, news: News[Told]) -> None:
        told = float("-inf")

        def progress(phase: str, here: int) -> None:
            nonlocal told
            if phase == "extracting":
                for one in ("verifying", "downloaded", "extracting"):
                    news.tell((self.packed, one, here))
            elif (now := time.monotonic()) - told >= _TELL:
                told = now
                news.tell((self.packed, "downloading", here))

        arrival = Arrival(
            self._store, self._worker, self.packed, self._diff_id, check=news.wait, told=progress, keep=True
        )

        @contextmanager
        def ask(offset: int) -> Iterator[BlobStream]:
            with (
                news.ending(self._repository.abort),
                self._repository.blob(self.packed.digest, offset=offset) as stream,
            ):
                yield stream
                self.received += self.packed.size - offset

        def retrying(problem: RegistryProblem, seconds: float) -> None:
            del problem
            news.tell((self.packed, "retrying", max(1, round(seconds))))

        try:
            arrival.fetch(ask, _Patience(self._repository, retrying))
        finally:
            self._resumed = arrival.resumed


class _Patience:
    """Waits by the table of the repository's client; a connection that brings something is not held against it.

    Args:
        repository: the client.
        told: is told of each failure that is not final, and of the seconds that are waited.
    """

    def __init__(self, repository: Repository, told: Callable[[RegistryProblem, float], None]) -> None:
        self._told = told
        self._repository = repository
        self._failures = 0

    def __call__(self, problem: RegistryProblem, moved: bool) -> None:
        """See ``arriving.Patience``."""
        self._failures = 1 if moved else self._failures + 1
        tries = self._repository.tries
        seconds = tries.delay(problem, self._failures)
        if seconds is None:
            raise problem
        self._told(problem, seconds)
        tries.sleep(seconds)
