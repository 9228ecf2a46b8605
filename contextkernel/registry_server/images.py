"""The images of a store as the content of a registry, read-only.

An image is packed when somebody first asks for its manifest, uncompressed: on loopback nothing is gained by less, and a
layer's digest is the one that ``inspect`` shows. What was packed is kept in a storage until the registry ends.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import IO

from contextkernel.errors import DigestMismatch, ImageNotFound, StoreProblem
from contextkernel.model.digest import Digest
from contextkernel.model.oci import Descriptor
from contextkernel.model.outputs import Compression
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker
from contextkernel.model.reference import DEFAULT_REGISTRY, ImageRef
from contextkernel.model.serving import RegistryImageRow
from contextkernel.registry_server.content import Entry
from contextkernel.registry_server.manifests import check_manifest
from contextkernel.registry_server.names import checked_name
from contextkernel.registry_server.refusals import Refusal
from contextkernel.registry_server.storage import Storage
from contextkernel.store import Store
from contextkernel.store.blobs import CHUNK
from contextkernel.store.layout import FileLayout
from contextkernel.store.manifests import FinishedImage, write_images
from contextkernel.store.packing import Packer

_ALL = "images"  # the one repository of the storage behind


class StoreImages:
    """See the module.

    Args:
        storage: for what was packed; prepared.
        open_store: opens the store for a short while, with a worker.
    """

    writable = False

    def __init__(
        self,
        storage: Storage,
        open_store: Callable[[], AbstractContextManager[tuple[Store, Callable[[], LayerWorker]]]],
    ) -> None:
        self._storage = storage
        self._open = open_store
        self._turn = threading.Lock()
        self._packed: dict[Digest, Digest] = {}  # manifest of an image

    def repositories(self) -> list[str]:
        """See ``Content``."""
        return sorted(self._names())

    def tags(self, name: str) -> list[str] | None:
        """See ``Content``."""
        found = self._names().get(_short(name))
        return sorted(found) if found is not None else None

    def manifest(self, name: str, reference: Digest | str) -> tuple[Entry, bytes] | None:
        """See ``Content``; packs the image if that is needed."""
        if isinstance(reference, Digest):
            return self._storage.manifest(_ALL, reference)
        image = self._names().get(_short(name), {}).get(reference)
        if image is None:
            return None
        with self._turn:
            digest = self._packed.get(image)
            found = None if digest is None else self._storage.manifest(_ALL, digest)
            if found is None:
                digest = self._pack(image)
                self._packed[image] = digest
                found = self._storage.manifest(_ALL, digest)
            return found

    def blob(self, name: str, digest: Digest) -> str | None:
        """See ``Content``; whoever may ask may have the content of all of them."""
        return self._storage.blob(_ALL, digest) if _short(name) in self._names() else None

    def referrers(self, name: str, subject: Digest, after: str = "") -> Iterator[Entry]:
        """See ``Content``."""
        if _short(name) in self._names():
            yield from self._storage.referrers(_ALL, subject, after)

    def _names(self) -> dict[str, dict[str, Digest]]:
        """Images by repository and tag."""
        with self._open() as (store, _):
            return shown_names(store)

    def _pack(self, image: Digest) -> Digest:
        into = _Into(self._storage)
        with self._open() as (store, worker):
            try:
                with store.hold({layer.diff_id for layer in store.layers_of(image)}):
                    config, extras = store.config(image), store.extras(image)
                    finished = FinishedImage(
                        config=store.config_bytes(image),
                        layers=store.layers_of(image),  # as they are, now that they stay
                        platform=Platform(config.os or "linux", config.architecture, config.variant or None),
                        statements=extras.statements,
                    )
                    packer = Packer(store, worker(), Compression(kind="uncompressed"))
                    written = write_images(into, packer, [finished], annotations=extras.annotations)
            except ImageNotFound:
                raise Refusal(404, "MANIFEST_UNKNOWN", "the image has just been removed") from None
        for descriptor in (*written.manifests, written.descriptor):
            into.register(descriptor)
        return written.descriptor.digest


def shown_names(store: Store) -> dict[str, dict[str, Digest]]:
    """The images that are shown, by repository and tag."""
    found: dict[str, dict[str, Digest]] = {}
    for row in store.image_rows():
        if row.repository == "<none>" or row.tag == "<none>":
            continue
        name = shown_as(ImageRef.parse(f"{row.repository}:{row.tag}"))
        if name is not None:
            found.setdefault(name, {})[row.tag] = row.id
    return found


def shown_rows(address: str, store: Store) -> tuple[RegistryImageRow, ...]:
    """The same as rows; before an image is packed its digest is not known.

    Args:
        address: of the registry.
        store: whose images are shown.
    """
    sizes = {row.id: row.size for row in store.image_rows()}
    return tuple(
        RegistryImageRow(
            registry=address,
            repository=name,
            tag=tag,
            digest="",
            kind="image",
            size=sizes[image],
            pushed=0,
        )
        for name, tags in sorted(shown_names(store).items())
        for tag, image in sorted(tags.items())
        if image in sizes
    )


def shown_as(ref: ImageRef) -> str | None:
    """The repository that shows an image: docker's short name, or with the host of another registry before it.

    Returns:
        ``None`` if there can be no such repository.
    """
    if ref.registry == DEFAULT_REGISTRY:
        return ref.familiar_name
    try:
        return checked_name(f"{ref.registry.replace(':', '-').lower()}/{ref.repository}")
    except Refusal:
        return None


def _short(name: str) -> str:
    return name.removeprefix("library/")


class _Into(FileLayout):
    """A layout whose blobs become those of a storage; documents become known as manifests with :meth:`register`."""

    ordered = True

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._small: dict[Digest, bytes] = {}

    def blob(self, digest: Digest, content: bytes) -> None:
        """See ``Layout``."""
        import io

        self._small[digest] = content
        self.stream(digest, len(content), io.BytesIO(content))

    def stream(self, digest: Digest, size: int, source: IO[bytes]) -> None:
        """See ``FileLayout``."""
        path = f"{self._storage.uploads}/{os.urandom(8).hex()}"
        state, count = hashlib.new(digest.algorithm), 0
        try:
            with open(path, "xb", buffering=0) as sink:
                while part := source.read(CHUNK):
                    state.update(part)
                    count += len(part)
                    view = memoryview(part)
                    while view:
                        view = view[sink.write(view) :]
            if count != size:
                raise StoreProblem(f"layer {digest} changed while it was being packed")
            if state.hexdigest() != digest.hex:
                raise DigestMismatch(f"content has digest {digest.algorithm}:{state.hexdigest()}, not {digest}")
            self._storage.take_blob(_ALL, digest, path)
        finally:
            if os.path.exists(path):
                os.unlink(path)

    def finish(self, manifests: tuple[Descriptor, ...], others: dict[str, bytes] | None = None) -> None:
        """Not used: a registry has no index of its own."""

    def register(self, descriptor: Descriptor) -> None:
        """Let a document that was written be a manifest, with those of an index before it."""
        data = self._small[descriptor.digest]
        entry, named = check_manifest(data, descriptor.media_type, "sha256", self._size, lambda _: True)
        for part in named.manifests:
            inner = self._small.get(part.digest)
            if inner is not None:
                self.register(Descriptor(part.media_type, part.digest, part.size))
        self._storage.put_manifest(_ALL, entry, data, (), named.subject)

    def _size(self, digest: Digest) -> int | None:
        path = self._storage.blob(_ALL, digest)
        return None if path is None else os.path.getsize(path)
