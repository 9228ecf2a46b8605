"""Layers as blobs: rendered or unpacked from the store, packed in the form that is wanted.

Packing is reproducible: one thread, a fixed level, no name and no time in the gzip header (RFC 1952). The bytes of a
packed layer still depend on the compressor's version, so the digest of a manifest does too; an image's id does not.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from contextlib import suppress
from typing import IO, Protocol

from contextkernel.errors import DigestMismatch, StoreProblem
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Layer
from contextkernel.model.oci import (
    MEDIA_DOCKER_LAYER,
    MEDIA_DOCKER_LAYER_GZIP,
    MEDIA_LAYER,
    MEDIA_LAYER_GZIP,
    MEDIA_LAYER_ZSTD,
    Descriptor,
)
from contextkernel.model.outputs import Compression, CompressionKind
from contextkernel.model.ports import LayerWorker
from contextkernel.store.blobs import CHUNK
from contextkernel.store.paths import refused

_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3
_MEDIA: dict[CompressionKind, str] = {
    "uncompressed": MEDIA_LAYER,
    "gzip": MEDIA_LAYER_GZIP,
    "zstd": MEDIA_LAYER_ZSTD,
}
_DOCKER_MEDIA = {MEDIA_LAYER: MEDIA_DOCKER_LAYER, MEDIA_LAYER_GZIP: MEDIA_DOCKER_LAYER_GZIP}


class PackingStore(Protocol):
    """What packing needs of a store; see :class:`contextkernel.store.Store`."""

    @property
    def root(self) -> str:
        """The directory of the store."""
        ...

    def blob_path(self, digest: Digest) -> str:
        """Where the blob is, or would be."""
        ...

    def open_blob(self, digest: Digest, size: int | None = None) -> IO[bytes]:
        """A reader that verifies."""
        ...

    def temporary_path(self) -> str:
        """A path for a file that goes when this session ends."""
        ...


class PackedLayer:
    """A layer ready to be written out.

    Attributes:
        descriptor: media type, digest and size of the blob.
        diff_id: of the layer.
    """

    def __init__(self, descriptor: Descriptor, diff_id: Digest, path: str, *, temporary: bool) -> None:
        self.descriptor = descriptor
        self.diff_id = diff_id
        self._path = path
        self._temporary = temporary

    def open(self) -> IO[bytes]:
        """A reader of the blob."""
        return open(self._path, "rb", buffering=0)

    def close(self) -> None:
        """Give up a temporary file. Idempotent."""
        if self._temporary:
            with suppress(FileNotFoundError):
                os.unlink(self._path)


class Packer:
    """Packs layers of a store.

    Args:
        store: where the layers are; they are held by the caller.
        worker: renders those that were made here.
        compression: what to make of them.
    """

    def __init__(self, store: PackingStore, worker: LayerWorker, compression: Compression) -> None:
        self._store = store
        self._worker = worker
        self._compression = compression

    def pack(self, layer: Layer, *, oci: bool = True) -> PackedLayer:
        """Pack one layer; what came packed from outside and was kept stays as it is, unless forced.

        Args:
            layer: of the store.
            oci: with a media type of the OCI image-spec; else docker's.

        Raises:
            DigestMismatch: the layer was changed on disk. StoreProblem: it cannot be read, or no space is left.
        """
        kind = self._compression.kind
        came = layer.media_type or MEDIA_LAYER
        if layer.blob is not None and (came == _MEDIA[kind] or (not self._compression.force and came != MEDIA_LAYER)):
            media = came
            if oci or media in _DOCKER_MEDIA:
                path = self._store.blob_path(layer.blob)
                size = os.path.getsize(path)
                media = media if oci else _DOCKER_MEDIA[media]
                self._verify(layer.blob)
                return PackedLayer(Descriptor(media, layer.blob, size), layer.diff_id, path, temporary=False)
        if layer.blob == layer.diff_id and kind == "uncompressed":
            path = self._store.blob_path(layer.diff_id)
            self._verify(layer.diff_id)
            return self._done(path, layer.diff_id, layer.diff_id, oci=oci, temporary=False)
        plain = self._store.temporary_path()
        packed = plain
        try:
            self._plain(layer, plain)
            digest = layer.diff_id
            if kind != "uncompressed":
                packed = self._store.temporary_path()
                digest = self._compress(plain, packed)
                os.unlink(plain)
            return self._done(packed, digest, layer.diff_id, oci=oci, temporary=True)
        except BaseException as problem:
            for path in (plain, packed):
                with suppress(FileNotFoundError):
                    os.unlink(path)
            if isinstance(problem, OSError):
                raise refused(problem, self._store.root) from problem
            raise

    def _verify(self, digest: Digest) -> None:
        with self._store.open_blob(digest) as source:
            while source.read(CHUNK):
                pass

    def _done(self, path: str, digest: Digest, diff_id: Digest, *, oci: bool, temporary: bool) -> PackedLayer:
        media = _MEDIA[self._compression.kind]
        media = media if oci else _DOCKER_MEDIA[media]
        return PackedLayer(Descriptor(media, digest, os.path.getsize(path)), diff_id, path, temporary=temporary)

    def _plain(self, layer: Layer, path: str) -> None:
        """The uncompressed tar of a layer, verified."""
        with open(path, "xb", buffering=0) as sink:
            if layer.blob is None:
                found = self._worker.write_tar(layer.directory, sink.fileno()).diff_id
            else:
                found = self._unpacked(layer.blob, sink)
        if found != layer.diff_id:
            raise DigestMismatch(
                f"layer {layer.diff_id} of the store renders to {found}",
                hint="it was changed on disk: contextkernel system check --repair, then build or pull again",
            )

    def _unpacked(self, blob: Digest, sink: IO[bytes]) -> Digest:
        from contextkernel.store.worker_extract import open_source

        with open(self._store.blob_path(blob), "rb") as packed:
            source = open_source(packed, None)
            while part := source.take(CHUNK):
                sink.write(part)
            return source.finish()

    def _compress(self, plain: str, packed: str) -> Digest:
        state = hashlib.sha256()
        with open(plain, "rb", buffering=0) as source, open(packed, "xb", buffering=0) as sink:
            compressor = self._compressor(os.path.getsize(plain))

            def put(data: bytes) -> None:
                state.update(data)
                view = memoryview(data)
                while view:
                    view = view[sink.write(view) :]

            while part := source.read(CHUNK):
                put(compressor.compress(part))
            put(compressor.flush())
        return Digest.from_hex(state.hexdigest())

    def _compressor(self, size: int) -> _Compressor:
        level = self._compression.level
        if self._compression.kind == "zstd":
            import zstandard

            made: _Compressor = zstandard.ZstdCompressor(
                level=_ZSTD_LEVEL if level is None else max(level, 1), write_checksum=True
            ).compressobj(size=size)
            return made
        if self._compression.kind != "gzip":
            raise StoreProblem(f"{self._compression.kind} is not a compression")
        return _Gzip(_GZIP_LEVEL if level is None else level)


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Gzip:
    """A gzip member whose header says nothing of where and when it was made."""

    def __init__(self, level: int) -> None:
        self._state = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 8, zlib.Z_DEFAULT_STRATEGY)
        self._crc = 0
        self._size = 0
        self._head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no flags, no time, unknown system

    def compress(self, data: bytes) -> bytes:
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        head, self._head = self._head, b""
        return head + self._state.compress(data)

    def flush(self) -> bytes:
        head, self._head = self._head, b""
        return head + self._state.flush() + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)
