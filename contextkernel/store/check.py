"""Verifying a store: everything that can be verified without unpacking anything."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable

import msgspec

from contextkernel.errors import ContextKernelError, StoreProblem
from contextkernel.model.codec import from_json
from contextkernel.model.container import ContainerSpec
from contextkernel.model.digest import Digest
from contextkernel.model.oci import ImageConfig
from contextkernel.model.results import CheckFinding
from contextkernel.store import leases
from contextkernel.store.blobs import CHUNK, Blobs
from contextkernel.store.bound import Bound
from contextkernel.store.database import Database
from contextkernel.store.paths import Paths
from contextkernel.store.sessions import Session
from contextkernel.store.sweep import Sweeper


class Checker:
    """One check of a store; see ``Store.check``."""

    def __init__(self, paths: Paths, database: Database, session: Session, sweeper: Sweeper) -> None:
        self._paths = paths
        self._database = database
        self._session = session
        self._sweeper = sweeper
        self._blobs = Blobs(paths, database, session, Bound(paths, database))
        self._findings: list[CheckFinding] = []
        self._repair = False

    def run(self, *, repair: bool) -> tuple[CheckFinding, ...]:
        """Check all, in an order in which each repair finds what the earlier ones left."""
        self._repair = repair
        self._findings = []
        if self._damaged():
            return tuple(self._findings)  # its rows cannot be relied on, least of all for repairs
        self._check_pointers()
        self._check_layers()
        self._check_images()
        self._check_containers()
        if repair and self._findings:
            self._sweeper.collect()  # what a repair made unused is no finding of its own
        self._check_leftovers()
        if repair and self._findings:
            self._sweeper.collect()
        return tuple(self._findings)

    def _found(self, what: str, where: str, mend: Callable[[sqlite3.Connection], object] | None = None) -> None:
        repaired = False
        if self._repair and mend is not None:
            with self._database.transaction() as sql:
                mend(sql)
            repaired = True
        self._findings.append(CheckFinding(what=what, where=where, repaired=repaired))

    # ---- database

    def _damaged(self) -> bool:
        try:
            texts = [row[0] for row in self._database.all("PRAGMA integrity_check")]
        except StoreProblem as problem:
            texts = [problem.problem]
        for text in texts:
            if text != "ok":
                self._found(f"the database is damaged: {text}", self._paths.database)
        return bool(self._findings)

    def _check_pointers(self) -> None:
        for table, rowid, parent, _ in self._database.all("PRAGMA foreign_key_check"):
            self._found(f"row {rowid} of table {table} points to nothing in {parent}", self._paths.database)
        for key, diff_id in self._database.all(
            "SELECT key, diff_id FROM steps WHERE diff_id NOT IN (SELECT diff_id FROM layers)"
        ):
            self._found(
                f"build step {key} points to the missing layer {diff_id}",
                self._paths.database,
                lambda sql, key=key: sql.execute("DELETE FROM steps WHERE key = ?", (key,)),  # type: ignore[misc]
            )
        for tag, image in self._database.all(
            "SELECT registry || '/' || repository || ':' || tag, image FROM tags"
            " WHERE image NOT IN (SELECT id FROM images)"
        ):
            self._found(
                f"tag {tag} points to the missing image {image}",
                self._paths.database,
                lambda sql, image=image: sql.execute("DELETE FROM tags WHERE image = ?", (image,)),  # type: ignore[misc]
            )

    # ---- layers

    def _check_layers(self) -> None:
        for diff_id, name, entries, blob in self._database.all("SELECT diff_id, directory, entries, blob FROM layers"):
            problem = self._layer_problem(self._paths.layer(name), entries)
            if problem is None and blob is not None:
                problem = self._blob_problem(Digest(blob))
            if problem is None or not self._still("layers", "diff_id", diff_id):
                continue

            def mend(sql: sqlite3.Connection, diff_id: str = diff_id, name: str = name) -> None:
                # what needs the layer cannot be used; containers keep their row, so that it can be seen and removed
                sql.execute(
                    "DELETE FROM images WHERE id IN (SELECT image FROM image_layers WHERE diff_id = ?)", (diff_id,)
                )
                for table in ("steps", "container_layers", "failed_layers", "layers"):
                    sql.execute(f"DELETE FROM {table} WHERE diff_id = ?", (diff_id,))  # noqa: S608
                sql.execute("INSERT OR IGNORE INTO trash (path) VALUES (?)", (f"layers/{name}",))

            self._found(f"layer {diff_id}: {problem}", self._paths.layer(name), mend)

    def _layer_problem(self, directory: str, entries: int) -> str | None:
        from contextkernel.layer.index import unpack_index

        if not os.path.isdir(f"{directory}/diff"):
            return "its unpacked tree is missing"
        try:
            with open(f"{directory}/index", "rb") as source:
                count = len(unpack_index(source.read()))
        except FileNotFoundError:
            return "its index is missing"
        except (OSError, ValueError, ContextKernelError) as problem:
            return f"its index cannot be read: {problem}"
        return None if count == entries else f"its index has {count} entries instead of {entries}"

    def _blob_problem(self, digest: Digest) -> str | None:
        try:
            with self._blobs.open(digest) as source:
                while source.read(CHUNK):
                    pass
        except ContextKernelError as problem:
            return problem.problem
        return None

    def _still(self, table: str, column: str, key: str) -> bool:
        """Whether the row is still there: others may remove it, and its files, while we look."""
        return self._database.one(f"SELECT 1 FROM {table} WHERE {column} = ?", (key,)) is not None  # noqa: S608

    # ---- images

    def _check_images(self) -> None:
        for image, size in self._database.all("SELECT id, size FROM images"):
            problem = self._image_problem(Digest(image), size)
            if problem is not None and self._still("images", "id", image):
                self._found(
                    f"image {image}: {problem}",
                    self._paths.blob(Digest(image)),
                    lambda sql, image=image: sql.execute("DELETE FROM images WHERE id = ?", (image,)),  # type: ignore[misc]
                )

    def _image_problem(self, image: Digest, size: int) -> str | None:
        try:
            config = from_json(self._blobs.read(image), ImageConfig)
        except (msgspec.DecodeError, ContextKernelError) as problem:
            return f"its configuration cannot be read: {getattr(problem, 'problem', problem)}"
        rows = self._database.all(
            "SELECT i.diff_id, l.size FROM image_layers i LEFT JOIN layers l USING (diff_id) WHERE image = ?"
            " ORDER BY position",
            (str(image),),
        )
        if tuple(row[0] for row in rows) != config.rootfs.diff_ids:
            return "its layers are not those of its configuration"
        lost = [row[0] for row in rows if row[1] is None]
        if lost:
            return f"its layer {lost[0]} is missing"
        found = sum(row[1] for row in rows)
        return None if found == size else f"its size is recorded as {size}, its layers have {found} bytes"

    # ---- containers

    def _check_containers(self) -> None:
        for identity, image, removed, document in self._database.all(
            "SELECT id, image, image_removed, spec FROM containers"
        ):
            path = self._paths.container(identity)
            try:
                spec = from_json(document, ContainerSpec)
            except (msgspec.DecodeError, ContextKernelError) as problem:
                self._found(
                    f"container {identity}: its record cannot be read: {problem}", path, self._without(identity)
                )
                continue
            if not os.path.isdir(path):
                if not spec.auto_remove and self._still("containers", "id", identity):
                    self._found(
                        f"container {identity} ({spec.name}): its directory is missing", path, self._without(identity)
                    )
                continue
            there = self._database.one("SELECT count(*) FROM container_layers WHERE container = ?", (identity,))
            wanted = self._database.one("SELECT count(*) FROM image_layers WHERE image = ?", (image,))
            exists = self._still("images", "id", image)
            if not exists and not removed:
                if self._still("containers", "id", identity):
                    self._found(f"container {identity} ({spec.name}): its image {image} is missing", path)
            elif exists and there != wanted and self._still("containers", "id", identity):
                self._found(f"container {identity} ({spec.name}): layers of its image are missing", path)

    def _without(self, id: str) -> Callable[[sqlite3.Connection], object]:
        def mend(sql: sqlite3.Connection) -> None:
            sql.execute("DELETE FROM containers WHERE id = ?", (id,))
            if os.path.isdir(self._paths.container(id)):
                sql.execute("INSERT OR IGNORE INTO trash (path) VALUES (?)", (f"containers/{id}",))

        return mend

    # ---- left-overs

    def _dead(self, session: str) -> bool:
        return not self._session.alive(session)

    def _check_leftovers(self) -> None:
        for entry in self._sweeper.temporaries(self._dead):
            self._found(
                "temporary file of a process that is gone",
                f"{self._paths.tmp}/{entry}",
                lambda _, entry=entry: self._sweeper.remove_temporary(entry),  # type: ignore[misc]
            )
        with self._database.transaction() as sql:
            orphans = self._sweeper.orphans(sql, self._dead)
            holders = sql.execute("SELECT DISTINCT session FROM leases").fetchall()
            forgotten = sorted(filter(self._dead, {leases.session_of(row[0]) for row in holders}))
            blobs = self._sweeper.unused_blobs(sql)
        for path in orphans:
            self._found(
                "directory that nothing knows of",
                f"{self._paths.root}/{path}",
                lambda sql, path=path: sql.execute("INSERT OR IGNORE INTO trash (path) VALUES (?)", (path,)),  # type: ignore[misc]
            )
        for name in forgotten:
            self._found(
                f"leases of session {name}, whose process is gone",
                self._paths.database,
                lambda sql, name=name: leases.end_session(sql, name),  # type: ignore[misc]
            )
        for name in blobs:
            # removed by the collection at the end of the repair
            self._found("blob that nothing refers to", f"{self._paths.root}/blobs/{name}", lambda _: None)
