"""What belongs to an image beside its configuration: attestations and annotations, for when it leaves the store."""

from __future__ import annotations

import msgspec

from contextkernel.model.codec import from_msgpack, to_msgpack
from contextkernel.model.digest import Digest
from contextkernel.model.outputs import Annotation, Statement
from contextkernel.store import leases
from contextkernel.store.blobs import Blobs
from contextkernel.store.database import Database
from contextkernel.store.sessions import Session


class Extras(msgspec.Struct, frozen=True, kw_only=True):
    """Attestations and annotations of an image.

    Statements are kept without their subject: the digest of the manifest depends on how layers are packed.
    """

    statements: tuple[Statement, ...] = ()
    annotations: tuple[Annotation, ...] = ()


class ImageExtras:
    """The extras of the images of a store."""

    def __init__(self, database: Database, session: Session, blobs: Blobs) -> None:
        self._database = database
        self._session = session
        self._blobs = blobs

    def set(self, image: Digest, extras: Extras) -> None:
        """See ``Store.set_extras``."""
        blobs = [self._blobs.write(statement.predicate, None, None) for statement in extras.statements]
        session, key = self._session.id, str(image)
        with self._database.transaction() as sql:
            sql.execute("DELETE FROM image_statements WHERE image = ?", (key,))
            sql.execute("DELETE FROM image_annotations WHERE image = ?", (key,))
            sql.executemany(
                "INSERT INTO image_statements (image, position, predicate_type, name, blob) VALUES (?, ?, ?, ?, ?)",
                [
                    (key, position, one.predicate_type, one.name, str(blob))
                    for position, (one, blob) in enumerate(zip(extras.statements, blobs, strict=True))
                ],
            )
            if extras.annotations:
                sql.execute(
                    "INSERT INTO image_annotations (image, document) VALUES (?, ?)",
                    (key, to_msgpack(extras.annotations)),
                )
            leases.end(sql, session, leases.BLOB, blobs)

    def get(self, image: Digest) -> Extras:
        """See ``Store.extras``."""
        rows = self._database.all(
            "SELECT predicate_type, name, blob FROM image_statements WHERE image = ? ORDER BY position", (str(image),)
        )
        found = self._database.one("SELECT document FROM image_annotations WHERE image = ?", (str(image),))
        return Extras(
            statements=tuple(
                Statement(predicate_type=kind, name=name, predicate=self._blobs.read(Digest(blob)))
                for kind, name, blob in rows
            ),
            annotations=from_msgpack(found[0], tuple[Annotation, ...]) if found else (),
        )
