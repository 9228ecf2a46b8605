"""The store as its users see it: one object, whose methods hand the work to the modules of this package."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import IO, Any

from contextkernel.errors import StoreFull, StoreProblem
from contextkernel.model.builds import BuildLog, BuildRow, BuildStepRow
from contextkernel.model.cache import CacheFilter, CacheLimits, CachePruned, CacheRow
from contextkernel.model.digest import Digest
from contextkernel.model.failed import FailedStep
from contextkernel.model.layers import Layer, LayerFacts
from contextkernel.model.oci import ImageConfig
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.model.results import CheckFinding, CompareRow, HistoryRow, ImageRow, Pruned
from contextkernel.store.blobs import Blobs, Readable
from contextkernel.store.bound import Bound
from contextkernel.store.builds import Builds, StepEntry
from contextkernel.store.cache_mounts import CacheMountRow, CacheMounts, Sharing
from contextkernel.store.container_records import ContainerRecords
from contextkernel.store.containers import Containers
from contextkernel.store.database import Database
from contextkernel.store.distribution import Distribution
from contextkernel.store.downloads import Downloads
from contextkernel.store.extras import Extras, ImageExtras
from contextkernel.store.failed import FailedSteps
from contextkernel.store.images import Images
from contextkernel.store.layers import Layers
from contextkernel.store.networks import Networks
from contextkernel.store.paths import Paths, default_root
from contextkernel.store.pruning import Pruning
from contextkernel.store.sessions import Session
from contextkernel.store.step_notes import Notes, StepNote, StepPlace
from contextkernel.store.steps import StepRecord, Steps
from contextkernel.store.sweep import Sweeper
from contextkernel.store.usage import ImageSizes
from contextkernel.store.volumes import Volumes


class Store(ContainerRecords):
    """Everything that is kept: blobs, unpacked layers, images, containers, the build cache.

    Several threads, and several processes at once, may use one store. Every method either does all of its work or
    none; what was acknowledged survives a ``kill -9`` at any moment, and what a killed process left over is cleaned
    up when the store is next opened. A ``Store`` may be used after ``os.fork`` in parent and child.

    All methods raise StoreFull when there is no space left, StoreProblem when the file system or the
    database refuse.
    """

    def __init__(self, paths: Paths) -> None:
        """Use :meth:`open`."""
        self._paths = paths
        self._database = Database(paths.database, paths.root)
        self._session = Session(paths)
        self._sweeper = Sweeper(paths, self._database, self._session)
        self.bound = Bound(paths, self._database)
        self._blobs = Blobs(paths, self._database, self._session, self.bound)
        self._layers = Layers(paths, self._database, self._session, self._sweeper, self.bound)
        self._images = Images(paths, self._database, self._session, self._blobs, self._layers, self._sweeper)
        self._extras = ImageExtras(self._database, self._session, self._blobs)
        self._steps = Steps(self._database, self._session)
        self._notes = Notes(self._database)
        self._pruning = Pruning(paths, self._database)
        self.bound.reclaimable = self._pruning.reclaimable_size
        self._builds = Builds(self._database, self._session)
        self._caches = CacheMounts(paths, self._database, self._session)
        self._failed = FailedSteps(paths, self._database, self._session)
        self._volumes = Volumes(paths, self._database, self._session)
        self._containers = Containers(paths, self._database, self._session, self._volumes)
        self.networks = Networks(self._database)
        self.sizes = ImageSizes(self._database)
        self.distribution = Distribution(self._database)
        self.downloads = Downloads(paths)

    # ---- life

    @classmethod
    def open(cls, root: str | os.PathLike[str] | None = None) -> Store:
        """Open the store at ``root``, making it if need be, and clean up after processes that were killed.

        Args:
            root: directory; by default ``$CONTEXTKERNEL_ROOT``, else ``/var/lib/contextkernel`` for root, else
                the platform's data directory of the user.

        Raises:
            StoreTooNew: a newer version of this package made it; nothing was changed.
            StoreProblem: it cannot be made or opened.
        """
        store = cls(Paths(os.path.abspath(os.fspath(root)) if root is not None else default_root()))
        try:
            store._paths.make()
            try:
                store._start()
            except StoreFull:  # by now the reserve has been given up, and what dead processes left behind may go
                store._database.close()
                store._start()
        except BaseException:
            store._database.close()
            raise
        return store

    def _start(self) -> None:
        self._database.prepare()
        self._sweeper.recover()

    @property
    def root(self) -> str:
        """The directory of the store, absolute."""
        return self._paths.root

    def close(self) -> None:
        """End the session: what was leased by it and is used by nothing is given up. Idempotent.

        Never fails: what cannot be given up now is cleaned up when the store is next opened.
        """
        try:
            self._sweeper.end_session()
        except StoreProblem:
            self._session.abandon()
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.close()

    # ---- layers

    def new_layer_dir(self) -> str:
        """Make a layer directory with empty ``diff/`` and ``work/``, owned by this session until it is added.

        Returns:
            Its absolute path.
        """
        return self._layers.new_directory()

    def add_layer(
        self,
        directory: str,
        facts: LayerFacts,
        *,
        blob: Digest | None = None,
        media_type: str = "",
        yields: bool = True,
    ) -> Layer:
        """Make a complete layer directory known.

        A layer with the same ``diff_id`` that is already there wins, and ``directory`` becomes trash. The layer is
        leased to this session until an image or a build step refers to it, so that nobody removes it meanwhile.

        Args:
            directory: from :meth:`new_layer_dir`, with ``diff/`` and ``index`` complete.
            facts: what the layer worker found.
            blob: the original blob to keep for it, already written.
            media_type: of the blob.
            yields: whether ``directory`` becomes trash where there is an equal layer; else it stays the caller's.

        Raises:
            StoreProblem: the directory is not one of this store, or incomplete, or the blob is missing.
        """
        return self._layers.add(directory, facts, blob, media_type, yields=yields)

    def discard_layer_dir(self, directory: str) -> None:
        """Give up a directory from :meth:`new_layer_dir` that will not be added: it becomes trash."""
        self._layers.discard(directory)

    def layer(self, diff_id: Digest) -> Layer:
        """The layer.

        Raises:
            StoreProblem: it is not here.
        """
        return self._layers.get(diff_id)

    def has_layer(self, diff_id: Digest) -> bool:
        """Whether the layer is here."""
        return self._layers.find(diff_id) is not None

    def hold(self, diff_ids: Iterable[Digest], *, expected: bool = False) -> AbstractContextManager[None]:
        """Keep layers from being removed while a ``with`` block works on them; ``expected``: they may still be to come.

        Raises:
            StoreProblem: one of them is not here.
        """
        return self._layers.hold(diff_ids, expected=expected)

    def expect(self, layers: Iterable[Digest] = (), blobs: Iterable[Digest] = ()) -> AbstractContextManager[None]:
        """Keep layers and blobs that are here, or will come, from being removed while a ``with`` block brings them in.

        Whatever others of this process begin, end or give up meanwhile; what nothing refers to afterwards is removed.
        """
        return self._layers.expect(layers, blobs)

    def release(self, digests: Iterable[Digest]) -> None:
        """Give up this session's leases on layers and blobs after a failure; what nothing uses is removed."""
        self._layers.release(digests)

    # ---- blobs

    def write_blob(self, content: bytes | Readable, expected: Digest | None = None, size: int | None = None) -> Digest:
        """Write a blob, verifying it on the way; it appears under its digest complete or not at all.

        Args:
            content: bytes, or an object with ``read(n)``.
            expected: the digest it must have.
            size: the number of bytes it must have; reading stops as soon as there are more.

        Raises:
            DigestMismatch, SizeMismatch: nothing was stored.
        """
        return self._blobs.write(content, expected, size)

    def adopt_blob(self, path: str, digest: Digest) -> None:
        """Move a file of the store, whose content was verified, to where blobs are."""
        self._blobs.adopt(path, digest)

    def drop_blob(self, digest: Digest) -> None:
        """Remove a blob that this session wrote and that turned out not to be needed; kept if anything refers to it."""
        self._blobs.drop(digest)

    def open_blob(self, digest: Digest, size: int | None = None) -> IO[bytes]:
        """A reader that verifies: reading to the end of a damaged blob raises.

        Raises:
            StoreProblem: there is no such blob. DigestMismatch, SizeMismatch: while reading.
        """
        return self._blobs.open(digest, size)

    def has_blob(self, digest: Digest) -> bool:
        """Whether there is a blob of that digest."""
        return os.path.exists(self._paths.blob(digest))

    def blob_path(self, digest: Digest) -> str:
        """Where the blob is, or would be."""
        return self._paths.blob(digest)

    def temporary_path(self) -> str:
        """A path for a file or directory that goes when this session ends, however it ends."""
        return self._paths.temporary(self._session.id)

    # ---- images

    def add_image(self, config: bytes, *, origin: str, names: Iterable[ImageRef] = ()) -> Digest:
        """Make an image known under ``names``; all its layers must be here.

        Args:
            config: the configuration document; its digest is the image's id.
            origin: ``build``, ``pull``, ``load``, ``import`` or ``stand-in: ...``; an image that is already here
                keeps its own.
            names: tags to set, and ``name@digest`` references to remember as repository digests.

        Raises:
            StoreProblem: a layer is missing. InvalidInput: not an image configuration.
        """
        return self._images.add(config, origin, names)

    def config(self, image: Digest) -> ImageConfig:
        """The configuration of an image.

        Raises:
            ImageNotFound: no such image. DigestMismatch: the document was damaged.
        """
        return self._images.config(image)

    def config_bytes(self, image: Digest) -> bytes:
        """The configuration document as it was stored; see :meth:`config`."""
        return self._images.config_bytes(image)

    def resolve(self, text: str) -> Digest:
        """The image that ``text`` names: a tag, ``name@digest``, an id or a unique part of one from its start.

        Raises:
            ImageNotFound: with names that are near. InvalidReference: it can be no name.
            InvalidInput: more than one id starts so.
        """
        return self._images.resolve(text)

    def for_platform(self, ref: ImageRef, platform: Platform) -> Digest:
        """The image that ``ref`` names, if it is for ``platform``; else the one of this platform beside it.

        Raises:
            ImageNotFound: there is none, or it is for another platform; the message says for which.
        """
        return self._images.for_platform(ref, platform)

    def remember_platform(self, ref: ImageRef, platform: Platform, image: Digest) -> None:
        """Let ``ref`` stand for ``image`` where ``platform`` is asked for; the tag stays what it is.

        Raises:
            ImageNotFound: no such image.
        """
        self._images.remember_platform(ref, platform, image)

    def layers_of(self, image: Digest) -> tuple[Layer, ...]:
        """The layers of an image, base first; also of one that was removed by force from under a container.

        Raises:
            ImageNotFound: no such image.
        """
        return self._images.layers_of(image)

    def tag(self, image: Digest, ref: ImageRef) -> None:
        """Let ``ref`` name ``image``; an image that had the name before loses it (and may become dangling).

        Raises:
            ImageNotFound: no such image. InvalidReference: ``ref`` has no tag.
        """
        self._images.tag(image, ref)

    def tags_of(self, image: Digest) -> tuple[ImageRef, ...]:
        """The tags of an image, sorted."""
        return self._images.tags_of(image)

    def image_rows(self, *, all: bool = False, reference: str | None = None) -> tuple[ImageRow, ...]:
        """One row per tag, newest image first; untagged images have one with ``<none>``.

        Args:
            all: accepted for docker's sake; there are no intermediate images.
            reference: a name, a name with a tag, or a pattern of either (``*``, ``?``, ``[...]`` within a component).
        """
        return self._images.rows(all=all, reference=reference)

    def history_rows(self, image: Digest) -> tuple[HistoryRow, ...]:
        """The history, newest first; only the first has an id, as with docker and BuildKit.

        Raises:
            ImageNotFound: no such image.
        """
        return self._images.history(image)

    def inspect_image(self, image: Digest) -> dict[str, Any]:
        """Docker's ``inspect`` document of an image, keys in docker's order, and ``ContextKernel`` at the end.

        Raises:
            ImageNotFound: no such image.
        """
        return self._images.inspect(image)

    def compare(self, images: Sequence[tuple[str, Digest]]) -> tuple[CompareRow, ...]:
        """Sizes of images beside each other, in the order given; each is a name to show and an id.

        Raises:
            ImageNotFound: no such image.
        """
        return self._images.compare(images)

    def remove_image(
        self, text: str, *, force: bool = False, running: Callable[[str], bool] | None = None
    ) -> tuple[str, ...]:
        """Remove a tag, and with its last tag the image; docker's rules, docker's lines.

        Args:
            text: tag, ``name@digest``, id or unique part of an id from its start.
            force: also when a stopped container uses the image, or several names do and an id was given.
            running: whether the container of a container directory runs; by default ``state.json`` there tells.

        Returns:
            ``Untagged: ...`` and ``Deleted: ...`` lines.

        Raises:
            ImageNotFound: no such image. ImageInUse: names the container.
        """
        return self._images.remove(text, force=force, running=running)

    def prune_image(self, image: Digest, *, named: bool = False) -> Pruned:
        """Remove an image with all its names, if no container uses it; decided and done in one transaction.

        Args:
            image: its id; it may be gone already.
            named: also if it has a tag.

        Returns:
            Lines as of :meth:`remove_image`, none if it stays; and the bytes of the layers that went with it.
        """
        return self._images.prune(image, named=named)

    def extras(self, image: Digest) -> Extras:
        """Attestations and annotations that an image has when it leaves the store; empty for an unknown one."""
        return self._extras.get(image)

    def set_extras(self, image: Digest, extras: Extras) -> None:
        """Replace them, all at once; the image must be here."""
        self._extras.set(image, extras)

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

    def remember_file_digest(self, path: str, facts: os.stat_result, digest: str) -> None:
        """Remember the content digest of one file; see :meth:`remember_file_digests`."""
        self._steps.remember([(path, facts, digest)])

    def remember_file_digests(self, items: Iterable[tuple[str, os.stat_result, str]]) -> None:
        """Remember content digests of many files at once; files changed in the last two seconds are left out."""
        self._steps.remember(items)

    # ---- caches of build steps

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

    # ---- failed steps

    def keep_failed(self, step: FailedStep, directory: str) -> None:
        """Keep a failed step and the layers below it; what was kept for the same scope, or is too old, goes.

        Args:
            step: what it was.
            directory: from :meth:`new_layer_dir`, with its changes in ``diff/``.

        Raises:
            StoreProblem: a layer is not here.
        """
        self._failed.keep(step, directory)

    def failed_step(self, id: str | None = None) -> tuple[FailedStep, str]:
        """A failed step and its directory.

        Args:
            id: of the build, or its start; ``None`` for the last one.

        Raises:
            NotFound: none is kept.
        """
        return self._failed.get(id)

    def failed_steps(self) -> tuple[FailedStep, ...]:
        """The failed steps that are kept, newest first."""
        return self._failed.all()

    def forget_failed(self, scope: str | None = None) -> int:
        """Let failed steps go: those of a scope, or all; returns how many. Their directories become trash."""
        return self._failed.forget(scope)

    # ---- records of builds

    def begin_build(self, row: BuildRow) -> None:
        """Record that a build begins; the oldest records go when there are too many."""
        self._builds.begin(row)

    def record_build(self, build: str, steps: Sequence[StepEntry], row: BuildRow | None = None) -> None:
        """Record steps of a build, and with ``row`` its end; nothing if its record was removed meanwhile."""
        self._builds.record(build, steps, row)

    def builds(self) -> tuple[BuildRow, ...]:
        """Recorded builds, newest first; one whose process is gone counts as canceled."""
        return self._builds.rows()

    def build(self, text: str) -> BuildRow:
        """The build that ``text`` names: a unique part of an id from its start, ``^N`` for the Nth before the newest.

        Args:
            text: empty for the newest.

        Raises:
            NotFound: there is none. InvalidInput: more than one id starts so.
        """
        return self._builds.find(text)

    def build_steps(self, build: str) -> tuple[BuildStepRow, ...]:
        """The recorded steps of a build, by number."""
        return self._builds.steps(build)

    def build_logs(self, build: str) -> tuple[BuildLog, ...]:
        """The recorded output of a build's steps, of those that had any."""
        return self._builds.logs(build)

    def remove_builds(self, builds: Iterable[str]) -> None:
        """Forget builds by their whole ids; fine for those that are gone."""
        self._builds.remove(builds)

    # ---- maintenance

    def check(self, *, repair: bool = False) -> tuple[CheckFinding, ...]:
        """Look at everything that can be verified without unpacking, and say what is wrong.

        Args:
            repair: also put right what can be: damaged images and what depends on a damaged layer are removed.
        """
        from contextkernel.store.check import Checker

        return Checker(self._paths, self._database, self._session, self._sweeper).run(repair=repair)

    def trash(self) -> tuple[str, ...]:
        """Directories that nothing uses any more, for the layer worker to remove."""
        return self._sweeper.trash()

    def forget_trash(self, paths: Iterable[str]) -> None:
        """Forget trash that has been removed; paths that still exist stay trash."""
        self._sweeper.forget(paths)
