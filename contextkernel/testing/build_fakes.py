"""What a builder needs, without containers: a store in memory, a worker on plain directories, a runtime that is told.

Together they build whole Dockerfiles without root and without Linux features. Layers are plain directories; times do
not enter their digests, so the same build gives the same image.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import msgspec

from contextkernel.errors import ImageNotFound, SourceNotFound, StoreProblem
from contextkernel.layer.index import pack_index, unpack_index
from contextkernel.layer.selection import Selection
from contextkernel.model.backing import PrepareRequest, Root, SettleRequest
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.container import LaunchRequest, RunState, Usage
from contextkernel.model.digest import Digest
from contextkernel.model.failed import FailedStep
from contextkernel.model.layers import CopyItem, CopyRequest, Entry, ExportRequest, Layer, LayerFacts, MakeDirRequest
from contextkernel.model.oci import History, ImageConfig, RootFS, RunConfig
from contextkernel.model.platform import Platform
from contextkernel.model.ports import Process, Reporter
from contextkernel.model.reference import ImageRef
from contextkernel.store.database import Database
from contextkernel.store.distribution import Distribution
from contextkernel.store.extras import Extras
from contextkernel.store.measuring import measure
from contextkernel.store.step_notes import StepDocument, StepNote, StepPlace
from contextkernel.store.steps import StepRecord
from contextkernel.testing.fake_room import FakeRoom

Program = Callable[[LaunchRequest, Callable[[str], None], Callable[[str], None]], int]
"""Plays a container's program: gets the request and writers for its two streams, returns the exit code."""


