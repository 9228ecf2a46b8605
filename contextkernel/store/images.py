"""Image records: configs, names, look-up."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from contextkernel.errors import ImageNotFound, InvalidInput, InvalidReference
from contextkernel.model.codec import from_json
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Layer
from contextkernel.model.oci import ImageConfig
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.model.results import CompareRow, HistoryRow, ImageRow, Pruned
from contextkernel.store import leases
from contextkernel.store.blobs import Blobs
from contextkernel.store.database import Database
from contextkernel.store.layers import Layers, missing
from contextkernel.store.paths import Paths
from contextkernel.store.sessions import Session
from contextkernel.store.sweep import Sweeper
from contextkernel.store.times import parse_time

_ID_PART = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})\Z")


class Images:
    """The images of a store."""

    def __init__(
        self, paths: Paths, database: Database, session: Session, blobs: Blobs, layers: Layers, sweeper: Sweeper
    ) -> None:
        self._paths = paths
        self._database = database
        self._session = session
        self._blobs = blobs
        self._layers = layers
        self._sweeper = sweeper

    # ---- adding and naming

    def add(self, config: bytes, origin: str, names: Iterable[ImageRef]) -> Digest:
        """See ``Store.add_image``."""
        document = read_config(config)
        wanted = tuple(names)
        session = self._session.id
        now = time.time_ns()
        image = Digest.of(config)
        # an image that is here needs no file written and synchronised; removal takes its row under the same lock
        with self._database.transaction() as sql:
            known = sql.execute("SELECT 1 FROM images WHERE id = ?", (str(image),)).fetchone() is not None
            if known and self._blobs.has(image, config):
                for ref in wanted:
                    _set_name(sql, image, ref, now)
                leases.end(sql, session, leases.LAYER, document.rootfs.diff_ids)
                return image
        image = self._blobs.write(config, None, None)
        with self._database.transaction() as sql:
            if not sql.execute("SELECT 1 FROM images WHERE id = ?", (str(image),)).fetchone():
                self._insert(sql, image, document, origin, now)
            for ref in wanted:
                _set_name(sql, image, ref, now)
            leases.end(sql, session, leases.BLOB, [image])
            leases.end(sql, session, leases.LAYER, document.rootfs.diff_ids)
        return image

    def _insert(self, sql: sqlite3.Connection, image: Digest, config: ImageConfig, origin: str, now: int) -> None:
        sizes = []
        for diff_id in config.rootfs.diff_ids:
            row = sql.execute("SELECT size FROM layers WHERE diff_id = ?", (str(diff_id),)).fetchone()
            if row is None:
                raise missing(diff_id)
            sizes.append(row[0])
        sql.execute(
            "INSERT INTO images (id, origin, created, added, size) VALUES (?, ?, ?, ?, ?)",
            (str(image), origin, parse_time(config.created), now, sum(sizes)),
        )
        sql.executemany(
            "INSERT INTO image_layers (image, position, diff_id) VALUES (?, ?, ?)",
            [(str(image), position, str(diff_id)) for position, diff_id in enumerate(config.rootfs.diff_ids)],
        )

    def tag(self, image: Digest, ref: ImageRef) -> None:
        """See ``Store.tag``."""
        if ref.tag is None or ref.digest is not None:
            raise InvalidReference(
                f"cannot tag with {ref.familiar!r}: a name with a digest cannot be given", hint="use name:tag"
            )
        with self._database.transaction() as sql:
            self._require(sql, image)
            _set_name(sql, image, ref, time.time_ns())

    def tags_of(self, image: Digest) -> tuple[ImageRef, ...]:
        """See ``Store.tags_of``."""
        rows = self._database.all("SELECT registry, repository, tag FROM tags WHERE image = ?", (str(image),))
        return tuple(sorted(ImageRef(*row) for row in rows))

    def remember_platform(self, ref: ImageRef, platform: Platform, image: Digest) -> None:
        """See ``Store.remember_platform``."""
        with self._database.transaction() as sql:
            self._require(sql, image)
            sql.execute(
                "INSERT OR REPLACE INTO platform_images (reference, platform, image) VALUES (?, ?, ?)",
                (str(ref), str(platform), str(image)),
            )

    def for_platform(self, ref: ImageRef, platform: Platform) -> Digest:
        """See ``Store.for_platform``."""
        row = self._database.one(
            "SELECT image FROM platform_images WHERE reference = ? AND platform = ?", (str(ref), str(platform))
        )
        if row is not None:
            return Digest(row[0])
        image = self.resolve(str(ref))
        config = self.config(image)
        has = Platform.of(config.os, config.architecture, config.variant)
        if platform.takes(has):
            return image
        raise ImageNotFound(
            f"image {ref.familiar!r} in the store is for {has}, not for {platform}",
            hint=f"FROM --platform={has} takes it as it is",
        )

    # ---- reading

    def _require(self, sql: sqlite3.Connection, image: Digest) -> None:
        if not sql.execute("SELECT 1 FROM images WHERE id = ?", (str(image),)).fetchone():
            raise ImageNotFound(f"no such image: {image}", hint="images lists the images there are")

    def config_bytes(self, image: Digest) -> bytes:
        """See ``Store.config_bytes``."""
        with self._database.snapshot() as sql:
            self._require(sql, image)
        return self._blobs.read(image)

    def config(self, image: Digest) -> ImageConfig:
        """See ``Store.config``."""
        return read_config(self.config_bytes(image))

    def layers_of(self, image: Digest) -> tuple[Layer, ...]:
        """See ``Store.layers_of``."""
        with self._database.snapshot() as sql:
            layers = self._layers.of_image(sql, image)
            if not layers:
                remembered = self._layers.of_removed(sql, image)
                if remembered is not None:
                    return remembered
                self._require(sql, image)
            return layers

    def resolve(self, text: str) -> Digest:
        """See ``Store.resolve``."""
        with self._database.snapshot() as sql:
            return resolve(sql, text)[0]

    # ---- views and removal

    def rows(self, *, all: bool, reference: str | None) -> tuple[ImageRow, ...]:
        """See ``Store.image_rows``."""
        from contextkernel.store.views import image_rows

        del all  # docker's intermediate images do not exist here
        with self._database.snapshot() as sql:
            return image_rows(sql, reference)

    def history(self, image: Digest) -> tuple[HistoryRow, ...]:
        """See ``Store.history_rows``."""
        from contextkernel.store.views import history_rows

        return history_rows(image, self.config(image), self.layers_of(image))

    def compare(self, images: Sequence[tuple[str, Digest]]) -> tuple[CompareRow, ...]:
        """See ``Store.compare``."""
        from contextkernel.layer.compare import compare

        return compare(
            [(name, [(layer.diff_id, layer.size) for layer in self.layers_of(image)]) for name, image in images]
        )

    def inspect(self, image: Digest) -> dict[str, Any]:
        """See ``Store.inspect_image``."""
        from contextkernel.store.inspect import inspect_image

        config, layers = self.config_bytes(image), self.layers_of(image)
        with self._database.snapshot() as sql:
            return inspect_image(sql, image, config, layers)

    def remove(self, text: str, *, force: bool, running: Callable[[str], bool] | None) -> tuple[str, ...]:
        """See ``Store.remove_image``."""
        from contextkernel.store.removal import Removal

        removal = Removal(self._paths, running)
        assert self._session.id  # so that unused blobs are found if this process is killed after the commit  # noqa: S101
        with self._database.transaction() as sql:
            lines = removal.remove(sql, text, force=force)
        if removal.deleted:
            self._sweeper.collect()
        return lines

    def prune(self, image: Digest, *, named: bool) -> Pruned:
        """See ``Store.prune_image``."""
        from contextkernel.store.removal import Removal

        removal = Removal(self._paths, None)
        assert self._session.id  # see remove  # noqa: S101
        with self._database.transaction() as sql:
            lines = removal.prune(sql, image, named=named)
        if removal.deleted:
            self._sweeper.collect()
        return Pruned(removed=lines, size=removal.freed)


def read_config(data: bytes) -> ImageConfig:
    """The image configuration in ``data``.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return from_json(data, ImageConfig)
    except (msgspec.DecodeError, InvalidInput, UnicodeDecodeError) as problem:
        raise InvalidInput(
            f"not an image configuration: {problem}", hint="see the OCI image specification, config.md"
        ) from None


