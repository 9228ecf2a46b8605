"""Fetching the layers of an image: several at a time, unpacked while they arrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from contextkernel.errors import RegistryProblem
from contextkernel.model import oci
from contextkernel.model.digest import Digest
from contextkernel.model.ports import LayerWorker
from contextkernel.registry.client import Repository
from contextkernel.store import Store
from contextkernel.store.arriving import Arrival
from contextkernel.store.loading import at_once
from contextkernel.store.side_by_side import News, side_by_side

_TELL = 1 << 20  # bytes between two events of a layer

#: is told the layer's blob, and its bytes that are here
Tell = Callable[[oci.Descriptor, int], None]


def fetch_layers(
    repository: Repository,
    store: Store,
    worker: LayerWorker,
    layers: Sequence[tuple[oci.Descriptor, Digest]],
    tell: Tell,
    news: News[tuple[oci.Descriptor, int]],
) -> None:
    """Have layers in the store, leased to this session.

    Args:
        repository: has their blobs.
        store: where to.
        worker: unpacks.
        layers: blob and ``diff_id`` of each; the first ones are begun first.
        tell: hears of the progress, in this thread; may raise to stop all. What has arrived by then is kept for the
            next attempt.
        news: used by nothing else meanwhile. Its ``wait`` is how the repository's client should wait, so that nobody
            waits for a layer that is not needed any more.

    Raises:
        RegistryUnreachable, RegistryRefused, ImageNotFound: the registry's answers. DigestMismatch, SizeMismatch: it
        sent something else than promised. InvalidArchive: refused content.
    """
    wanted = {diff_id: packed for packed, diff_id in layers}
    jobs = [partial(_fetch, repository, store, worker, packed, diff_id) for diff_id, packed in wanted.items()]
    side_by_side(jobs, lambda event: tell(*event), at_once(), news)


def _fetch(
    repository: Repository,
    store: Store,
    worker: LayerWorker,
    packed: oci.Descriptor,
    diff_id: Digest,
    news: News[tuple[oci.Descriptor, int]],
) -> None:
    told = 0

    def progress(_phase: str, here: int) -> None:
        nonlocal told
        if here - told >= _TELL:
            told = here
            news.tell((packed, here))

    news.tell((packed, 0))
    arrival = Arrival(store, worker, packed, diff_id, check=news.wait, told=progress)
    arrival.fetch(lambda offset: repository.blob(packed.digest, offset=offset), _Patience(repository))
    news.tell((packed, packed.size))


class _Patience:
    """Waits by the table of the repository's client; a connection that brings something is not held against it.

    Args:
        repository: the client.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._failures = 0

    def __call__(self, problem: RegistryProblem, moved: bool) -> None:
        """See ``arriving.Patience``."""
        self._failures = 1 if moved else self._failures + 1
        tries = self._repository.tries
        seconds = tries.delay(problem, self._failures)
        if seconds is None:
            raise problem
        if self._repository.told is not None:
            self._repository.told(problem, seconds)
        tries.sleep(seconds)
