"""Build caches that come from elsewhere, and go there: ``--cache-from`` and ``--cache-to``.

A foreign cache is asked after the store's own, key by key, and a layer is fetched when its key is asked for: it is
unpacked as any layer from outside, and refused unless blob and content have the digests that were promised. What a
foreign cache *says* a key leads to is believed, as with BuildKit: take caches only from where you would take programs.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import IO, TYPE_CHECKING, Protocol

import msgspec

from contextkernel.build.explaining import AskedStep
from contextkernel.errors import ContextKernelError, InvalidArchive
from contextkernel.model.cache_transport import (
    UNCOMPRESSED,
    CacheConfig,
    CacheLayer,
    CacheLink,
    CacheRecord,
    CacheResultRow,
    LayerNote,
    LocalCacheSource,
    LocalCacheTarget,
    RegistryCacheTarget,
)
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import Descriptor, ImageConfig
from contextkernel.model.outputs import Compression
from contextkernel.model.ports import LayerWorker
from contextkernel.model.reference import ImageRef
from contextkernel.plan.image import timestamp
from contextkernel.store.steps import StepRecord
from contextkernel.store.times import parse_time

if TYPE_CHECKING:
    from contextkernel.store.blobs import Readable
    from contextkernel.store.store import Store

_MAX_RECORDS = 100_000
_MAX_LAYER = 64 << 30
"""Bytes that an imported layer may have when unpacked."""


class ForeignCache(Protocol):
    """A cache from elsewhere."""

    def bring(self, key: Digest) -> bool:
        """Bring the result of ``key`` into the store's own cache; false if it is not there or cannot be had."""
        ...


class CacheReader(Protocol):
    """A cache whose documents were read: of a directory or of a registry."""

    @property
    def config(self) -> CacheConfig:
        """The document of keys."""
        ...

    @property
    def blobs(self) -> Mapping[str, Descriptor]:
        """Layers by digest."""
        ...

    def open(self, digest: Digest) -> AbstractContextManager[Readable]:
        """A reader of a layer's blob, for somebody who checks it."""
        ...


class CacheWriter(Protocol):
    """Where a cache is written."""

    def add(self, descriptor: Descriptor, source: IO[bytes]) -> None:
        """Write a blob, unless it is there."""
        ...

    def finish(self, config: CacheConfig, layers: tuple[Descriptor, ...]) -> Digest:
        """Write the documents; returns the digest of the manifest. Readers see all or nothing."""
        ...


class RemoteCaches(Protocol):
    """Caches in registries; see :class:`contextkernel.registry.caches.RegistryCaches`."""

    def read(self, ref: ImageRef) -> CacheReader | None:
        """The cache under a name; ``None`` if an image is there."""
        ...

    def writer(self, target: RegistryCacheTarget) -> CacheWriter:
        """Where to write one."""
        ...


class _Row(msgspec.Struct, frozen=True):
    diff_id: Digest
    blob: Descriptor | None
    created: int


class ImportedCache:
    """A cache whose documents were read.

    Args:
        store: where its layers go.
        worker: unpacks them.
        rows: what each key leads to.
        layout: where the blobs are; ``None``: the layers are in the store already.
        warn: is told of what cannot be used.
    """

    def __init__(
        self,
        store: Store,
        worker: LayerWorker,
        rows: dict[str, _Row],
        layout: CacheReader | None,
        warn: Callable[[str], None],
    ) -> None:
        self._store = store
        self._worker = worker
        self._rows = rows
        self._layout = layout
        self._warn = warn
        self._lock = threading.Lock()
        self._added: list[Digest] = []

    def bring(self, key: Digest) -> bool:
        """See :class:`ForeignCache`."""
        with self._lock:
            row = self._rows.pop(str(key), None)
            if row is None:
                return False
            try:
                if not self._store.has_layer(row.diff_id):
                    self._fetch(row)
                self._store.add_step(key, StepRecord(diff_id=row.diff_id, created=row.created))
            except ContextKernelError as problem:
                self._warn(f"an imported cache entry is not used: {problem.problem}")
                return False
            return True

    def close(self) -> None:
        """Give up what was brought in: from now on it stays only if something refers to it."""
        if self._added:
            self._store.release(self._added)

    def _fetch(self, row: _Row) -> None:
        from contextkernel.store.archive_load import add_unpacked

        if self._layout is None or row.blob is None:
            raise InvalidArchive(f"the layer {row.diff_id} is not there")
        with self._layout.open(row.blob.digest) as content:
            blob = self._store.write_blob(content, row.blob.digest, row.blob.size)
        self._added += [blob, row.diff_id]
        add_unpacked(self._store, self._worker, blob, row.diff_id, _MAX_LAYER)


def local_cache(
    store: Store, worker: LayerWorker, source: LocalCacheSource, warn: Callable[[str], None]
) -> ImportedCache:
    """Read the cache in a directory.

    Raises:
        SourceNotFound, InvalidArchive, DigestMismatch, SizeMismatch: see ``read_layout``.
    """
    from contextkernel.store.cache_layout import read_layout

    return imported(store, worker, read_layout(source), warn)


def imported(store: Store, worker: LayerWorker, layout: CacheReader, warn: Callable[[str], None]) -> ImportedCache:
    """A cache whose layers are elsewhere.

    Raises:
        InvalidArchive: it has too many records.
    """
    rows: dict[str, _Row] = {}
    for key, place, created in _records(layout.config):
        layer = layout.config.layers[place]
        note, blob = layer.annotations, layout.blobs.get(layer.blob)
        diff_id = _digest(note.diff_id) if note is not None else None
        if blob is not None and diff_id is not None:
            rows.setdefault(key, _Row(diff_id, blob, created))
    return ImportedCache(store, worker, rows, layout, warn)


