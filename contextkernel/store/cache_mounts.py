"""Directories of ``RUN --mount=type=cache``: kept from build to build, and handed out under locks.

Each is ``caches/<name>/`` with what the mount shows in ``tree/data`` and a file ``lock``, on which whoever uses it
holds a ``flock``: the kernel lets go of it when the process ends, however that happens. Which of several directories
a mount gets follows BuildKit's ``solver/llbsolver/mounts/mount.go``: one that is free, else a new one, unless
``sharing=locked`` asks to wait.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import msgspec

from contextkernel.errors import StoreProblem
from contextkernel.linux.room import tree_size
from contextkernel.store.database import Database
from contextkernel.store.paths import Paths, random_name, refused
from contextkernel.store.sessions import Session

Sharing = Literal["shared", "private", "locked"]
_POLL = 0.1  # seconds between two looks at a lock, as in BuildKit


class CacheMountRow(msgspec.Struct, frozen=True, kw_only=True):
    """A kept cache directory.

    Attributes:
        name: of its directory.
        id: as the Dockerfile has it.
        path: what the mount shows; absolute.
        created, used: nanoseconds since the epoch.
        in_use: a step is working on it right now.
    """

    name: str
    id: str
    path: str
    created: int
    used: int
    in_use: bool


class CacheMounts:
    """The cache directories of a store."""

    def __init__(self, paths: Paths, database: Database, session: Session) -> None:
        self._paths = paths
        self._database = database
        self._session = session

    @contextmanager
    def use(
        self,
        identity: str,
        id: str,
        sharing: Sharing,
        make: Callable[[str], None],
        waiting: Callable[[], None] | None = None,
    ) -> Iterator[str]:
        """See ``Store.use_cache_mount``."""
        descriptor, name = self._acquire(identity, id, sharing, make, waiting)
        try:
            with self._database.transaction() as sql:
                sql.execute("UPDATE cache_mounts SET used = ? WHERE name = ?", (time.time_ns(), name))
            yield self._data(name)
        finally:
            os.close(descriptor)

    def _acquire(
        self,
        identity: str,
        id: str,
        sharing: Sharing,
        make: Callable[[str], None],
        waiting: Callable[[], None] | None,
    ) -> tuple[int, str]:
        """A descriptor that holds the lock, and the directory's name."""
        again = True
        while True:
            known = self._names(identity)
            try:
                descriptor, name, busy = self._take(known, sharing)
                if descriptor >= 0:
                    return descriptor, name
                if busy and (sharing == "locked" or again):
                    again = False  # once for all: whoever lists caches holds a lock for a moment
                    if waiting is not None and sharing == "locked":
                        waiting()
                    time.sleep(_POLL)
                    continue
                descriptor, name = self._add(identity, id, sharing, known, make)
            except OSError as problem:
                raise refused(problem, self._paths.root) from problem
            if descriptor >= 0:
                return descriptor, name

    def _names(self, identity: str) -> list[str]:
        query = "SELECT name FROM cache_mounts WHERE identity = ? ORDER BY created, name"
        return [row[0] for row in self._database.all(query, (identity,))]

    def _take(self, names: list[str], sharing: Sharing) -> tuple[int, str, bool]:
        """The lock of the first directory that is free, its name, and whether any was not free."""
        busy = False
        for name in names:
            descriptor = self._lock(name, fcntl.LOCK_SH if sharing == "shared" else fcntl.LOCK_EX)
            if descriptor is None:
                busy = True
            elif descriptor >= 0:
                return descriptor, name, busy
        return -1, "", busy

    def _lock(self, name: str, kind: int) -> int | None:
        """A descriptor that holds the lock, ``None`` if it is taken, -1 if the directory has gone."""
        try:
            descriptor = os.open(f"{self._paths.caches}/{name}/lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        if self._database.one("SELECT 1 FROM cache_mounts WHERE name = ?", (name,)) is None:
            os.close(descriptor)  # removed before we had the lock
            return -1
        return descriptor

    def _add(
        self, identity: str, id: str, sharing: Sharing, known: list[str], make: Callable[[str], None]
    ) -> tuple[int, str]:
        """Make a directory, complete before anybody can find it; -1 if others made one meanwhile."""
        name = self._session.id + random_name(6)
        path = f"{self._paths.caches}/{name}"
        self._session.pending_caches.add(name)  # first: an interrupt may come at any moment
        descriptor, kept = -1, False
        try:
            os.mkdir(path, 0o700)
            os.mkdir(f"{path}/tree", 0o755)
            make(f"{path}/tree")
            if not os.path.isdir(self._data(name)):
                raise StoreProblem(f"the cache directory {path} was not made")
            descriptor = os.open(f"{path}/lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_SH if sharing == "shared" else fcntl.LOCK_EX)
            with self._database.transaction() as sql:
                kept = self._insert(sql, name, identity, id, known)
        finally:
            if not kept:
                if descriptor >= 0:
                    os.close(descriptor)
                self._drop(name)
            self._session.pending_caches.discard(name)
        return (descriptor, name) if kept else (-1, "")

    def _insert(self, sql: sqlite3.Connection, name: str, identity: str, id: str, known: list[str]) -> bool:
        rows = sql.execute("SELECT name FROM cache_mounts WHERE identity = ?", (identity,))
        if {row[0] for row in rows} - set(known):
            return False
        now = time.time_ns()
        sql.execute(
            "INSERT INTO cache_mounts (name, identity, id, created, used) VALUES (?, ?, ?, ?, ?)",
            (name, identity, id, now, now),
        )
        return True

    def _drop(self, name: str) -> None:
        with self._database.transaction() as sql:
            sql.execute("INSERT OR IGNORE INTO trash (path) VALUES (?)", (f"caches/{name}",))

    def _data(self, name: str) -> str:
        return f"{self._paths.caches}/{name}/tree/data"

    def rows(self) -> tuple[CacheMountRow, ...]:
        """See ``Store.cache_mounts``."""
        found = []
        for name, shown, created, used in self._database.all(
            "SELECT name, id, created, used FROM cache_mounts ORDER BY used DESC, name"
        ):
            descriptor = self._lock(name, fcntl.LOCK_EX)
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
            row = CacheMountRow(
                name=name, id=shown, path=self._data(name), created=created, used=used, in_use=descriptor is None
            )
            found.append(row)
        return tuple(found)

    def remove(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """See ``Store.remove_cache_mounts``."""
        gone = []
        for name in names:
            descriptor = self._lock(name, fcntl.LOCK_EX)
            if descriptor is None:
                continue
            try:
                with self._database.transaction() as sql:
                    if sql.execute("DELETE FROM cache_mounts WHERE name = ?", (name,)).rowcount:
                        sql.execute("INSERT OR IGNORE INTO trash (path) VALUES (?)", (f"caches/{name}",))
                        gone.append(name)
            finally:
                if descriptor >= 0:
                    os.close(descriptor)
        return tuple(gone)

    def size(self, name: str) -> int:
        """See ``Store.cache_mount_size``."""
        return tree_size(self._data(name))
