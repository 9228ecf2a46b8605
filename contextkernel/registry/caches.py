"""Build caches in a registry, in BuildKit's form: an image manifest (or an index) of layers and one document of keys.

Source: BuildKit's ``cache/remotecache/export.go`` and ``registry``: media types, and where the document stands.
"""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from typing import IO, TYPE_CHECKING

from contextkernel.errors import (
    DigestMismatch,
    InvalidArchive,
    SizeMismatch,
)
from contextkernel.model.cache_transport import CacheConfig, RegistryCacheTarget
from contextkernel.model.digest import Digest
from contextkernel.model.oci import Descriptor
from contextkernel.registry.blob_stream import BlobStream
from contextkernel.registry.client import Repository, repositories
from contextkernel.registry.mirrors import first_answer
from contextkernel.store.cache_documents import MAX_DOCUMENT, cache_document, config_of, decoded_config, top_document

if TYPE_CHECKING:
    from contextkernel.model.reference import ImageRef


class RegistryCache:
    """A cache whose documents were read; layers are fetched when they are asked for.

    Attributes:
        config: its document.
        blobs: layers by digest.
    """

    def __init__(self, repository: Repository, config: CacheConfig, blobs: dict[str, Descriptor]) -> None:
        self._repository = repository
        self.config = config
        self.blobs = blobs

    def open(self, digest: Digest) -> AbstractContextManager[BlobStream]:
        """A reader of a blob, for somebody who checks it; errors as for :meth:`Repository.blob`."""
        return self._repository.blob(digest)


class RegistryCacheWriter:
    """Writes a cache into a repository. The tag is written last, so whoever reads meanwhile has the one before.

    Args:
        target: where and how.

    Raises:
        InvalidInput, RegistryDenied: the settings of the registry.
    """

    def __init__(self, target: RegistryCacheTarget) -> None:
        self._target = target
        (self._repository,) = repositories(target.ref.registry, target.ref.repository, access="pull,push")

    def add(self, descriptor: Descriptor, source: IO[bytes]) -> None:
        """Send a blob, unless the registry has it.

        Raises:
            RegistryProblem: it is not taken.
        """
        if self._repository.blob_size(descriptor.digest) is None:
            self._repository.upload(descriptor, source)

    def finish(self, config: CacheConfig, layers: tuple[Descriptor, ...]) -> Digest:
        """Send the documents; returns the digest of the manifest."""
        target = self._target
        described, data = cache_document(config)
        self.add(described, io.BytesIO(data))
        media, top = top_document(described, layers, index=target.index, oci=target.oci)
        return self._repository.put_manifest(str(target.ref.tag or Digest.of(top)), media, top)


class RegistryCaches:
    """What a build asks of registries for its caches."""

    def read(self, ref: ImageRef) -> RegistryCache | None:
        """The cache under a name.

        Returns:
            ``None`` if there is an image, which may have a cache in its configuration.

        Raises:
            ImageNotFound: there is nothing. RegistryProblem: see there.
            InvalidArchive, DigestMismatch, SizeMismatch: it cannot be relied on.
        """
        found = repositories(ref.registry, ref.repository, by_digest=ref.digest is not None)
        return first_answer(found, lambda repository: self._read(repository, ref))

    def _read(self, repository: Repository, ref: ImageRef) -> RegistryCache | None:
        media, data = repository.manifest(str(ref.digest or ref.tag))
        if ref.digest is not None and Digest.of(data) != ref.digest:
            raise DigestMismatch(f"{ref.familiar}: the registry sent {Digest.of(data)}")
        found = config_of(data, media, ref.familiar)
        if found is None:
            return None
        config, layers = found
        parsed = decoded_config(self._document(repository, config), str(config.digest))
        return RegistryCache(repository, parsed, {str(layer.digest): layer for layer in layers})

    def _document(self, repository: Repository, descriptor: Descriptor) -> bytes:
        if descriptor.size > MAX_DOCUMENT:
            raise InvalidArchive(f"document {descriptor.digest} has {descriptor.size} bytes")
        parts, left = [], descriptor.size + 1
        with repository.blob(descriptor.digest) as stream:
            while left and (part := stream.read(left)):
                parts.append(part)
                left -= len(part)
        data = b"".join(parts)
        if len(data) != descriptor.size:
            raise SizeMismatch(f"{descriptor.digest} has not {descriptor.size} bytes")
        if Digest.of(data) != descriptor.digest:
            raise DigestMismatch(f"{descriptor.digest} has digest {Digest.of(data)}")
        return data

    def writer(self, target: RegistryCacheTarget) -> RegistryCacheWriter:
        """See :class:`RegistryCacheWriter`."""
        return RegistryCacheWriter(target)
