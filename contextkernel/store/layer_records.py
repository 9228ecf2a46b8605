"""The part of the store about layers, and about blobs: documents, and layers as they came from outside."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from contextkernel.model.digest import Digest
    from contextkernel.model.layers import Layer, LayerFacts
    from contextkernel.store.blobs import Blobs, Readable
    from contextkernel.store.layers import Layers
    from contextkernel.store.paths import Paths
    from contextkernel.store.sessions import Session


class LayerRecords:
    """What a store knows of layers and blobs; see :class:`contextkernel.store.Store`."""

    _paths: Paths
    _session: Session
    _layers: Layers
    _blobs: Blobs

    # ---- layers

    def new_layer_dir(self) -> str:
        """Make a layer directory with empty ``diff/`` and ``work/``, owned by this session until it is added.

        Returns:
            Its absolute path.
        """
        return self._layers.new_directory()

    def add_layer(
        self,
        directory: str,
        facts: LayerFacts,
        *,
        blob: Digest | None = None,
        media_type: str = "",
        yields: bool = True,
    ) -> Layer:
        """Make a complete layer directory known.

        A layer with the same ``diff_id`` that is already there wins, and ``directory`` becomes trash. The layer is
        leased to this session until an image or a build step refers to it, so that nobody removes it meanwhile.

        Args:
            directory: from :meth:`new_layer_dir`, with ``diff/`` and ``index`` complete.
            facts: what the layer worker found.
            blob: the original blob to keep for it, already written.
            media_type: of the blob.
            yields: whether ``directory`` becomes trash where there is an equal layer; else it stays the caller's.

        Raises:
            StoreProblem: the directory is not one of this store, or incomplete, or the blob is missing.
        """
        return self._layers.add(directory, facts, blob, media_type, yields=yields)

    def discard_layer_dir(self, directory: str) -> None:
        """Give up a directory from :meth:`new_layer_dir` that will not be added: it becomes trash."""
        self._layers.discard(directory)

    def layer(self, diff_id: Digest) -> Layer:
        """The layer.

        Raises:
            StoreProblem: it is not here.
        """
        return self._layers.get(diff_id)

    def has_layer(self, diff_id: Digest) -> bool:
        """Whether the layer is here."""
        return self._layers.find(diff_id) is not None

    def hold(self, diff_ids: Iterable[Digest], *, expected: bool = False) -> AbstractContextManager[None]:
        """Keep layers from being removed while a ``with`` block works on them; ``expected``: they may still be to come.

        Raises:
            StoreProblem: one of them is not here.
        """
        return self._layers.hold(diff_ids, expected=expected)

    def expect(self, layers: Iterable[Digest] = (), blobs: Iterable[Digest] = ()) -> AbstractContextManager[None]:
        """Keep layers and blobs that are here, or will come, from being removed while a ``with`` block brings them in.

        Whatever others of this process begin, end or give up meanwhile; what nothing refers to afterwards is removed.
        """
        return self._layers.expect(layers, blobs)

    def release(self, digests: Iterable[Digest]) -> None:
        """Give up this session's leases on layers and blobs after a failure; what nothing uses is removed."""
        self._layers.release(digests)

    # ---- blobs

    def write_blob(self, content: bytes | Readable, expected: Digest | None = None, size: int | None = None) -> Digest:
        """Write a blob, verifying it on the way; it appears under its digest complete or not at all.

        Args:
            content: bytes, or an object with ``read(n)``.
            expected: the digest it must have.
            size: the number of bytes it must have; reading stops as soon as there are more.

        Raises:
            DigestMismatch, SizeMismatch: nothing was stored.
        """
        return self._blobs.write(content, expected, size)

    def adopt_blob(self, path: str, digest: Digest) -> None:
        """Move a file of the store, whose content was verified, to where blobs are."""
        self._blobs.adopt(path, digest)

    def drop_blob(self, digest: Digest) -> None:
        """Remove a blob that this session wrote and that turned out not to be needed; kept if anything refers to it."""
        self._blobs.drop(digest)

    def open_blob(self, digest: Digest, size: int | None = None) -> IO[bytes]:
        """A reader that verifies: reading to the end of a damaged blob raises.

        Raises:
            StoreProblem: there is no such blob. DigestMismatch, SizeMismatch: while reading.
        """
        return self._blobs.open(digest, size)

    def blob_path(self, digest: Digest) -> str:
        """Where the blob is, or would be."""
        return self._paths.blob(digest)

    def temporary_path(self) -> str:
        """A path for a file or directory that goes when this session ends, however it ends."""
        return self._paths.temporary(self._session.id)
