"""The store: what it is put together from, its beginning and its end; its verbs are in the ``*_records`` modules."""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import TracebackType

from contextkernel.errors import StoreFull, StoreProblem
from contextkernel.model.results import CheckFinding
from contextkernel.store.blobs import Blobs
from contextkernel.store.bound import Bound
from contextkernel.store.build_records import BuildRecords
from contextkernel.store.builds import Builds
from contextkernel.store.cache_mounts import CacheMounts
from contextkernel.store.cache_records import CacheRecords
from contextkernel.store.container_records import ContainerRecords
from contextkernel.store.containers import Containers
from contextkernel.store.database import Database
from contextkernel.store.distribution import Distribution
from contextkernel.store.downloads import Downloads
from contextkernel.store.extras import ImageExtras
from contextkernel.store.failed import FailedSteps
from contextkernel.store.image_records import ImageRecords
from contextkernel.store.images import Images
from contextkernel.store.layer_records import LayerRecords
from contextkernel.store.layers import Layers
from contextkernel.store.networks import Networks
from contextkernel.store.paths import Paths, default_root
from contextkernel.store.pruning import Pruning
from contextkernel.store.sessions import Session
from contextkernel.store.step_notes import Notes
from contextkernel.store.steps import Steps
from contextkernel.store.sweep import Sweeper
from contextkernel.store.usage import ImageSizes
from contextkernel.store.volumes import Volumes


class Store(LayerRecords, ImageRecords, CacheRecords, BuildRecords, ContainerRecords):
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