class MemoryStore:
    """A builder's store: layer directories under ``root``, everything else in memory.

    Attributes:
        images: configuration documents by id.
        names: tags.
        steps: the build cache.
        discarded: layer directories that were given up.
        held: layers that are held at the moment.
        released: layers that the builder has given up.
        failed: failed steps that are kept, with their directories.
        caches: ids of the cache mounts that were used, by identity.
        extras: attestations and annotations of images.
        bound: how much a step may write.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.bound = FakeRoom()
        self.images: dict[Digest, bytes] = {}
        self.names: dict[str, Digest] = {}
        self.steps: dict[Digest, StepRecord] = {}
        self.files: dict[tuple[str, int, int], str] = {}
        self.discarded: list[str] = []
        self.held: list[Digest] = []
        self.released: list[Digest] = []
        self.notes: dict[tuple[str, int], StepNote] = {}
        self.documents: dict[str, StepDocument] = {}
        self.listings: dict[str, bytes] = {}
        self.caches: dict[str, str] = {}
        self.failed: list[tuple[FailedStep, str]] = []
        self.extras: dict[Digest, Extras] = {}
        self._layers: dict[Digest, Layer] = {}
        self._count = itertools.count(1)

    def new_layer_dir(self) -> str:
        """See ``Store``."""
        path = os.path.join(self.root, "layers", str(next(self._count)))
        os.makedirs(os.path.join(path, "diff"))
        os.makedirs(os.path.join(path, "work"))
        return path

    def add_layer(self, directory: str, facts: LayerFacts, *, yields: bool = True) -> Layer:
        """See ``Store``."""
        if facts.diff_id in self._layers:
            self.discarded += [directory] if yields else []
            return self._layers[facts.diff_id]
        layer = Layer(diff_id=facts.diff_id, directory=directory, size=facts.size, entries=facts.entries)
        self._layers[facts.diff_id] = layer
        return layer

    def discard_layer_dir(self, directory: str) -> None:
        """See ``Store``."""
        self.discarded.append(directory)
        shutil.rmtree(directory, ignore_errors=True)

    def layer(self, diff_id: Digest) -> Layer:
        """See ``Store``."""
        return self._layers[diff_id]

    def has_layer(self, diff_id: Digest) -> bool:
        """See ``Store``."""
        return diff_id in self._layers

    @contextmanager
    def hold(self, diff_ids: Iterable[Digest], *, expected: bool = False) -> Iterator[None]:
        """See ``Store``."""
        kept = list(diff_ids)
        for diff_id in kept:
            if not expected and diff_id not in self._layers:
                raise StoreProblem(f"the layer {diff_id} is not in the store")
        self.held += kept
        try:
            yield
        finally:
            for diff_id in kept:
                self.held.remove(diff_id)

    def release(self, digests: Iterable[Digest]) -> None:
        """See ``Store``."""
        self.released += digests

    def config(self, image: Digest) -> ImageConfig:
        """See ``Store``."""
        return from_json(self.images[image], ImageConfig)

    def layers_of(self, image: Digest) -> tuple[Layer, ...]:
        """See ``Store``."""
        return tuple(self._layers[diff_id] for diff_id in self.config(image).rootfs.diff_ids)

    def add_image(self, config: bytes, *, origin: str, names: Iterable[ImageRef] = ()) -> Digest:
        """See ``Store``."""
        del origin
        image = Digest.of(config)
        for diff_id in from_json(config, ImageConfig).rootfs.diff_ids:
            if diff_id not in self._layers:
                raise StoreProblem(f"the layer {diff_id} is not in the store")
        self.images[image] = config
        for name in names:
            self.names[str(name)] = image
        return image

    def step(self, key: Digest) -> StepRecord | None:
        """See ``Store``."""
        return self.steps.get(key)

    def add_step(self, key: Digest, record: StepRecord) -> None:
        """See ``Store``."""
        self.steps[key] = record

    def note_steps(self, notes: Iterable[StepNote]) -> None:
        """See ``Store``."""
        for note in notes:
            if note.make is not None and note.key not in self.steps:
                continue
            self.notes.pop((note.place.scope, note.place.position), None)  # the latest come last
            self.notes[note.place.scope, note.place.position] = note
            if note.make is not None and note.key not in self.documents:
                made = self.documents[note.key] = note.make(self.listings.__contains__)
                if made.listing is not None:
                    self.listings[made.content] = made.listing

    def earlier_step(self, place: StepPlace, *, anywhere: bool = True) -> tuple[str, bytes | None] | None:
        """See ``Store``."""
        notes = list(reversed(self.notes.values()))
        for fits in (
            lambda found: (found.scope, found.text) == (place.scope, place.text),
            lambda found: (found.scope, found.position) == (place.scope, place.position),
            lambda found: anywhere and found.text == place.text,
        ):
            for note in notes:
                if fits(note.place):
                    made = self.documents.get(note.key)
                    return note.key, made.document if made else None
        return None

    def knows_step(self, key: Digest) -> bool:
        """See ``Store``."""
        return key in self.documents

    def step_listing(self, content: str) -> bytes | None:
        """See ``Store``."""
        return self.listings.get(content)

    def file_digest(self, path: str, facts: os.stat_result) -> str | None:
        """See ``Store``."""
        return self.files.get((path, facts.st_size, facts.st_mtime_ns))

    def remember_file_digests(self, items: Iterable[tuple[str, os.stat_result, str]]) -> None:
        """See ``Store``."""
        for path, facts, digest in items:
            self.files[path, facts.st_size, facts.st_mtime_ns] = digest

    @contextmanager
    def use_cache_mount(
        self,
        identity: str,
        id: str,
        sharing: str,
        make: Callable[[str], None],
        waiting: Callable[[], None] | None = None,
    ) -> Iterator[str]:
        """See ``Store``; nobody else is there to be waited for."""
        del sharing, waiting
        self.caches.setdefault(identity, id)
        tree = os.path.join(self.root, "caches", str(list(self.caches).index(identity)), "tree")
        if not os.path.isdir(tree):
            os.makedirs(tree)
            make(tree)
        yield os.path.join(tree, "data")

    def keep_failed(self, step: FailedStep, directory: str) -> None:
        """See ``Store``."""
        self.forget_failed(step.scope)
        self.failed.append((step, directory))

    def forget_failed(self, scope: str | None = None) -> int:
        """See ``Store``."""
        count = len(self.failed)
        self.failed = [pair for pair in self.failed if scope not in (None, pair[0].scope)]
        return count - len(self.failed)

    def temporary_path(self) -> str:
        """See ``Store``."""
        os.makedirs(os.path.join(self.root, "tmp"), exist_ok=True)
        return os.path.join(self.root, "tmp", str(next(self._count)))

    @functools.cached_property
    def distribution(self) -> Distribution:
        """See ``Store``; nothing is known of its layers, which have no rows."""
        os.makedirs(self.root, exist_ok=True)
        database = Database(os.path.join(self.root, "distribution.db"), self.root)
        database.prepare()
        return Distribution(database)

    def blob_path(self, digest: Digest) -> str:
        """There are no blobs here."""
        return os.path.join(self.root, "blobs", digest.hex)

    def open_blob(self, digest: Digest, size: int | None = None) -> IO[bytes]:
        """There are no blobs here."""
        raise StoreProblem(f"there is no blob {digest} of {size} bytes")

    def set_extras(self, image: Digest, extras: Extras) -> None:
        """See ``Store``."""
        self.extras[image] = extras

    def add_base(
        self,
        worker: TreeWorker,
        name: str,
        files: dict[str, str],
        config: RunConfig | None = None,
        created: str = "2020-01-02T03:04:05Z",
    ) -> Digest:
        """Make a base image of one layer.

        Args:
            worker: hashes the layer.
            name: its tag.
            files: path to content.
            config: its configuration.
            created: its time.
        """
        directory = self.new_layer_dir()
        for path, content in files.items():
            target = os.path.join(directory, "diff", path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "w", encoding="utf-8") as stream:
                stream.write(content)
        layer = self.add_layer(directory, worker.commit(directory))
        document = ImageConfig(
            architecture="amd64",
            os="linux",
            config=config or RunConfig(cmd=("sh",)),
            rootfs=RootFS("layers", (layer.diff_id,)),
            history=(History(created=created, created_by="ADD rootfs.tar / # base"),),
            created=created,
        )
        return self.add_image(to_json(document), origin="import", names=[ImageRef.parse(name)])

    def resolve_base(
        self, ref: ImageRef, *, pull: bool, platform: Platform | None = None, report: Reporter | None = None
    ) -> Digest:
        """A resolver for the builder: what is here."""
        del pull, platform, report
        if str(ref) not in self.names:
            raise ImageNotFound(f"no such image: {ref.familiar}")
        return self.names[str(ref)]


class TreeWorker:
    """A layer worker on plain directories.

    Attributes:
        copies: the copy requests, in order.
        committed: directories that were committed.
        lowers: what was said to lie below each of them.
        exports: the export requests, in order.
    """

    def __init__(self) -> None:
        self.copies: list[CopyRequest] = []
        self.committed: list[str] = []
        self.lowers: list[tuple[str, ...]] = []
        self.exports: list[ExportRequest] = []

    def commit(self, directory: str, *, lowers: Sequence[str] = ()) -> LayerFacts:
        """See ``ports.LayerWorker``; times do not count."""
        return self._commit(directory, lowers)

    def _commit(self, directory: str, lowers: Sequence[str] = (), *, timed: bool = False) -> LayerFacts:
        self.lowers.append(tuple(lowers))
        entries = sorted(_entries(os.path.join(directory, "diff")), key=lambda entry: entry.path.split("/"))
        if timed:
            times = [os.lstat(os.path.join(directory, "diff", entry.path)).st_mtime_ns for entry in entries]
            entries = [
                msgspec.structs.replace(entry, mtime=time) if entry.kind == "file" else entry
                for entry, time in zip(entries, times, strict=True)
            ]
        with open(os.path.join(directory, "index"), "wb") as stream:
            stream.write(pack_index(entries))
        self.committed.append(directory)
        text = repr(entries).encode("utf-8", "surrogateescape")
        size = sum(entry.size for entry in entries)
        return LayerFacts(diff_id=Digest.of(text), size=size, entries=len(entries))

    def prepare(self, request: PrepareRequest) -> Root:
        """See ports.LayerWorker; nothing is to be done."""
        return request.root

    def settle(self, request: SettleRequest) -> None:
        """See ports.LayerWorker; nothing is to be done."""

    def copy(self, request: CopyRequest) -> tuple[str, ...]:
        """See ``ports.LayerWorker``; owners and modes are not applied."""
        self.copies.append(request)
        inside = request.destination.lstrip("/")
        into = request.directory or any(os.path.isdir(os.path.join(lower, inside)) for lower in request.lowers)
        for item in request.items:
            self._copy_one(request, item, os.path.join(request.upper, inside), into=into)
        return ()

    def _copy_one(self, request: CopyRequest, item: CopyItem, target: str, *, into: bool) -> None:
        if item.data is not None:
            path = os.path.join(target, item.name) if into else target
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as stream:
                stream.write(item.data)
            return
        roots = [request.source_root] if request.source_root else list(reversed(request.source_lowers))
        source = next((p for p in (os.path.join(root, item.source) for root in roots) if os.path.lexists(p)), None)
        if source is None:
            raise SourceNotFound(f"{item.source!r} is not there")
        if item.contents:
            excluded = {os.path.normpath(os.path.join(roots[0], path)) for path in request.excludes}
            selection = Selection(item.include, request.exclude)

            def left_out(path: str) -> bool:
                below = os.path.relpath(path, source)
                is_directory = os.path.isdir(path) and not os.path.islink(path)
                return not (selection.enters(below) if is_directory else selection.takes(below))

            def ignore(directory: str, names: list[str]) -> list[str]:
                paths = {name: os.path.normpath(os.path.join(directory, name)) for name in names}
                return [name for name, path in paths.items() if path in excluded or left_out(path)]

            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore=ignore)
            for directory, _, _ in os.walk(target, topdown=False):  # those that nothing was copied to
                if not selection.takes(os.path.relpath(directory, target)) and not os.listdir(directory):
                    os.rmdir(directory)
            return
        path = os.path.join(target, item.name) if into else target
        extract = item.extract and tarfile.is_tarfile(source)
        os.makedirs(target if extract else os.path.dirname(path), exist_ok=True)
        if extract:
            _extract(source, target)
        else:
            shutil.copy(source, path, follow_symlinks=False)

    def cancel(self, thread: int) -> None:
        """See ``OwnerKeepingWorker``; nothing here takes long."""

    def make_dir(self, request: MakeDirRequest) -> tuple[str, ...]:
        """See ``ports.LayerWorker``."""
        inside = request.path.lstrip("/")
        if not any(os.path.isdir(os.path.join(lower, inside)) for lower in request.lowers):
            os.makedirs(os.path.join(request.upper, inside), exist_ok=True)
        return ()

    def unpack(self, source: str | int, directory: str, *, limit: int | None = None) -> LayerFacts:
        """See ``ports.LayerWorker``."""
        del limit
        _extract(source, os.path.join(directory, "diff"))
        return self._commit(directory, timed=True)

    def write_tar(self, directory: str, descriptor: int, *, latest: int | None = None) -> LayerFacts:
        """Not what a builder does."""
        raise StoreProblem(f"{directory}: no tar for {descriptor}, {latest}")

    def export_tar(self, request: ExportRequest, descriptor: int) -> None:
        """See ``ports.LayerWorker``; only the request is kept."""
        del descriptor
        self.exports.append(request)

    def export_tree(self, request: ExportRequest, descriptor: int) -> None:
        """See ``ports.LayerWorker``; only the request is kept."""
        del descriptor
        self.exports.append(request)

    def remove(self, paths: Sequence[str]) -> None:
        """See ``ports.LayerWorker``."""
        for path in paths:
            shutil.rmtree(path, ignore_errors=True)

    def measure(self, paths: Sequence[str]) -> tuple[int, ...]:
        """See ports.LayerWorker."""
        return tuple(measure(path) for path in paths)

    def adopt(self, source: str, directory: str) -> LayerFacts:
        """See ``ports.LayerWorker``."""
        os.rename(source, os.path.join(directory, "diff"))
        return self.commit(directory)

    def close(self) -> None:
        """See ``ports.LayerWorker``."""


def _extract(source: str | int, target: str) -> None:
    with open(source, "rb", closefd=isinstance(source, str)) as file, tarfile.open(fileobj=file) as archive:
        # the attribute is ignored by Pythons before 3.11.4, which extract everything anyway
        archive.extraction_filter = lambda member, _path: member
        archive.extractall(target)  # noqa: S202 - archives that a test has made


def _entries(root: str) -> Iterator[Entry]:
    for directory, folders, files in os.walk(root):
        for name in ("", *folders, *files) if directory == root else (*folders, *files):
            path = os.path.join(directory, name) if name else root
            facts = os.lstat(path)
            relative = os.path.relpath(path, root)
            mode = stat.S_IMODE(facts.st_mode)
            if stat.S_ISDIR(facts.st_mode):
                yield Entry(path=relative, kind="dir", mode=mode)
            elif stat.S_ISLNK(facts.st_mode):
                yield Entry(path=relative, kind="symlink", mode=0o777, link=os.readlink(path))
            else:
                with open(path, "rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                yield Entry(path=relative, kind="file", mode=mode, size=facts.st_size, digest=digest)


class ToldProcess:
    """A process that is over.

    Attributes:
        signals: what was sent to it.
    """

    pid = 4242

    def __init__(self, status: int) -> None:
        self.status = status
        self.usage: Usage | None = Usage(0.25, 1 << 20)
        self.signals: list[int] = []
        self.closed = False

    def wait(self, timeout: float | None = None) -> int | None:
        """See ``ports.Process``."""
        del timeout
        return self.status

    def signal(self, number: int) -> None:
        """See ``ports.Process``."""
        self.signals.append(number)

    def resize(self, rows: int, columns: int) -> None:
        """See ``ports.Process``."""
        del rows, columns

    def close(self) -> None:
        """See ``ports.Process``."""
        self.closed = True


class ToldRuntime:
    """A runtime that plays programs instead of running them.

    Args:
        program: plays every program; by default it leaves a file that says what ran.

    Attributes:
        launched: the requests, in order.
        processes: one per request.
    """

    def __init__(self, program: Program | None = None) -> None:
        self._program = program or leave_trace
        self.launched: list[LaunchRequest] = []
        self.processes: list[ToldProcess] = []

    def launch(
        self,
        request: LaunchRequest,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> ToldProcess:
        """See ``ports.Runtime``; output must fit into a pipe."""
        del stdin
        self.launched.append(request)

        def writer(descriptor: int | None) -> Callable[[str], None]:
            def write(text: str) -> None:
                if descriptor is not None:
                    os.write(descriptor, text.encode("utf-8", "surrogateescape"))

            return write

        process = ToldProcess(self._program(request, writer(stdout), writer(stderr)))
        self.processes.append(process)
        return process

    def warm(self) -> None:
        """See ``ports.Runtime``."""

    def connect(self, state_dir: str) -> Process | None:
        """Nothing runs."""
        del state_dir
        return None

    def state(self, state_dir: str) -> RunState:
        """Nothing ran."""
        del state_dir
        return RunState(status="created")

    def close(self) -> None:
        """See ``ports.Runtime``."""


def leave_trace(request: LaunchRequest, out: Callable[[str], None], err: Callable[[str], None]) -> int:
    """A program that leaves a file named after its arguments, and echoes them."""
    del err
    text = " ".join(request.argv)
    name = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    folder = os.path.join(request.upper, "ran")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(text)
    out(f"ran {text}\n")
    return 0


def read_index(path: str) -> list[Entry]:
    """An index that :class:`TreeWorker` wrote."""
    with open(path, "rb") as stream:
        return unpack_index(stream.read())
