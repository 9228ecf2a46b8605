"""A build cache in an OCI image layout on disk, in BuildKit's form: blobs of layers, and a document of keys.

Written by several builds at once: blobs appear complete under their digest, the index is replaced under a lock. Read
with distrust: every document is bounded, and everything is checked against its digest and size before it is used.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO

import msgspec

from contextkernel.errors import (
    ContextKernelError,
    DigestMismatch,
    InvalidArchive,
    InvalidInput,
    SizeMismatch,
    SourceNotFound,
)
from contextkernel.model.cache_transport import (
    MEDIA_CACHE_CONFIG,
    REF_NAME,
    CacheConfig,
    LocalCacheSource,
    LocalCacheTarget,
)
from contextkernel.model.codec import to_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import MEDIA_INDEX, Descriptor, Index
from contextkernel.store.blobs import CHUNK
from contextkernel.store.cache_documents import (
    MAX_DOCUMENT,
    cache_document,
    config_of,
    decoded,
    decoded_config,
    top_document,
)

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class CacheLayoutWriter:
    """Writes a cache into a directory.

    Args:
        target: where and how.

    Raises:
        InvalidInput: the directory cannot be used.
    """

    def __init__(self, target: LocalCacheTarget) -> None:
        self._target = target
        self._blobs = f"{target.dest}/blobs/sha256"
        with _typed(target.dest):
            os.makedirs(self._blobs, exist_ok=True)
            if not os.path.exists(f"{target.dest}/oci-layout"):
                self._replace(f"{target.dest}/oci-layout", _LAYOUT)

    def has(self, descriptor: Descriptor) -> bool:
        """Whether a blob of that digest and size is there."""
        try:
            return os.path.getsize(self._path(descriptor.digest)) == descriptor.size
        except OSError:
            return False

    def add(self, descriptor: Descriptor, source: IO[bytes]) -> None:
        """Write a blob, unless it is there.

        Raises:
            DigestMismatch: ``source`` is something else. InvalidInput: the directory refuses.
        """
        if self.has(descriptor):
            return
        temporary = f"{self._blobs}/.{os.getpid()}-{os.urandom(6).hex()}"
        state = hashlib.sha256()
        with _typed(self._target.dest):
            try:
                with open(temporary, "xb") as sink:
                    while part := source.read(CHUNK):
                        state.update(part)
                        sink.write(part)
                if state.hexdigest() != descriptor.digest.hex:
                    raise DigestMismatch(f"content has digest sha256:{state.hexdigest()}, not {descriptor.digest}")
                os.replace(temporary, self._path(descriptor.digest))
            finally:
                with suppress(OSError):
                    os.unlink(temporary)

    def finish(self, config: CacheConfig, layers: tuple[Descriptor, ...]) -> Digest:
        """Write the documents, and let the tag name them.

        Returns:
            Digest of the manifest.
        """
        described, data = cache_document(config)
        self.add(described, io.BytesIO(data))
        media, data = top_document(described, layers, index=self._target.index)
        top = Descriptor(media, Digest.of(data), len(data))
        self.add(top, io.BytesIO(data))
        self._name(msgspec.structs.replace(top, annotations={REF_NAME: self._target.tag}))
        return top.digest

    def _name(self, top: Descriptor) -> None:
        path = f"{self._target.dest}/index.json"
        with _typed(self._target.dest), open(f"{path}.lock", "a", encoding="ascii") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            others: tuple[Descriptor, ...] = ()
            with suppress(FileNotFoundError, ContextKernelError):
                known = decoded(_read(path), Index, path)
                others = tuple(
                    one for one in known.manifests if (one.annotations or {}).get(REF_NAME) != self._target.tag
                )
            self._replace(path, to_json(Index(schema_version=2, media_type=MEDIA_INDEX, manifests=(*others, top))))

    def _replace(self, path: str, data: bytes) -> None:
        temporary = f"{path}.{os.getpid()}-{os.urandom(6).hex()}"
        try:
            with open(temporary, "xb") as sink:
                sink.write(data)
            os.replace(temporary, path)
        finally:
            with suppress(OSError):
                os.unlink(temporary)

    def _path(self, digest: Digest) -> str:
        return f"{self._blobs}/{digest.hex}"


class CacheLayout:
    """A cache that was read.

    Args:
        root: directory of the layout.
        config: its document.
        blobs: layers by digest.
    """

    def __init__(self, root: str, config: CacheConfig, blobs: Mapping[str, Descriptor]) -> None:
        self._root = root
        self.config = config
        self.blobs = blobs

    def open(self, digest: Digest) -> IO[bytes]:
        """A reader of a blob, for somebody who checks it.

        Raises:
            InvalidArchive: there is no such file.
        """
        return _opened(_blob(self._root, digest))


def read_layout(source: LocalCacheSource) -> CacheLayout:
    """Read a cache's documents.

    Raises:
        SourceNotFound: there is none. InvalidArchive, DigestMismatch, SizeMismatch: it cannot be relied on.
    """
    top = _top(source)
    document = _checked(source.src, top)
    found = config_of(document, top.media_type, str(top.digest))
    if found is None:
        raise InvalidArchive(
            f"{source.src} is no build cache: {top.digest} has no {MEDIA_CACHE_CONFIG}", hint="load it as an image"
        )
    config, layers = found
    parsed = decoded_config(_checked(source.src, config), str(config.digest))
    return CacheLayout(source.src, parsed, {str(layer.digest): layer for layer in layers})


def _top(source: LocalCacheSource) -> Descriptor:
    path = f"{source.src}/index.json"
    try:
        found: tuple[Descriptor, ...] = decoded(_read(path), Index, path).manifests
    except FileNotFoundError:
        raise SourceNotFound(f"there is no build cache in {source.src}") from None
    if source.digest is not None:
        for one in found:
            if one.digest == source.digest:
                return one
        raise SourceNotFound(f"there is no {source.digest} in {path}")
    for one in found:
        if (one.annotations or {}).get(REF_NAME) == source.tag:
            return one
    raise SourceNotFound(f"there is no build cache with tag {source.tag!r} in {source.src}")


def _checked(root: str, descriptor: Descriptor) -> bytes:
    if descriptor.size > MAX_DOCUMENT:
        raise InvalidArchive(f"document {descriptor.digest} has {descriptor.size} bytes")
    try:
        data = _read(_blob(root, descriptor.digest))
    except FileNotFoundError:
        raise InvalidArchive(f"{root} lacks {descriptor.digest}") from None
    if len(data) != descriptor.size:
        raise SizeMismatch(f"{descriptor.digest} has {len(data)} bytes instead of {descriptor.size}")
    if descriptor.digest.algorithm != "sha256" or Digest.of(data) != descriptor.digest:
        raise DigestMismatch(f"{descriptor.digest} has digest {Digest.of(data)}")
    return data


def _blob(root: str, digest: Digest) -> str:
    return f"{root}/blobs/{digest.algorithm}/{digest.hex}"


def _opened(path: str) -> IO[bytes]:
    """Regular files only: a FIFO would be waited for, a device could give anything."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise InvalidArchive(f"{path} is missing") from None
    except OSError as problem:
        raise InvalidArchive(f"cannot read {path}: {(problem.strerror or str(problem)).lower()}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidArchive(f"{path} is not a file")
    return os.fdopen(descriptor, "rb")


def _read(path: str) -> bytes:
    if not os.path.exists(path):
        raise FileNotFoundError(path)
    with _opened(path) as stream:
        data = stream.read(MAX_DOCUMENT + 1)
    if len(data) > MAX_DOCUMENT:
        raise InvalidArchive(f"{path} is larger than {MAX_DOCUMENT} bytes")
    return data


@contextmanager
def _typed(dest: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise InvalidInput(
            f"cannot write the build cache to {dest}: {(problem.strerror or str(problem)).lower()}",
            hint="name another directory with dest=",
        ) from None
