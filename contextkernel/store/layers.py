"""Unpacked layers: directories in the making, and the rows that make them known."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from contextkernel.errors import StoreProblem
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Layer, LayerFacts
from contextkernel.store import leases
from contextkernel.store.bound import Bound
from contextkernel.store.database import Database
from contextkernel.store.paths import Paths, random_name, refused
from contextkernel.store.sessions import Session
from contextkernel.store.sweep import Sweeper

_COLUMNS = "l.diff_id, l.directory, l.size, l.entries, l.blob, l.media_type"


class Layers:
    """The layers of a store."""

    def __init__(self, paths: Paths, database: Database, session: Session, sweeper: Sweeper, bound: Bound) -> None:
        self._bound = bound
        self._paths = paths
        self._database = database
        self._session = session
        self._sweeper = sweeper

    def new_directory(self) -> str:
        """Make ``layers/<session><random>`` with ``diff/`` (mode 0755, an image's root) and ``work/``."""
        while True:
            name = self._session.id + random_name(6)
            path = self._paths.layer(name)
            self._session.pending.add(name)  # first: an interrupt may come at any moment
            try:
                os.mkdir(path, 0o700)
                os.mkdir(f"{path}/diff")
                os.chmod(f"{path}/diff", 0o755)  # whatever the umask is  # noqa: S103
                os.mkdir(f"{path}/work", 0o700)
            except FileExistsError:
                self._session.pending.discard(name)
                continue
            except OSError as problem:
                raise refused(problem, self._paths.root) from problem
            return path

    def _name(self, directory: str) -> str:
        name = os.path.basename(directory)
        if not name or os.path.normpath(directory) != self._paths.layer(name):
            raise StoreProblem(
                f"not a layer directory of the store {self._paths.root}: {directory!r}",
                hint="use what new_layer_dir returned",
            )
        return name

    def discard(self, directory: str) -> None:
        """Turn a directory that was never added into trash."""
        name = self._name(directory)
        with self._database.transaction() as sql:
            if sql.execute("SELECT 1 FROM layers WHERE directory = ?", (name,)).fetchone():
                raise StoreProblem(f"the layer directory {directory} is in use")
            sql.execute("INSERT OR IGNORE INTO trash (path) VALUES (?)", (f"layers/{name}",))
        self._session.pending.discard(name)

    def add(self, directory: str, facts: LayerFacts, blob: Digest | None, media_type: str, *, yields: bool) -> Layer:
        """See ``Store.add_layer``."""
        name = self._name(directory)
        for part, there in (("diff", os.path.isdir), ("index", os.path.isfile)):
            if not there(f"{directory}/{part}"):
                raise StoreProblem(f"the layer directory {directory} has no {part}", hint="commit or unpack it first")
        if blob is not None and not os.path.isfile(self._paths.blob(blob)):
            raise StoreProblem(f"there is no blob {blob} for the layer {facts.diff_id}", hint="write the blob first")
        if self.find(facts.diff_id) is None:
            self._bound.admit(facts.size, without=directory)
        session, key = self._session.id, str(facts.diff_id)
        with self._database.transaction() as sql:
            layer = self._row(sql, key)
            if layer is None:
                sql.execute(
                    "INSERT INTO layers (diff_id, directory, size, entries, blob, media_type)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (key, name, facts.size, facts.entries, str(blob) if blob else None, media_type),
                )
                layer = self._row(sql, key)
            elif layer.directory != self._paths.layer(name):
                if not yields:
                    return layer
                sql.execute("INSERT OR IGNORE INTO trash (path) VALUES (?)", (f"layers/{name}",))
            leases.begin(sql, session, leases.LAYER, facts.diff_id)
            if blob is not None and layer is not None and layer.blob == blob:
                leases.end(sql, session, leases.BLOB, [blob])
        self._session.pending.discard(name)
        assert layer is not None  # noqa: S101 # inserted above
        return layer

    def _row(self, sql: sqlite3.Connection, diff_id: str) -> Layer | None:
        row = sql.execute(f"SELECT {_COLUMNS} FROM layers l WHERE l.diff_id = ?", (diff_id,)).fetchone()  # noqa: S608
        return self.value(row) if row else None

    def value(self, row: tuple[str, str, int, int, str | None, str]) -> Layer:
        """A row of the layers table as a value."""
        diff_id, directory, size, entries, blob, media_type = row
        return Layer(
            diff_id=Digest(diff_id),
            directory=self._paths.layer(directory),
            size=size,
            entries=entries,
            blob=Digest(blob) if blob else None,
            media_type=media_type,
        )

    def find(self, diff_id: Digest) -> Layer | None:
        """The layer, or ``None``."""
        row = self._database.one(f"SELECT {_COLUMNS} FROM layers l WHERE l.diff_id = ?", (str(diff_id),))  # noqa: S608
        return self.value(row) if row else None

    def get(self, diff_id: Digest) -> Layer:
        """The layer.

        Raises:
            StoreProblem: it is not here.
        """
        layer = self.find(diff_id)
        if layer is None:
            raise missing(diff_id)
        return layer

    def of_image(self, sql: sqlite3.Connection, image: Digest) -> tuple[Layer, ...]:
        """The layers of an image, base first; empty for one that does not exist."""
        rows = sql.execute(
            f"SELECT {_COLUMNS} FROM image_layers i JOIN layers l USING (diff_id) WHERE i.image = ? ORDER BY position",  # noqa: S608
            (str(image),),
        )
        return tuple(self.value(row) for row in rows)

    def of_removed(self, sql: sqlite3.Connection, image: Digest) -> tuple[Layer, ...] | None:
        """The layers of an image that only a container remembers, or ``None``."""
        found = sql.execute("SELECT id FROM containers WHERE image = ? LIMIT 1", (str(image),)).fetchone()
        if not found:
            return None
        rows = sql.execute(
            f"SELECT {_COLUMNS} FROM container_layers c JOIN layers l USING (diff_id)"  # noqa: S608
            " WHERE c.container = ? ORDER BY position",
            found,
        )
        return tuple(self.value(row) for row in rows)

    @contextmanager
    def hold(self, diff_ids: Iterable[Digest], *, expected: bool) -> Iterator[None]:
        """See ``Store.hold``."""
        wanted = list(diff_ids)
        holder = leases.new_holder(self._session.id)
        with self._database.transaction() as sql:
            for diff_id in wanted:
                if not expected and self._row(sql, str(diff_id)) is None:
                    raise missing(diff_id)
                leases.begin(sql, holder, leases.LAYER, diff_id)
        try:
            yield
        finally:
            with self._database.transaction() as sql:
                leases.end_holder(sql, holder)

    @contextmanager
    def expect(self, layers: Iterable[Digest], blobs: Iterable[Digest]) -> Iterator[None]:
        """See ``Store.expect``."""
        holder = leases.new_holder(self._session.id)
        with self._database.transaction() as sql:
            for diff_id in layers:
                leases.begin(sql, holder, leases.LAYER, diff_id)
            for digest in blobs:
                leases.begin(sql, holder, leases.BLOB, digest)
        try:
            yield
        finally:
            with self._database.transaction() as sql:
                leases.end_holder(sql, holder)
            self._sweeper.collect()

    def release(self, digests: Iterable[Digest]) -> None:
        """See ``Store.release``."""
        if not self._session.active:
            return
        session, given_up = self._session.id, list(digests)
        with self._database.transaction() as sql:
            leases.end(sql, session, leases.LAYER, given_up)
            leases.end(sql, session, leases.BLOB, given_up)
        self._sweeper.collect()


def missing(diff_id: Digest) -> StoreProblem:
    """The error for a layer that is not here."""
    return StoreProblem(
        f"the layer {diff_id} is not in the store", hint="build or pull the image again; contextkernel system check"
    )