def _set_name(sql: sqlite3.Connection, image: Digest, ref: ImageRef, now: int) -> None:
    # a name with tag and digest is one by digest: docker pull does not set the tag either
    if ref.digest is not None:
        sql.execute(
            "INSERT OR REPLACE INTO repo_digests (registry, repository, digest, image) VALUES (?, ?, ?, ?)",
            (ref.registry, ref.repository, str(ref.digest), str(image)),
        )
    elif ref.tag is not None:
        sql.execute(
            "INSERT OR REPLACE INTO tags (registry, repository, tag, image, tagged) VALUES (?, ?, ?, ?, ?)",
            (ref.registry, ref.repository, ref.tag, str(image), now),
        )
    else:
        raise InvalidReference(f"{ref.familiar!r} has neither tag nor digest")


def resolve(sql: sqlite3.Connection, text: str) -> tuple[Digest, ImageRef | None]:
    """The image ``text`` names, and the reference if it was one (``None`` for an id or a part of one).

    The order is docker's: a whole id, a reference, the beginning of an id.

    Raises:
        ImageNotFound, InvalidReference, InvalidInput: see ``Store.resolve``.
    """
    part = _ID_PART.match(text)
    if part and len(part[1]) == 64:
        if sql.execute("SELECT 1 FROM images WHERE id = ?", (f"sha256:{part[1]}",)).fetchone():
            return Digest.from_hex(part[1]), None
        raise ImageNotFound(f"no such image: {text}", hint="images lists the images there are")
    try:
        ref: ImageRef | None = ImageRef.parse(text)
    except InvalidReference:
        if not part:
            raise
        ref = None
    if ref is not None:
        found = _by_name(sql, ref)
        if found:
            return found, ref
    if part:
        rows = sql.execute("SELECT id FROM images WHERE id GLOB ? ORDER BY id", (f"sha256:{part[1]}*",)).fetchall()
        if len(rows) == 1:
            return Digest(rows[0][0]), None
        if rows:
            shown = ", ".join(Digest(row[0]).short for row in rows[:5]) + (", ..." if len(rows) > 5 else "")
            raise InvalidInput(f"image id {text!r} is ambiguous: {shown}", hint="give more digits, or the name")
    raise ImageNotFound(f"no such image: {text}", hint=_near(sql, text))


