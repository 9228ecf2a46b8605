"""Layers of what is fetched or given: URLs, Git repositories, archives, directories that a stage starts from.

Whatever it is, it becomes a layer with an index, unpacked with the same care as those of images; from then on it is
copied from and mounted like an image. What was fetched is remembered in the build cache: of a URL by its checksum or
the entity tag that its server names, of a repository by the commit, as BuildKit does (``source/http``, ``source/git``).
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import msgspec

from contextkernel.build.board import StackLayer
from contextkernel.build.context import DirectoryContext
from contextkernel.build.copying import resolve_copy
from contextkernel.build.layer_index import read_index
from contextkernel.build.ports import BuildStore
from contextkernel.errors import ContextKernelError, FetchFailed, HostUnsupported, InvalidArchive, Span, StoreProblem
from contextkernel.layer.tar import BLOCK
from contextkernel.model.digest import Digest
from contextkernel.model.fetching import Credentials, Fetcher, GitSource
from contextkernel.model.layers import CopyItem, CopyRequest, LayerFacts
from contextkernel.model.ports import LayerWorker, Reporter
from contextkernel.plan import keys
from contextkernel.plan.image import MadeLayer
from contextkernel.plan.remote import GitOrigin, HttpOrigin, redacted
from contextkernel.plan.steps import ContextOrigin, CopyStep, Origin

if TYPE_CHECKING:
    from contextkernel.store.steps import StepRecord

_NOWHERE = Span(file="", line=1, end_line=1, end_column=1)


class Fetching:
    """Makes layers of what a build fetches. Used by several threads.

    Args:
        store, worker: for the layers.
        fetcher: does the transfers; ``None`` where nothing may be fetched.
        credentials: made when something is fetched.
        keep: keeps a layer from being removed until the build ends; false if it is gone already.
        limit: the most bytes of an archive when unpacked.
        fresh: look nothing up in the cache.
        now: nanoseconds since the epoch.
        stopped: whether the build is to stop.

    Attributes:
        added: layers that were made; the store keeps them for this session until they are released.
        digests: what each origin turned out to be: the commit of a repository, ``sha256:...`` of a file.
    """

    def __init__(
        self,
        store: BuildStore,
        worker: LayerWorker,
        fetcher: Fetcher | None,
        *,
        credentials: Callable[[], Credentials],
        keep: Callable[[Digest], bool],
        now: Callable[[], int],
        limit: int | None = None,
        fresh: bool = False,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._worker = worker
        self._fetcher = fetcher
        self._credentials = credentials
        self._keep = keep
        self._now = now
        self._limit = limit
        self._fresh = fresh
        self._stopped = stopped
        self._guard = threading.Lock()
        self._made: Credentials | None = None
        self.added: list[Digest] = []
        self.digests: dict[HttpOrigin | GitOrigin, str] = {}

    def fetch(self, origin: HttpOrigin | GitOrigin, report: Reporter) -> StackLayer:
        """The files of a remote origin as a layer.

        Raises:
            FetchFailed: see there.
        """
        match origin:
            case HttpOrigin():
                return self._http(origin, report)
            case GitOrigin():
                return self._git(origin, report)

    def archive(self, path: str) -> StackLayer:
        """The content of a tar archive, plain or compressed.

        Raises:
            InvalidArchive: refused.
        """
        try:
            return self._layer(lambda directory: self._worker.unpack(path, directory, limit=self._limit))
        except InvalidArchive as problem:
            problem.problem = f"the archive of the build context is refused: {problem.problem}"
            raise

    def read(self, layer: StackLayer, path: str, size: int) -> bytes:
        """At most ``size`` bytes of a file of a layer, whoever it belongs to and whatever its mode is."""
        try:
            descriptor = os.open(f"{layer.directory}/diff/{path}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except PermissionError:
            return self._read_as_root(layer, path, size)
        with open(descriptor, "rb") as file:
            return file.read(size)

    def _read_as_root(self, layer: StackLayer, path: str, size: int) -> bytes:
        """The worker may read everything: it makes a copy that everybody may read."""
        directory = self._store.new_layer_dir()
        try:
            self._worker.copy(
                CopyRequest(
                    lowers=(),
                    upper=f"{directory}/diff",
                    work=f"{directory}/work",
                    source_lowers=(f"{layer.directory}/diff",),
                    items=(CopyItem(source=path, name="file"),),
                    destination="/file",
                    chown="0:0",
                    chmod="644",
                )
            )
            with open(f"{directory}/diff/file", "rb") as file:
                return file.read(size)
        finally:
            self._discard(directory)

    def directory(self, origin: ContextOrigin, tree: DirectoryContext) -> StackLayer:
        """What is in a directory, as the first layer of a stage."""
        step = CopyStep(
            title="", created_by="", span=_NOWHERE, original="", origin=origin, sources=("/",), destination="/"
        )
        found = resolve_copy(step, tree)
        key = keys.fetched_key("directory", found.content)
        known = self._known(key)
        if known is not None:
            return known

        def copy(directory: str) -> LayerFacts:
            self._worker.copy(
                CopyRequest(
                    lowers=(),
                    upper=f"{directory}/diff",
                    work=f"{directory}/work",
                    source_root=tree.root,
                    items=found.items,
                    excludes=found.excludes,
                    destination="/",
                )
            )
            return self._worker.commit(directory)

        return self._remember(key, self._layer(copy))

    def new_directory(self, stack: ExitStack) -> str:
        """A new directory, which goes when ``stack`` is closed, or this session ends."""
        path = self._store.temporary_path()
        os.mkdir(path, 0o700)
        stack.callback(shutil.rmtree, path, ignore_errors=True)
        return path

    def _shown(self) -> Credentials:
        with self._guard:
            if self._made is None:
                self._made = self._credentials()
            return self._made

    @property
    def _port(self) -> Fetcher:
        if self._fetcher is None:
            raise HostUnsupported("this builder was made without a way to fetch anything")
        return self._fetcher

    # -- URLs -------------------------------------------------------------------------------------

    def _http(self, origin: HttpOrigin, report: Reporter) -> StackLayer:
        if origin.checksum:
            known = self._known(keys.fetched_key("http", "checksum", origin.name, origin.checksum))
            if known is not None:
                self.digests[origin] = origin.checksum
                return known
        found: list[StackLayer] = []

        def seen(etag: str) -> bool:
            known = self._known(_etag_key(origin, etag))
            if known is not None:
                found.append(known)
            return known is not None

        header = len(_file_header(origin.name, 0, 0))
        path = self._store.temporary_path()
        try:
            got = self._port.download(
                origin.url, path, self._shown(), offset=header, known=seen, report=report, stopped=self._stopped
            )
            digest = got.digest or _digest_of_file(found[0], origin.name)
            if origin.checksum and digest != origin.checksum:
                raise FetchFailed(
                    f"{redacted(origin.url)} has the digest {digest}, not {origin.checksum}",
                    hint="the file behind the URL has changed, or the checksum is wrong",
                )
            self.digests[origin] = digest
            if found:
                return self._with_checksum(origin, found[0])
            with open(path, "r+b") as file:  # room was left for the header of a tar archive
                file.write(_file_header(origin.name, got.size, got.modified))
                file.seek(0, os.SEEK_END)
                file.write(bytes(-got.size % BLOCK + 2 * BLOCK))
            # the limit is on what is fetched; the archive has a few blocks more
            layer = self._layer(lambda directory: self._worker.unpack(path, directory))
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)
        if got.etag:
            self._remember(_etag_key(origin, got.etag), layer)
        return self._with_checksum(origin, layer)

    def _with_checksum(self, origin: HttpOrigin, layer: StackLayer) -> StackLayer:
        """Find ``layer`` by its checksum alone from now on."""
        if not origin.checksum:
            return layer
        return self._remember(keys.fetched_key("http", "checksum", origin.name, origin.checksum), layer)

    # -- repositories -----------------------------------------------------------------------------

    def _git(self, origin: GitOrigin, report: Reporter) -> StackLayer:
        source = GitSource(**msgspec.structs.asdict(origin))
        credentials = self._shown()
        found = self._port.resolve(source, credentials, stopped=self._stopped)
        self.digests[origin] = found.commit
        # the object counts only where it is seen: with .git an annotated tag is there
        identity = [found.object, found.ref, redacted(origin.remote)] if origin.keep_git_dir else [found.commit]
        key = keys.fetched_key("git", *identity, origin.subdir, origin.submodules, origin.commit_time)
        known = self._known(key)
        if known is not None:
            return known
        path = self._store.temporary_path()
        try:
            self._port.export(source, found, path, credentials, report=report, stopped=self._stopped)
            layer = self._layer(lambda directory: self._worker.unpack(path, directory, limit=self._limit))
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)
        return self._remember(key, layer)

    # -- layers -----------------------------------------------------------------------------------

    def _layer(self, fill: Callable[[str], LayerFacts]) -> StackLayer:
        directory = self._store.new_layer_dir()
        try:
            layer = self._store.add_layer(directory, fill(directory))
        except BaseException:
            self._discard(directory)
            raise
        self.added.append(layer.diff_id)
        return StackLayer(layer.diff_id, layer.directory, MadeLayer(layer.diff_id, self._now()))

    def _discard(self, directory: str) -> None:
        try:
            self._store.discard_layer_dir(directory)
        except StoreProblem:
            # the disk may be full, of just this
            self._worker.remove([directory])

    def _known(self, key: Digest) -> StackLayer | None:
        record = None if self._fresh else self._store.step(key)
        if record is None or not self._keep(record.diff_id):
            return None
        directory = self._store.layer(record.diff_id).directory
        return StackLayer(record.diff_id, directory, MadeLayer(record.diff_id, record.created))

    def _remember(self, key: Digest, layer: StackLayer) -> StackLayer:
        self._store.add_step(key, _record(layer.diff_id, self._now()))
        return layer


class OriginLayers(dict[Origin, tuple[StackLayer, ...]]):
    """The layers of each origin, base first; those of remote ones and of directories are made when first asked for.

    Args:
        fetching: makes them.
        directories: the contexts that are directories.
    """

    def __init__(self, fetching: Fetching, directories: Mapping[Origin, DirectoryContext]) -> None:
        super().__init__()
        self._fetching = fetching
        self._directories = directories
        self._broken: dict[Origin, ContextKernelError] = {}
        self._guard = threading.Lock()
        self._locks: dict[Origin, threading.Lock] = {}

    def __missing__(self, origin: Origin) -> tuple[StackLayer, ...]:
        return self.fetch(origin, _silent)

    def fetch(self, origin: Origin, report: Reporter) -> tuple[StackLayer, ...]:
        """The layers of an origin, which are made if they are not here; ``report`` receives the transfer's events."""
        if not isinstance(origin, HttpOrigin | GitOrigin | ContextOrigin):
            raise KeyError(origin)
        with self._guard:
            lock = self._locks.setdefault(origin, threading.Lock())
        with lock:
            if origin in self._broken:
                raise self._broken[origin]  # who asks again must not wait again
            if origin not in self:
                try:
                    if isinstance(origin, ContextOrigin):
                        made = self._fetching.directory(origin, self._directories[origin])
                    else:
                        made = self._fetching.fetch(origin, report)
                except ContextKernelError as problem:
                    self._broken[origin] = problem
                    raise
                self[origin] = (made,)
            return dict.__getitem__(self, origin)

    def unfetched(self, origin: Origin) -> bool:
        """Whether an origin is remote and not here yet."""
        return isinstance(origin, HttpOrigin | GitOrigin) and origin not in self


