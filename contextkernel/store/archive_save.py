"""Writing an image archive as ``docker save`` does since 25.0: an OCI image layout with docker's ``manifest.json``.

The same images under the same names give the same bytes: entries are in a fixed order, times are 0, owners are 0:0.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

import msgspec

from contextkernel.errors import DigestMismatch, InvalidInput, InvalidReference, StoreProblem
from contextkernel.model.codec import to_json
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Layer
from contextkernel.model.oci import MEDIA_CONFIG, MEDIA_INDEX, MEDIA_LAYER, MEDIA_MANIFEST, Descriptor, Index, Manifest
from contextkernel.model.ports import LayerWorker
from contextkernel.model.reference import ImageRef
from contextkernel.store.blobs import CHUNK
from contextkernel.store.paths import refused
from contextkernel.store.store import Store

_IMAGE_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"


class _Chosen(msgspec.Struct):
    """An image to save, and the tags to save it under."""

    image: Digest
    tags: list[ImageRef] = msgspec.field(default_factory=list)


def save(store: Store, worker: LayerWorker, refs: Sequence[str], output: str | int) -> None:
    """Write images to one archive; docker, podman, skopeo and :func:`load` read it.

    Args:
        store: where the images are.
        worker: renders the layers that were made here.
        refs: tags, ids or bare names; a name without a tag stands for all tags of the repository.
        output: a path, which appears complete or not at all; or an open descriptor, which stays open.

    Raises:
        ImageNotFound, InvalidReference: see ``Store.resolve``. InvalidInput: the output cannot be written.
        StoreProblem: a layer in the store is damaged.
    """
    chosen = _choose(store, refs)
    if not chosen:
        raise InvalidInput("no image to save", hint="name at least one image")
    layers = {layer.diff_id: layer for item in chosen for layer in store.layers_of(item.image)}
    with store.hold(layers), _opened(output) as sink:
        _Writer(store, worker, sink, output).write(chosen, layers)


def _choose(store: Store, refs: Sequence[str]) -> list[_Chosen]:
    found: dict[Digest, _Chosen] = {}
    for text in refs:
        for image, tag in _meant(store, text):
            item = found.setdefault(image, _Chosen(image))
            if tag is not None and tag not in item.tags:
                item.tags.append(tag)
    for item in found.values():
        item.tags.sort()
    return list(found.values())


def _meant(store: Store, text: str) -> Iterator[tuple[Digest, ImageRef | None]]:
    try:
        ref = ImageRef.parse(text)
    except InvalidReference:
        yield store.resolve(text), None
        return
    bare = ref.digest is None and ":" not in text.rpartition("/")[2]
    tags = [
        (row.id, ref.with_tag(row.tag))
        for row in store.image_rows(reference=ref.familiar_name)
        if row.repository == ref.familiar_name and row.tag != "<none>" and (bare or row.tag == ref.tag)
    ]
    if tags and ref.digest is None:
        yield from tags
    else:
        yield store.resolve(text), None


@contextmanager
def _opened(output: str | int) -> Iterator[IO[bytes]]:
    """The place to write to; errors of it are told from errors of the store."""
    if isinstance(output, int):
        with os.fdopen(os.dup(output), "wb", buffering=0) as sink:
            yield sink
        return
    try:
        special = not stat.S_ISREG(os.stat(output).st_mode)
    except OSError:
        special = False
    if special:  # /dev/stdout, a named pipe
        with _open(output, output) as sink:
            yield sink
        return
    temporary = f"{output}.{os.getpid()}.partial"
    try:
        with _open(temporary, output) as sink:
            yield sink
        try:
            os.replace(temporary, output)
        except OSError as problem:
            raise _unwritable(problem, output) from problem
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _open(path: str, shown: str) -> IO[bytes]:
    try:
        return open(path, "wb", buffering=0)
    except OSError as problem:
        raise _unwritable(problem, shown) from problem


def _unwritable(problem: OSError, shown: str | int) -> InvalidInput:
    where = shown if isinstance(shown, str) else "the output"
    return InvalidInput(
        f"cannot write the archive to {where}: {(problem.strerror or str(problem)).lower()}",
        hint="choose another file with -o",
    )


class _Writer:
    """Writes one archive."""

    def __init__(self, store: Store, worker: LayerWorker, sink: IO[bytes], shown: str | int) -> None:
        self._store = store
        self._worker = worker
        self._sink = sink
        self._shown = shown
        self._sizes: dict[Digest, int] = {}

    def write(self, chosen: Sequence[_Chosen], layers: dict[Digest, Layer]) -> None:
        """Write everything: blobs in the order of their digests, then what points to them."""
        configs = {item.image: self._store.config_bytes(item.image) for item in chosen}
        self._directory("blobs/")
        self._directory("blobs/sha256/")
        # a manifest has the sizes of its layers, so it cannot be sorted in among them
        for digest in sorted({*layers, *configs}):
            if digest in configs:
                self._file(_blob(digest), configs[digest])
            else:
                self._layer(layers[digest])
        index, docker = [], []
        seen: set[Digest] = set()
        for item in chosen:
            diff_ids = self._store.config(item.image).rootfs.diff_ids
            manifest = to_json(
                Manifest(
                    schema_version=2,
                    media_type=MEDIA_MANIFEST,
                    config=Descriptor(MEDIA_CONFIG, item.image, len(configs[item.image])),
                    layers=tuple(Descriptor(MEDIA_LAYER, diff_id, self._sizes[diff_id]) for diff_id in diff_ids),
                )
            )
            digest = Digest.of(manifest)
            if digest not in seen:
                seen.add(digest)
                self._file(_blob(digest), manifest)
            names: list[dict[str, str] | None] = [
                {_IMAGE_NAME: str(tag), _REF_NAME: tag.tag or ""} for tag in item.tags
            ]
            index += [Descriptor(MEDIA_MANIFEST, digest, len(manifest), name) for name in names or [None]]
            docker.append(
                {
                    "Config": _blob(item.image),
                    "RepoTags": [tag.familiar for tag in item.tags] or None,
                    "Layers": [_blob(diff_id) for diff_id in diff_ids],
                }
            )
        self._file("index.json", to_json(Index(schema_version=2, media_type=MEDIA_INDEX, manifests=tuple(index))))
        self._file("manifest.json", to_json(docker) + b"\n")
        self._file("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        self._put(bytes(1024))

    def _layer(self, layer: Layer) -> None:
        if layer.blob == layer.diff_id:
            with self._store.open_blob(layer.diff_id) as source:
                self._stream(layer.diff_id, os.path.getsize(self._store.blob_path(layer.diff_id)), source)
            return
        path = self._store.temporary_path()
        try:
            with open(path, "xb+", buffering=0) as plain:
                found = self._unpacked(layer, plain) if layer.blob else self._rendered(layer, plain)
                if found != layer.diff_id:
                    raise DigestMismatch(
                        f"layer {layer.diff_id} of the store renders to {found}",
                        hint="it was changed on disk: contextkernel system check --repair, then build or pull again",
                    )
                size = plain.seek(0, os.SEEK_END)
                plain.seek(0)
                self._stream(layer.diff_id, size, plain)
        except OSError as problem:
            raise refused(problem, self._store.root) from problem
        finally:
            with suppress(FileNotFoundError):
                os.unlink(path)

    def _rendered(self, layer: Layer, sink: IO[bytes]) -> Digest:
        return self._worker.write_tar(layer.directory, sink.fileno()).diff_id

    def _unpacked(self, layer: Layer, sink: IO[bytes]) -> Digest:
        from contextkernel.store.worker_extract import open_source

        if layer.blob is None:
            raise StoreProblem(f"layer {layer.diff_id} has no blob")
        with open(self._store.blob_path(layer.blob), "rb") as packed:
            source = open_source(packed, None)
            while part := source.take(CHUNK):
                sink.write(part)
            return source.finish()

    def _directory(self, name: str) -> None:
        self._put(_header(name, 0, directory=True))

    def _file(self, name: str, data: bytes) -> None:
        self._put(_header(name, len(data)) + data + bytes(-len(data) % 512))

    def _stream(self, digest: Digest, size: int, source: IO[bytes]) -> None:
        self._sizes[digest] = size
        self._put(_header(_blob(digest), size))
        rest = size
        while rest and (part := source.read(min(CHUNK, rest))):
            self._put(part)
            rest -= len(part)
        if rest or source.read(1):
            raise StoreProblem(f"layer {digest} changed while it was being saved")
        self._put(bytes(-size % 512))

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._sink.write(view) :]
        except OSError as problem:
            raise _unwritable(problem, self._shown) from problem


def _blob(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _header(name: str, size: int, *, directory: bool = False) -> bytes:
    from contextkernel.layer.tar import header
    from contextkernel.model.layers import Entry

    if directory:
        return header(Entry(path=name.rstrip("/"), kind="dir", mode=0o755))
    return header(Entry(path=name, kind="file", mode=0o644, size=size))