def _by_name(sql: sqlite3.Connection, ref: ImageRef) -> Digest | None:
    if ref.digest is not None:
        row = sql.execute(
            "SELECT image FROM repo_digests WHERE registry = ? AND repository = ? AND digest = ?",
            (ref.registry, ref.repository, str(ref.digest)),
        ).fetchone()
        if row is None:
            # docker also takes the image's own id after the @
            row = sql.execute(
                "SELECT image FROM tags WHERE registry = ? AND repository = ? AND image = ?",
                (ref.registry, ref.repository, str(ref.digest)),
            ).fetchone()
    else:
        row = sql.execute(
            "SELECT image FROM tags WHERE registry = ? AND repository = ? AND tag = ?",
            (ref.registry, ref.repository, ref.tag),
        ).fetchone()
    return Digest(row[0]) if row else None


def _near(sql: sqlite3.Connection, text: str) -> str:
    from difflib import get_close_matches

    rows = sql.execute("SELECT registry, repository, tag FROM tags").fetchall()
    names = sorted({ImageRef(*row).familiar for row in rows})
    bare = {name.partition(":")[0]: name for name in names if name.count(":") == 1}
    near = get_close_matches(text, names, n=3) or [bare[name] for name in get_close_matches(text, list(bare), n=3)]
    return f"did you mean {' or '.join(near)}?" if near else "images lists the images there are"
