"""A builder's store in memory; only the files of layers are on a disk."""

from __future__ import annotations

import functools
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from contextkernel.errors import ImageNotFound, StoreProblem
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.digest import Digest
from contextkernel.model.failed import FailedStep
from contextkernel.model.layers import Layer, LayerFacts
from contextkernel.model.oci import History, ImageConfig, RootFS, RunConfig
from contextkernel.model.platform import Platform
from contextkernel.model.ports import Reporter
from contextkernel.model.reference import ImageRef
from contextkernel.store.database import Database
from contextkernel.store.distribution import Distribution
from contextkernel.store.extras import Extras
from contextkernel.store.step_notes import StepDocument, StepNote, StepPlace
from contextkernel.store.steps import StepRecord
from contextkernel.testing.fake_room import FakeRoom

if TYPE_CHECKING:
    from contextkernel.testing.tree_worker import TreeWorker


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
