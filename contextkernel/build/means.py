"""What builds are done with: the ports, and what is known of this host."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from contextkernel.build.admission import PROGRAMS, Programs
from contextkernel.build.cache_transfer import RemoteCaches
from contextkernel.build.fetching import Fetching
from contextkernel.build.opening import credentials_of
from contextkernel.build.platforms import CannotRun
from contextkernel.build.ports import BaseResolver, BuildStore, LayoutResolver
from contextkernel.build.request import BuildRequest
from contextkernel.errors import HostUnsupported
from contextkernel.host.emulation import cannot_run
from contextkernel.model.backing import Backing
from contextkernel.model.digest import Digest
from contextkernel.model.fetching import Fetcher
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker, Reporter, Runtime


class Means:
    """What a builder was given; each is an attribute of the same name.

    Args:
        store: layers, images and the build cache.
        worker: copies files and hashes layers, with the container's ids.
        runtime: runs programs.
        resolve_base: finds the images that are built upon or copied from.
        fake_ids: this host maps one id only.
        backing: what the roots of steps are made with.
        platform: of this host.
        now: nanoseconds since the epoch.
        fetcher: fetches URLs and Git repositories; ``None`` where nothing may be fetched.
        resolve_layout: finds images in directories in OCI image layout.
        fetch_limit: the most bytes that an archive may have when unpacked.
        cannot_run: says which platforms' programs do not run here.
        programs: whether programs run here, and what has to be said before one does.
        remote_caches: build caches in registries.
    """

    def __init__(
        self,
        store: BuildStore,
        worker: LayerWorker,
        runtime: Runtime,
        resolve_base: BaseResolver,
        *,
        fake_ids: bool = False,
        backing: Backing = "overlay",
        platform: Platform | None = None,
        now: Callable[[], int] = time.time_ns,
        fetcher: Fetcher | None = None,
        resolve_layout: LayoutResolver | None = None,
        fetch_limit: int | None = None,
        cannot_run: CannotRun = cannot_run,
        programs: Programs = PROGRAMS,
        remote_caches: RemoteCaches | None = None,
    ) -> None:
        self.store = store
        self.worker = worker
        self.runtime = runtime
        self.resolve_base = resolve_base
        self.fake_ids = fake_ids
        self.backing = backing
        self.platform = platform or Platform.host()
        self.now = now
        self.fetcher = fetcher
        self.resolve_layout = resolve_layout or _no_layouts
        self.fetch_limit = fetch_limit
        self.cannot_run = cannot_run
        self.programs = programs
        self.remote_caches = remote_caches

    def fetching(
        self, request: BuildRequest, keep: Callable[[Digest], bool], stack: ExitStack, stopped: Callable[[], bool]
    ) -> Fetching:
        """What makes layers of what ``request`` needs fetched.

        Args:
            request: of the build.
            keep: keeps a cached layer until the build ends.
            stack: closed when the build ends.
            stopped: whether it is to stop.
        """
        return Fetching(
            self.store,
            self.worker,
            self.fetcher,
            credentials=lambda: credentials_of(request, self.store.temporary_path(), stack),
            keep=keep,
            limit=self.fetch_limit,
            fresh=request.no_cache,
            stopped=stopped,
            now=self.now,
        )


def _no_layouts(layout: str, *, platform: Platform | None = None, report: Reporter | None = None) -> Digest:
    del platform, report
    raise HostUnsupported(f"this builder was made without a way to read the image layout {layout!r}")
