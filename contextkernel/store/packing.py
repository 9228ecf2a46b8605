"""Layers as blobs: rendered or unpacked from the store, packed in the form that is wanted.

Packing is reproducible: one thread, a fixed level, pieces of a fixed length, no name and no time in the gzip header
(RFC 1952). The bytes of a packed layer still depend on the compressor's version, so the digest of a manifest does too;
an image's id does not. Which compressor made a form is remembered with it (``distribution``), as its recipe.

Gzip without a level is ISA-L's level 2. Measured on Debian's base (180 MB): 71.9 MB at 440 MB/s for each processor,
where zlib's level 6 makes 64.8 MB at 29 MB/s, and its level 1, which is as large, does 88 MB/s.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Protocol, assert_never

from contextkernel.errors import DigestMismatch
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
from contextkernel.store.distribution import Distribution
from contextkernel.store.paths import refused

_GZIP_LEVEL = 2  # of ISA-L, see above; a level that was asked for is zlib's
_ZSTD_LEVEL = 3
_MEDIA: dict[CompressionKind, str] = {
    "uncompressed": MEDIA_LAYER,
    "gzip": MEDIA_LAYER_GZIP,
    "zstd": MEDIA_LAYER_ZSTD,
}
_DOCKER_MEDIA = {MEDIA_LAYER: MEDIA_DOCKER_LAYER, MEDIA_LAYER_GZIP: MEDIA_DOCKER_LAYER_GZIP}
_OCI_MEDIA = {docker: oci for oci, docker in _DOCKER_MEDIA.items()}


class PackingStore(Protocol):
    """What packing needs of a store; see :class:`contextkernel.store.Store`."""

    @property
    def root(self) -> str:
        """The directory of the store."""
        ...

    @property
    def distribution(self) -> Distribution:
        """Where packed forms are remembered."""
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

    def cancel(self, thread: int) -> None:
        """Stop what a thread has rendered, given its ident; nothing where the worker cannot."""
        getattr(self._worker, "cancel", lambda _thread: None)(thread)

    def forms(self, layer: Layer, *, oci: bool = True) -> tuple[Descriptor, ...]:
        """Packed forms of a layer that will do as well as what :meth:`pack` would make; the most fitting first.

        Whoever finds one of them where the layer is to go need not have it packed.

        Args:
            layer: of the store.
            oci: with media types of the OCI image-spec; else docker's.
        """
        kind, known = self._compression.kind, self._store.distribution
        found = list(known.packed_forms(layer.diff_id, recipe=recipe(self._compression)))
        if layer.blob is not None and self._stays(layer, oci=oci):
            size = os.path.getsize(self._store.blob_path(layer.blob))
            found.insert(0, Descriptor(layer.media_type or MEDIA_LAYER, layer.blob, size))
        if not self._compression.force and kind != "uncompressed":
            # who did not ask for a form takes any; else what others have packed stays as it is, and no more
            anyone = self._compression == Compression()
            found += known.packed_forms(layer.diff_id, recipe=None if anyone else "")
        chosen: dict[Digest, Descriptor] = {}
        for one in found:
            media = _OCI_MEDIA.get(one.media_type, one.media_type)
            if (
                media not in _MEDIA.values()
                or media == MEDIA_LAYER != _MEDIA[kind]
                or not (oci or media in _DOCKER_MEDIA)
            ):
                continue
            chosen.setdefault(one.digest, Descriptor(media if oci else _DOCKER_MEDIA[media], one.digest, one.size))
        return tuple(chosen.values())

    def _stays(self, layer: Layer, *, oci: bool) -> bool:
        """Whether the blob that was kept for a layer is what is wanted."""
        came, kind = layer.media_type or MEDIA_LAYER, self._compression.kind
        fits = came == _MEDIA[kind] or (not self._compression.force and came != MEDIA_LAYER)
        return layer.blob is not None and fits and (oci or came in _DOCKER_MEDIA)

    def pack(self, layer: Layer, *, oci: bool = True, check: Callable[[], None] | None = None) -> PackedLayer:
        """Pack one layer; what came packed from outside and was kept stays as it is, unless forced.

        Several threads may do this at once.

        Args:
            layer: of the store.
            oci: with a media type of the OCI image-spec; else docker's.
            check: called between the pieces; may raise to stop.

        Raises:
            DigestMismatch: the layer was changed on disk. StoreProblem: it cannot be read, or no space is left.
        """
        kind = self._compression.kind
        if layer.blob is not None and self._stays(layer, oci=oci):
            media = layer.media_type or MEDIA_LAYER
            self._verify(layer.blob)
            return self._done(self._store.blob_path(layer.blob), layer.blob, layer, media, oci=oci, temporary=False)
        if layer.blob == layer.diff_id and kind == "uncompressed":
            self._verify(layer.diff_id)
            path = self._store.blob_path(layer.diff_id)
            return self._done(path, layer.diff_id, layer, MEDIA_LAYER, oci=oci, temporary=False)
        path = self._store.temporary_path()
        try:
            with open(path, "xb", buffering=0) as sink:
                packing = _Packing(sink, _compressor(self._compression), check or _go_on)
                found = self._unpacked(layer.blob, packing) if layer.blob else self._rendered(layer, packing)
                if found != layer.diff_id:
                    raise DigestMismatch(
                        f"layer {layer.diff_id} of the store renders to {found}",
                        hint="it was changed on disk: contextkernel system check --repair, then build or pull again",
                    )
                digest = layer.diff_id if packing.plain else packing.finish()
            packed = self._done(path, digest, layer, _MEDIA[kind], oci=oci, temporary=True)
        except BaseException as problem:
            with suppress(FileNotFoundError):
                os.unlink(path)
            if isinstance(problem, OSError):
                raise refused(problem, self._store.root) from problem
            raise
        if kind != "uncompressed":
            self._store.distribution.remember_packed(layer.diff_id, packed.descriptor, recipe=recipe(self._compression))
        return packed

    def _verify(self, digest: Digest) -> None:
        with self._store.open_blob(digest) as source:
            while source.read(CHUNK):
                pass

    def _done(self, path: str, digest: Digest, layer: Layer, media: str, *, oci: bool, temporary: bool) -> PackedLayer:
        descriptor = Descriptor(media if oci else _DOCKER_MEDIA[media], digest, os.path.getsize(path))
        return PackedLayer(descriptor, layer.diff_id, path, temporary=temporary)

    def _rendered(self, layer: Layer, packing: _Packing) -> Digest:
        """Have the worker render a layer into a pipe, and pack what comes out of it; the digest of the former."""
        if packing.plain:
            return self._worker.write_tar(layer.directory, packing.sink.fileno()).diff_id
        reading, writing = os.pipe()
        with suppress(OSError):  # the usual 64 KiB will do
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, CHUNK)
        problem: list[BaseException] = []

        def pack() -> None:
            try:
                with open(reading, "rb", buffering=CHUNK) as source:  # closed early, it stops the worker
                    while part := source.read(CHUNK):  # whole pieces: the result must not depend on the pipe's mood
                        packing.add(part)
            except BaseException as caught:
                problem.append(caught)

        thread = threading.Thread(target=pack, name="pack", daemon=True)
        thread.start()
        failure: BaseException | None = None
        try:
            # in this thread: an interrupt of it stops the worker
            found = self._worker.write_tar(layer.directory, writing).diff_id
        except BaseException as caught:
            failure = caught
        finally:
            os.close(writing)
            thread.join()
        if problem and (failure is None or isinstance(failure, Exception)):
            raise problem[0] from None  # the worker only says that nobody reads any more
        if failure is not None:
            raise failure
        return found

    def _unpacked(self, blob: Digest, packing: _Packing) -> Digest:
        from contextkernel.store.worker_extract import open_source

        with open(self._store.blob_path(blob), "rb") as packed:
            source = open_source(packed, None)
            rest = bytearray()
            while part := source.take(CHUNK):
                rest += part
                while len(rest) >= CHUNK:
                    packing.add(bytes(rest[:CHUNK]))
                    del rest[:CHUNK]
            packing.add(bytes(rest))
            return source.finish()


def recipe(compression: Compression) -> str:
    """What made the bytes of a packed layer: form, compressor, level and version; equal ones give equal bytes."""
    level = compression.level
    if compression.kind == "zstd":
        import zstandard

        version = ".".join(map(str, zstandard.ZSTD_VERSION))
        return f"zstd/{_ZSTD_LEVEL if level is None else max(level, 1)}/{version}"
    if compression.kind != "gzip":
        return "tar"
    if level is None:
        import isal

        return f"gzip/isal-{_GZIP_LEVEL}/{isal.__version__}"
    import zlib

    return f"gzip/zlib-{level}/{zlib.ZLIB_RUNTIME_VERSION}"


def _go_on() -> None:
    """Nothing stops it."""


class _Packing:
    """A blob in the making.

    Args:
        sink: unbuffered.
        compressor: ``None`` for none.
        check: called before each piece; may raise.

    Attributes:
        plain: nothing is compressed: the sink may be written to by somebody else.
    """

    def __init__(self, sink: IO[bytes], compressor: _Compressor | None, check: Callable[[], None]) -> None:
        self.sink = sink
        self.plain = compressor is None
        self._compressor = compressor
        self._check = check
        self._state = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """The next piece of the archive."""
        self._check()
        self._put(data if self._compressor is None else self._compressor.compress(data))

    def finish(self) -> Digest:
        """Everything was added: the digest of the blob."""
        if self._compressor is not None:
            self._put(self._compressor.flush())
        return Digest.from_hex(self._state.hexdigest())

    def _put(self, data: bytes) -> None:
        self._state.update(data)
        view = memoryview(data)
        while view:
            view = view[self.sink.write(view) :]


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _compressor(compression: Compression) -> _Compressor | None:
    level = compression.level
    match compression.kind:
        case "uncompressed":
            return None
        case "zstd":
            import zstandard

            made: _Compressor = zstandard.ZstdCompressor(
                level=_ZSTD_LEVEL if level is None else max(level, 1), write_checksum=True
            ).compressobj()
            return made
        case "gzip":
            return _Gzip(level)
    assert_never(compression.kind)


class _Gzip:
    """A gzip member whose header says nothing of where and when it was made."""

    def __init__(self, level: int | None) -> None:
        from isal import isal_zlib

        self._checksum: Any = isal_zlib.crc32
        if level is None:
            self._state: Any = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, -15)
        else:
            import zlib

            self._state = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 8, zlib.Z_DEFAULT_STRATEGY)
        self._crc = 0
        self._size = 0
        self._head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no flags, no time, unknown system

    def compress(self, data: bytes) -> bytes:
        self._crc = self._checksum(data, self._crc)
        self._size += len(data)
        head, self._head = self._head, b""
        return head + bytes(self._state.compress(data))

    def flush(self) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._state.flush()) + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)
