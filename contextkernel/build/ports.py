"""What the builder needs of the store, as a protocol; the store's own class has all of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import IO, TYPE_CHECKING, Literal, Protocol

from contextkernel.errors import ContextKernelError
from contextkernel.model.digest import Digest
from contextkernel.model.failed import FailedStep
from contextkernel.model.layers import Layer, LayerFacts
from contextkernel.model.oci import ImageConfig
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker, Reporter
from contextkernel.model.reference import ImageRef
from contextkernel.model.room import Growth

if TYPE_CHECKING:
    from contextkernel.store.distribution import Distribution
    from contextkernel.store.extras import Extras
    from contextkernel.store.step_notes import StepNote, StepPlace
    from contextkernel.store.steps import StepRecord


class StepRoom(Protocol):
    """How much a step may write; see :class:`contextkernel.store.bound.Bound`."""

    def growth(self, directory: str) -> Growth | None:
        """How far a directory may grow; ``None``: as far as the disk goes."""
        ...

    def problem(self) -> ContextKernelError:
        """The error for a step that has outgrown its room."""
        ...


class BuildStore(Protocol):
    """Layers, images and the build cache; see :class:`contextkernel.store.Store` for the contract of each method."""

    def new_layer_dir(self) -> str:
        """A directory with empty ``diff/`` and ``work/``, this session's own."""
        ...

    def add_layer(self, directory: str, facts: LayerFacts, *, yields: bool = True) -> Layer:
        """Make a complete directory known; an equal layer that is already there wins, see ``Store``."""
        ...

    def discard_layer_dir(self, directory: str) -> None:
        """Give a directory up: it becomes trash."""
        ...

    def layer(self, diff_id: Digest) -> Layer:
        """The layer."""
        ...

    def has_layer(self, diff_id: Digest) -> bool:
        """Whether the layer is here."""
        ...

    def hold(self, diff_ids: Iterable[Digest], *, expected: bool = False) -> AbstractContextManager[None]:
        """Keep layers from being removed meanwhile; ``expected``: they may not be here yet."""
        ...

    def release(self, digests: Iterable[Digest]) -> None:
        """Give up this session's leases on layers it added: from now on they stay only if something refers to them."""
        ...

    def config(self, image: Digest) -> ImageConfig:
        """Configuration of an image."""
        ...

    def layers_of(self, image: Digest) -> tuple[Layer, ...]:
        """Layers of an image, base first."""
        ...

    def add_image(self, config: bytes, *, origin: str, names: Iterable[ImageRef] = ()) -> Digest:
        """Make an image known under ``names``, all at once."""
        ...

    def step(self, key: Digest) -> StepRecord | None:
        """What a step with this cache key led to."""
        ...

    def add_step(self, key: Digest, record: StepRecord) -> None:
        """Remember what a step led to."""
        ...

    def note_steps(self, notes: Iterable[StepNote]) -> None:
        """Note what a build asked the cache for and came to."""
        ...

    def earlier_step(self, place: StepPlace, *, anywhere: bool = True) -> tuple[str, bytes | None] | None:
        """Key and inputs of the step that most likely stood at ``place`` before."""
        ...

    def knows_step(self, key: Digest) -> bool:
        """Whether a step with this key was ever built here."""
        ...

    def step_listing(self, content: str) -> bytes | None:
        """The files of a copy with this content digest, as they were noted."""
        ...

    def file_digest(self, path: str, facts: os.stat_result) -> str | None:
        """Remembered content digest of a file that has not changed since."""
        ...

    def remember_file_digests(self, items: Iterable[tuple[str, os.stat_result, str]]) -> None:
        """Remember content digests."""
        ...

    def use_cache_mount(
        self,
        identity: str,
        id: str,
        sharing: Literal["shared", "private", "locked"],
        make: Callable[[str], None],
        waiting: Callable[[], None] | None = None,
    ) -> AbstractContextManager[str]:
        """The directory of a cache mount, made by ``make`` if none fits."""
        ...

    def keep_failed(self, step: FailedStep, directory: str) -> None:
        """Keep a failed step for a look."""
        ...

    def forget_failed(self, scope: str | None = None) -> int:
        """Let failed steps of a scope go."""
        ...

    @property
    def bound(self) -> StepRoom:
        """What the store takes and may take."""
        ...

    def temporary_path(self) -> str:
        """A path that goes when this session ends."""
        ...

    @property
    def root(self) -> str:
        """The directory of the store."""
        ...

    @property
    def distribution(self) -> Distribution:
        """What is known of packed layers."""
        ...

    def blob_path(self, digest: Digest) -> str:
        """Where a blob is, or would be."""
        ...

    def open_blob(self, digest: Digest, size: int | None = None) -> IO[bytes]:
        """A verifying reader of a blob."""
        ...

    def set_extras(self, image: Digest, extras: Extras) -> None:
        """Attestations and annotations that an image has when it leaves the store."""
        ...


class OwnerKeepingWorker(LayerWorker, Protocol):
    """A layer worker that is told what lies below a layer, and whose jobs can be stopped."""

    def cancel(self, thread: int) -> None:
        """Stop what a thread waits for: its call raises, and nothing works on its directories any more.

        Args:
            thread: as of ``threading.get_ident``; fine if it waits for nothing.
        """
        ...

    def commit(self, directory: str, *, lowers: Sequence[str] = ()) -> LayerFacts:
        """See ``ports.LayerWorker``.

        Args:
            directory: the layer's directory.
            lowers: ``diff`` directories below it, base first: what is the same there is left out. Where the host can
                store one id only, a file that was copied up has the owner that their indexes say.
        """
        ...


class LayoutResolver(Protocol):
    """Turns ``DIRECTORY[:TAG|@DIGEST]``, a directory in OCI image layout, into the id of an image in the store."""

    def __call__(self, layout: str, *, platform: Platform | None = None, report: Reporter | None = None) -> Digest:
        """Find the image and bring it into the store, without a name.

        Raises:
            ImageNotFound: no such directory, tag or digest. InvalidArchive: it is damaged.
        """
        ...


class BaseResolver(Protocol):
    """Turns a FROM reference into the id of an image in the store."""

    def __call__(
        self, ref: ImageRef, *, pull: bool, platform: Platform | None = None, report: Reporter | None = None
    ) -> Digest:
        """Find the image, fetching it where it is missing or ``pull`` asks for it.

        Raises:
            ImageNotFound: neither here nor in a registry.
        """
        ...
