"""What the store knows of its images elsewhere: packed forms of layers, where they lie, manifests, lists.

None of it is content: everything here may be forgotten and is then found out again. Rows go with the layer or image
that they are about, and nothing is recorded of what is not here.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable

import msgspec

from contextkernel.errors import NotFound
from contextkernel.model.digest import Digest
from contextkernel.model.oci import Descriptor
from contextkernel.model.reference import ImageRef
from contextkernel.store.database import Database

#: Repositories that are remembered for one blob, and manifests for one image; docker keeps 50 of the former.
_MOST_PLACES = 50
_MOST_MANIFESTS = 20


class Place(msgspec.Struct, frozen=True, order=True):
    """A repository that has a blob, or had it when it was last spoken to.

    Attributes:
        registry: host and optional port.
        repository: path within the registry, e.g. ``library/ubuntu``.
    """

    registry: str
    repository: str


class KnownManifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest that an image came with or was pushed as.

    Attributes:
        media_type: as the registry said, or as it was pushed.
        document: byte for byte.
    """

    digest: Digest
    media_type: str
    document: bytes


class Distribution:
    """Records about images in registries. See the module."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ---- packed forms of layers

    def remember_packed(self, diff_id: Digest, packed: Descriptor, *, recipe: str = "") -> None:
        """Note a packed form of a layer, whether its bytes are here or not.

        Args:
            diff_id: of the layer; nothing is noted if the layer is not here.
            packed: media type, digest and size of the blob; the rest of it is not kept.
            recipe: how this package made it; empty for what others made.
        """
        with self._database.transaction() as sql:
            sql.execute(
                "INSERT INTO packed_layers (diff_id, digest, size, media_type, recipe, seen)"
                " SELECT diff_id, ?, ?, ?, ?, ? FROM layers WHERE diff_id = ?"
                " ON CONFLICT (diff_id, digest) DO UPDATE SET seen = excluded.seen,"
                " recipe = CASE excluded.recipe WHEN '' THEN recipe ELSE excluded.recipe END",
                (str(packed.digest), packed.size, packed.media_type, recipe, time.time_ns(), str(diff_id)),
            )

    def packed_forms(self, diff_id: Digest, *, recipe: str | None = None) -> tuple[Descriptor, ...]:
        """The packed forms of a layer that are known, newest first.

        Args:
            diff_id: of the layer.
            recipe: only those made so.
        """
        rows = self._database.all(
            "SELECT media_type, digest, size FROM packed_layers WHERE diff_id = ? AND (? IS NULL OR recipe = ?)"
            " ORDER BY seen DESC, digest",
            (str(diff_id), recipe, recipe),
        )
        return tuple(Descriptor(media, Digest(digest), size) for media, digest, size in rows)

    # ---- where blobs are

    def remember_places(self, digests: Iterable[Digest], registry: str, repository: str) -> None:
        """Note that a repository has blobs; of very many repositories for one blob the longest unseen is forgotten."""
        now = time.time_ns()
        with self._database.transaction() as sql:
            for digest in digests:
                sql.execute(
                    "INSERT OR REPLACE INTO blob_places (digest, registry, repository, seen) VALUES (?, ?, ?, ?)",
                    (str(digest), registry, repository, now),
                )
                _keep_newest(sql, "blob_places", "digest", str(digest), _MOST_PLACES)

    def places(self, digest: Digest, registry: str | None = None) -> tuple[Place, ...]:
        """The repositories that have a blob, last seen first.

        Args:
            digest: of the blob.
            registry: only of this one.
        """
        rows = self._database.all(
            "SELECT registry, repository FROM blob_places WHERE digest = ? AND (? IS NULL OR registry = ?)"
            " ORDER BY seen DESC, registry, repository",
            (str(digest), registry, registry),
        )
        return tuple(Place(*row) for row in rows)

    def forget_place(self, digest: Digest, registry: str, repository: str) -> None:
        """Note that a repository has a blob no longer. Idempotent."""
        with self._database.transaction() as sql:
            sql.execute(
                "DELETE FROM blob_places WHERE digest = ? AND registry = ? AND repository = ?",
                (str(digest), registry, repository),
            )

    # ---- manifests of images

    def remember_manifest(self, image: Digest, media_type: str, document: bytes) -> Digest:
        """Keep a manifest of an image, byte for byte; nothing is kept if the image is not here.

        Args:
            image: id of the image.
            media_type: of the document.
            document: an image manifest, not an index.

        Returns:
            The digest of the document.
        """
        digest = Digest.of(document)
        with self._database.transaction() as sql:
            sql.execute(
                "INSERT INTO image_manifests (image, digest, media_type, document, seen)"
                " SELECT id, ?, ?, ?, ? FROM images WHERE id = ?"
                " ON CONFLICT (image, digest) DO UPDATE SET seen = excluded.seen",
                (str(digest), media_type, document, time.time_ns(), str(image)),
            )
            _keep_newest(sql, "image_manifests", "image", str(image), _MOST_MANIFESTS)
        return digest

    def manifests_of(self, image: Digest) -> tuple[KnownManifest, ...]:
        """The manifests that an image came with or was pushed as, last seen first."""
        rows = self._database.all(
            "SELECT digest, media_type, document FROM image_manifests WHERE image = ? ORDER BY seen DESC, digest",
            (str(image),),
        )
        return tuple(
            KnownManifest(digest=Digest(digest), media_type=media, document=document)
            for digest, media, document in rows
        )

    # ---- lists in the making

    def save_list(self, reference: ImageRef, document: bytes) -> None:
        """Keep a manifest list that is being put together, in place of one of the same name."""
        with self._database.transaction() as sql:
            sql.execute(
                "INSERT OR REPLACE INTO manifest_lists (reference, document) VALUES (?, ?)", (str(reference), document)
            )

    def saved_list(self, reference: ImageRef) -> bytes:
        """A list that is being put together.

        Raises:
            NotFound: there is none of that name.
        """
        row = self._database.one("SELECT document FROM manifest_lists WHERE reference = ?", (str(reference),))
        if row is None:
            raise NotFound(f"no such manifest: {reference.familiar}", hint="manifest create makes one")
        return bytes(row[0])

    def lists(self) -> tuple[ImageRef, ...]:
        """The names of the lists that are being put together, sorted."""
        rows = self._database.all("SELECT reference FROM manifest_lists ORDER BY reference")
        return tuple(ImageRef.parse(row[0]) for row in rows)

    def remove_list(self, reference: ImageRef) -> bool:
        """Forget a list; whether there was one."""
        with self._database.transaction() as sql:
            return sql.execute("DELETE FROM manifest_lists WHERE reference = ?", (str(reference),)).rowcount > 0


def _keep_newest(sql: sqlite3.Connection, table: str, column: str, key: str, most: int) -> None:
    """Of the rows about one thing, keep those seen last."""
    sql.execute(
        f"DELETE FROM {table} WHERE {column} = ? AND seen < coalesce((SELECT seen FROM {table}"  # noqa: S608 # constants
        f" WHERE {column} = ? ORDER BY seen DESC LIMIT 1 OFFSET {most - 1}), 0)",
        (key, key),
    )