def inline_cache(store: Store, worker: LayerWorker, config: ImageConfig, warn: Callable[[str], None]) -> ImportedCache:
    """The cache in the configuration of an image of the store.

    Raises:
        InvalidArchive: there is none, or it cannot be understood.
    """
    if config.inline_cache is None:
        raise InvalidArchive("the image has no build cache in it", hint="build it with --cache-to type=inline")
    try:
        document = from_json(base64.b64decode(config.inline_cache, validate=True), CacheConfig)
    except (binascii.Error, ValueError, msgspec.DecodeError) as problem:
        raise InvalidArchive(f"the image's build cache cannot be understood: {str(problem).lower()}") from None
    layers = config.rootfs.diff_ids
    rows: dict[str, _Row] = {}
    for key, place, created in _records(document):
        if place < len(layers):
            rows.setdefault(key, _Row(layers[place], None, created))
    return ImportedCache(store, worker, rows, None, warn)


def _records(config: CacheConfig) -> list[tuple[str, int, int]]:
    """Key, position of its layer, and time of each record that can be used."""
    if len(config.records) > _MAX_RECORDS:
        raise InvalidArchive(f"the build cache has {len(config.records)} records, more than {_MAX_RECORDS}")
    return [
        (record.digest, result.layer, parse_time(result.created_at))
        for record in config.records
        for result in record.layers[:1]
        if 0 <= result.layer < max(len(config.layers), 1)
    ]


def _digest(text: str) -> Digest | None:
    try:
        return Digest(text)
    except ContextKernelError:
        return None


class _Export(msgspec.Struct, frozen=True):
    """A step that is exported: its key, its layer, and the position of the step below, if that is exported too."""

    key: str
    diff_id: Digest
    created: int
    below: int


def _exported(store: Store, asked: Sequence[AskedStep], only: set[Digest] | None) -> list[_Export]:
    out: list[_Export] = []
    place: dict[int, int] = {}
    known: dict[str, int] = {}  # platforms may have steps in common
    for step in asked:
        if step.key in known:
            place[step.stage] = known[step.key]
            continue
        record = store.step(Digest(step.key))
        if record is None or (only is not None and record.diff_id not in only):
            continue
        below = place.get(step.stage, -1)
        place[step.stage] = known[step.key] = len(out)
        out.append(_Export(step.key, record.diff_id, record.created, below))
    return out


def inline_document(store: Store, asked: Sequence[AskedStep], layers: Sequence[Digest]) -> str | None:
    """The cache for the image's own configuration, base64; ``None`` if no step made one of its ``layers``."""
    steps = _exported(store, asked, set(layers))
    if not steps:
        return None
    records = tuple(
        CacheRecord(
            digest=step.key,
            layers=(CacheResultRow(layer=layers.index(step.diff_id), created_at=timestamp(step.created)),),
            inputs=((CacheLink(link=step.below),),) if step.below >= 0 else (),
        )
        for step in steps
    )
    described = tuple(CacheLayer(blob=str(diff_id), parent=place - 1) for place, diff_id in enumerate(layers))
    return base64.b64encode(to_json(CacheConfig(layers=described, records=records))).decode("ascii")


def export_cache(
    store: Store,
    worker: LayerWorker,
    target: LocalCacheTarget | RegistryCacheTarget,
    writer: CacheWriter,
    asked: Sequence[AskedStep],
    image: Sequence[Digest],
    note: Callable[[str], None],
) -> None:
    """Write the cache of a build into a directory or a registry.

    Args:
        store: has the layers; they are held by the caller.
        worker: renders them.
        target: how.
        writer: where.
        asked: the steps of the build, stage by stage.
        image: layers of the result, for ``mode=min``.
        note: is told what is written.

    Raises:
        InvalidInput: the directory refuses. RegistryProblem: the registry does.
        DigestMismatch: a layer was changed on disk.
    """
    from contextkernel.store.packing import Packer

    steps = _exported(store, asked, None if target.everything else set(image))
    packer = Packer(store, worker, Compression(kind=target.packing, level=target.level, force=True))
    layers: list[CacheLayer] = []
    blobs: list[Descriptor] = []
    places: dict[tuple[Digest, int], int] = {}
    layer_of: list[int] = []
    known: dict[Digest, Descriptor] = {}
    for step in steps:
        parent = layer_of[step.below] if step.below >= 0 else -1
        place = places.get((step.diff_id, parent))
        if place is None:
            layer = store.layer(step.diff_id)
            if step.diff_id not in known:
                made = packer.pack(layer)
                try:
                    note(f"writing layer {made.descriptor.digest}")
                    with made.open() as stream:
                        writer.add(made.descriptor, stream)
                finally:
                    made.close()
                notes = {UNCOMPRESSED: str(step.diff_id)}
                descriptor = msgspec.structs.replace(made.descriptor, annotations=notes)
                known[step.diff_id] = descriptor
                blobs.append(descriptor)
            blob = known[step.diff_id]
            place = places[step.diff_id, parent] = len(layers)
            facts = LayerNote(
                media_type=blob.media_type,
                diff_id=str(step.diff_id),
                size=blob.size,
                created_at=timestamp(step.created),
            )
            layers.append(CacheLayer(blob=str(blob.digest), parent=parent, annotations=facts))
        layer_of.append(place)
    records = tuple(
        CacheRecord(
            digest=step.key,
            layers=(CacheResultRow(layer=layer_of[number], created_at=timestamp(step.created)),),
            inputs=((CacheLink(link=step.below),),) if step.below >= 0 else (),
        )
        for number, step in enumerate(steps)
    )
    digest = writer.finish(CacheConfig(layers=tuple(layers), records=records), tuple(blobs))
    note(f"writing cache manifest {digest}")