def _silent(_event: object) -> None:
    return


def time_of(layer: StackLayer) -> int | None:
    """The time of the youngest file of a layer, in seconds since 1970; ``None`` if no file has one."""
    times = [entry.mtime for entry in read_index(f"{layer.directory}/index") if entry.kind == "file"]
    return max(times, default=0) // 1_000_000_000 or None


def _etag_key(origin: HttpOrigin, etag: str) -> Digest:
    # the key is kept: a password in the URL, or a token in its query, goes in as part of a digest only
    return keys.fetched_key("http", "etag", origin.name, str(Digest.of(origin.url.encode("utf-8", "replace"))), etag)


def _digest_of_file(layer: StackLayer, name: str) -> str:
    """``sha256:...`` of a file at the root of a layer."""
    found = {entry.path: entry.digest for entry in read_index(f"{layer.directory}/index")}
    return f"sha256:{found.get(name, '')}"


def _file_header(name: str, size: int, modified: int) -> bytes:
    """The archive's header for the one file: its length depends on the name only."""
    import tarfile  # slow to import

    info = tarfile.TarInfo(name)
    info.mode, info.size, info.mtime = 0o600, size, modified
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _record(diff_id: Digest, created: int) -> StepRecord:
    from contextkernel.store.steps import StepRecord

    return StepRecord(diff_id=diff_id, created=created)
