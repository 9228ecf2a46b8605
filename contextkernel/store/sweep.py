"""Cleaning up: what nothing refers to, and what killed processes left behind."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from contextkernel.model.digest import Digest
from contextkernel.store import leases
from contextkernel.store.database import Database
from contextkernel.store.paths import SESSION_LENGTH, Paths, refused
from contextkernel.store.sessions import Session

#: Files in tmp/ that belong to no session are left alone for this long.
_STRANGER_SECONDS = 24 * 3600

_SESSION_NAME = re.compile(rf"[a-z2-7]{{{SESSION_LENGTH}}}-[a-z2-7]{{12}}\Z")

_UNUSED_LAYERS = """
    FROM layers WHERE diff_id NOT IN (SELECT diff_id FROM image_layers)
    AND diff_id NOT IN (SELECT diff_id FROM steps)
    AND diff_id NOT IN (SELECT diff_id FROM container_layers)
    AND diff_id NOT IN (SELECT diff_id FROM failed_layers)
    AND diff_id NOT IN (SELECT digest FROM leases WHERE kind = 'layer')
"""


def unused_layers(sql: sqlite3.Connection) -> list[tuple[str, str]]:
    """``(diff_id, directory name)`` of the layers that no image, step, container, failed build or session needs."""
    return sql.execute(f"SELECT diff_id, directory {_UNUSED_LAYERS}").fetchall()


def drop_unused_layers(sql: sqlite3.Connection) -> set[Digest]:
    """Forget unused layers, inside a transaction; their directories become trash."""
    unused = unused_layers(sql)
    sql.executemany("DELETE FROM layers WHERE diff_id = ?", [(diff_id,) for diff_id, _ in unused])
    sql.executemany("INSERT OR IGNORE INTO trash (path) VALUES (?)", [(f"layers/{name}",) for _, name in unused])
    return {Digest(diff_id) for diff_id, _ in unused}


def referenced_blobs(sql: sqlite3.Connection) -> set[str]:
    """Digests of the blobs that an image, a layer or a live session needs."""
    return {
        row[0]
        for row in sql.execute(
            "SELECT id FROM images UNION SELECT blob FROM layers WHERE blob IS NOT NULL UNION"
            " SELECT blob FROM image_statements UNION SELECT digest FROM leases WHERE kind = 'blob'"
        )
    }


class Sweeper:
    """Keeps a store free of what nobody needs."""

    def __init__(self, paths: Paths, database: Database, session: Session) -> None:
        self._paths = paths
        self._database = database
        self._session = session

    # ---- dead sessions

    def recover(self) -> None:
        """Clean up after sessions whose process is gone. Cheap when there is none."""
        try:
            claimed = [(name, held) for name in self._session.others() if (held := self._session.claim(name)) >= 0]
            if not claimed:
                return
            try:
                self._clear({name for name, _ in claimed})
            except BaseException:
                for _, held in claimed:
                    os.close(held)  # the files stay: the next one tries again
                raise
            for name, held in claimed:
                self._session.forget(name, held)
        except OSError as problem:
            raise refused(problem, self._paths.root) from problem

    def _clear(self, dead: set[str]) -> None:
        for entry in self.temporaries(lambda name: name in dead):
            self.remove_temporary(entry)
        with self._database.transaction() as sql:
            for name in dead:
                leases.end_session(sql, name)
            orphans = self.orphans(sql, lambda name: name in dead)
            sql.executemany("INSERT OR IGNORE INTO trash (path) VALUES (?)", [(path,) for path in orphans])
        self.collect()

    def temporaries(self, dead: Callable[[str], bool]) -> list[str]:
        """Names in tmp/ whose session is ``dead``, and what no session made and is older than a day."""
        out = []
        for entry in os.listdir(self._paths.tmp):
            if _SESSION_NAME.match(entry):
                if dead(entry[:SESSION_LENGTH]):
                    out.append(entry)
                continue
            with suppress(FileNotFoundError):
                if os.lstat(f"{self._paths.tmp}/{entry}").st_mtime < time.time() - _STRANGER_SECONDS:
                    out.append(entry)
        return sorted(out)

    def remove_temporary(self, entry: str) -> None:
        """Remove a file or directory of tmp/, as far as possible."""
        path = f"{self._paths.tmp}/{entry}"
        if os.path.isdir(path) and not os.path.islink(path):
            import shutil

            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                os.unlink(path)

    def orphans(self, sql: sqlite3.Connection, dead: Callable[[str], bool]) -> list[str]:
        """Directories, as paths below the root, that no row knows and no session is working on; not yet trash.

        Call it inside a write transaction: containers and volumes get their row and their directory under the write
        lock, so such a directory without a row is nobody's.
        """
        trash = {row[0] for row in sql.execute("SELECT path FROM trash")}
        found = []
        # first who is dead, then what is known: what a session added before it died is then seen
        names = [name for name in os.listdir(self._paths.layers) if dead(name[:SESSION_LENGTH])]
        known = {row[0] for row in sql.execute("SELECT directory FROM layers UNION SELECT directory FROM failed_steps")}
        found += [f"layers/{name}" for name in names if name not in known]
        names = [name for name in os.listdir(self._paths.caches) if dead(name[:SESSION_LENGTH])]
        known = {row[0] for row in sql.execute("SELECT name FROM cache_mounts")}
        found += [f"caches/{name}" for name in names if name not in known]
        names = os.listdir(self._paths.containers)
        known = {row[0] for row in sql.execute("SELECT id FROM containers")}
        found += [f"containers/{name}" for name in names if name not in known]
        names = os.listdir(self._paths.volumes)
        known = {row[0] for row in sql.execute("SELECT name FROM volumes")}
        found += [f"volumes/{name}" for name in names if name not in known]
        return sorted(path for path in found if path not in trash)

    # ---- garbage

    def collect(self) -> None:
        """Forget layers and remove blobs that nothing refers to.

        In two transactions: the rows must be gone for good before the files go.
        """
        with self._database.transaction() as sql:
            drop_unused_layers(sql)
        with self._database.transaction() as sql:
            for name in self.unused_blobs(sql):
                with suppress(FileNotFoundError):
                    os.unlink(f"{self._paths.root}/blobs/{name}")

    def unused_blobs(self, sql: sqlite3.Connection) -> list[str]:
        """Blob files, as ``algorithm/hex``, that nothing refers to; call it inside a write transaction."""
        wanted = referenced_blobs(sql)
        folder = f"{self._paths.root}/blobs"
        return sorted(
            f"{algorithm}/{name}"
            for algorithm in os.listdir(folder)
            for name in os.listdir(f"{folder}/{algorithm}")
            if f"{algorithm}:{name}" not in wanted
        )

    def end_session(self) -> None:
        """Give up what this session leased and began, then the session itself. Idempotent."""
        if not self._session.active:
            return
        own = self._session.id
        try:
            for entry in self.temporaries(lambda name: name == own):
                self.remove_temporary(entry)
            with self._database.transaction() as sql:
                ended = leases.end_session(sql, own)
                begun = [(f"layers/{name}",) for name in sorted(self._session.pending)]
                begun += [(f"caches/{name}",) for name in sorted(self._session.pending_caches)]
                sql.executemany("INSERT OR IGNORE INTO trash (path) VALUES (?)", begun)
            if ended:
                self.collect()
            self._session.end()
        except OSError as problem:
            raise refused(problem, self._paths.root) from problem

    # ---- trash

    def trash(self) -> tuple[str, ...]:
        """Absolute paths of directories that nothing uses any more."""
        self.recover()
        with self._database.snapshot() as sql:
            unused = unused_layers(sql)
        if unused:
            self.collect()
        rows = self._database.all("SELECT path FROM trash ORDER BY path")
        return tuple(f"{self._paths.root}/{row[0]}" for row in rows)

    def forget(self, paths: Iterable[str]) -> None:
        """Forget trash that has been removed."""
        gone = [(os.path.relpath(path, self._paths.root),) for path in paths if not os.path.lexists(path)]
        if gone:
            with self._database.transaction() as sql:
                sql.executemany("DELETE FROM trash WHERE path = ?", gone)
