"""An image from a directory in OCI image layout (image-spec, image-layout.md), as ``oci-layout://`` names one."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import IO

import msgspec

from contextkernel.errors import ImageNotFound, InvalidArchive, InvalidInput
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import Descriptor, Index
from contextkernel.model.platform import Platform
from contextkernel.model.ports import LayerWorker, Reporter
from contextkernel.store.archive_file import ArchiveFile
from contextkernel.store.archive_load import loading, oci_images
from contextkernel.store.store import Store

_TAG = "org.opencontainers.image.ref.name"
_FULL = "io.containerd.image.name"


def split_layout(text: str) -> tuple[str, str]:
    """``DIRECTORY[:TAG]`` or ``DIRECTORY@DIGEST`` as directory, and tag or digest (``latest`` if there is neither)."""
    path, at, digest = text.rpartition("@")
    if at and ":" in digest:
        return path, digest
    path, colon, tag = text.rpartition(":")
    if colon and "/" not in tag:
        return path, tag
    return text, "latest"


def load_layout(
    store: Store,
    worker: LayerWorker,
    layout: str,
    *,
    platform: Platform | None = None,
    report: Reporter | None = None,
    limit: int | None = None,
) -> Digest:
    """Bring an image of a layout directory into the store, without a name.

    Args:
        store: where to.
        worker: unpacks the layers.
        layout: see :func:`split_layout`.
        platform: that the image must be for; by default this host's, and images for another one are not found.
        report: receives ``StepProgress`` per layer.
        limit: the most bytes that a layer may have when unpacked.

    Returns:
        The image.

    Raises:
        ImageNotFound: no such directory, or no such image in it. InvalidArchive, DigestMismatch, SizeMismatch: damaged.
    """
    directory, wanted = split_layout(layout)
    shown = f"the image layout {directory!r}"
    if not os.path.isfile(os.path.join(directory, "index.json")):
        raise ImageNotFound(f"{shown} has no index.json", hint="name a directory in OCI image layout")
    archive = LayoutDirectory(directory, shown)
    archive.keep_only(wanted)
    with ExitStack() as stack:
        images = list(oci_images(archive, shown))
        if not images:
            raise ImageNotFound(f"{shown} has no image {wanted!r} for {platform or Platform.host()}")
        image = images[0]
        brought = loading(store, worker, archive, report, limit, stack)
        try:
            brought.layers(list({layer.diff_id: layer for layer in image.layers}.values()))
            return store.add_image(image.config, origin="load")
        except BaseException:
            brought.undo()
            raise


class LayoutDirectory(ArchiveFile):
    """The files of a layout directory, as if they were members of an archive.

    Args:
        directory: path.
        shown: what to call it in messages.
    """

    def __init__(self, directory: str, shown: str) -> None:
        self._directory = directory
        self._shown = shown
        self._index: bytes | None = None

    def __contains__(self, name: str) -> bool:
        return os.path.isfile(self._path(name))

    def size(self, name: str) -> int:
        """See ``ArchiveFile``."""
        if name == "index.json" and self._index is not None:
            return len(self._index)
        try:
            return os.stat(self._path(name)).st_size
        except OSError:
            raise InvalidArchive(f"{self._shown} lacks {name!r}", hint="it is incomplete; write it again") from None

    def open(self, name: str) -> IO[bytes]:
        """See ``ArchiveFile``."""
        try:
            return open(self._path(name), "rb")
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            raise InvalidArchive(f"cannot read {name!r} of {self._shown}: {reason}") from None

    def document(self, name: str) -> bytes:
        """See ``ArchiveFile``."""
        if name == "index.json" and self._index is not None:
            return self._index
        return super().document(name)

    def keep_only(self, wanted: str) -> None:
        """Forget all images of the index but one.

        Args:
            wanted: its digest, or its tag; ``latest`` is also the only one there is.

        Raises:
            ImageNotFound: there is no such image.
        """
        try:
            index = from_json(super().document("index.json"), Index)
        except (msgspec.DecodeError, InvalidInput, UnicodeDecodeError) as problem:
            raise InvalidArchive(f"index.json of {self._shown} cannot be understood: {problem}") from None
        found = [one for one in index.manifests if wanted in _names(one)]
        if not found and wanted == "latest" and len(index.manifests) == 1:
            found = list(index.manifests)
        if not found and ":" in wanted:  # a digest that only a nested index has
            size = self.size(f"blobs/{wanted.replace(':', '/', 1)}") if self._has(wanted) else -1
            found = (
                [Descriptor("application/vnd.oci.image.manifest.v1+json", Digest(wanted), size)] if size >= 0 else []
            )
        if not found:
            names = sorted({name for one in index.manifests for name in _names(one) if "sha256:" not in name})
            raise ImageNotFound(
                f"{self._shown} has no image {wanted!r}", hint=f"it has {', '.join(names)}" if names else None
            )
        bare = msgspec.structs.replace(found[0], annotations=None)
        self._index = to_json(msgspec.structs.replace(index, manifests=(bare,)))

    def _has(self, digest: str) -> bool:
        try:
            Digest(digest)
        except InvalidInput:
            return False
        return f"blobs/{digest.replace(':', '/', 1)}" in self

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)


def _names(descriptor: Descriptor) -> set[str]:
    notes = descriptor.annotations or {}
    tag = notes.get(_TAG, "")
    full = notes.get(_FULL, "")
    return {str(descriptor.digest), tag, tag.rpartition(":")[2], full, full.rpartition(":")[2]} - {""}
