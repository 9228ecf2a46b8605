"""The SQLite file: one connection per process, used by one thread at a time.

Operations are short, so a lock is cheaper than a connection per thread, and it makes ``os.fork`` safe: the
connection is closed before a fork and opened again when it is next needed (SQLite: "How To Corrupt An SQLite
Database File", section 2.6, carrying a connection across a fork).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from contextkernel.errors import StoreProblem, StoreTooNew
from contextkernel.store import reserve
from contextkernel.store.paths import no_space, refused
from contextkernel.store.schema import SCRIPTS, VERSION

_BUSY_SECONDS = 60.0
#: File systems on which WAL's shared memory is not shared by all hosts, or not at all.
_NO_WAL = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "ceph", "lustre", "gpfs", "beegfs", "afs", "glusterfs")


class Database:
    """The store's SQLite file.

    Args:
        path: of the file.
        root: the store's directory, for messages.
    """

    def __init__(self, path: str, root: str) -> None:
        self._path = path
        self._root = root
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._depth = 0
        _ALL.add(self)

    # ---- opening

    def prepare(self) -> None:
        """Make the tables, or bring those of an older version up to date.

        Raises:
            StoreTooNew: the file was written by a newer version; it was only read.
            StoreProblem: it cannot be opened.
        """
        with self._lock, self._translated():
            version = self._version()
            if version == VERSION:
                return
            if version > VERSION:
                self.close()
                raise StoreTooNew(
                    f"the store {self._root} has version {version}, this contextkernel knows versions up to {VERSION}",
                    hint="update contextkernel, or set CONTEXTKERNEL_ROOT to another directory",
                )
            import fcntl

            # switching the journal mode does not wait for others: only one process at a time may
            with open(f"{self._path}.lock", "a", encoding="ascii", opener=_private) as guard:
                fcntl.flock(guard, fcntl.LOCK_EX)
                if self._version() == 0:
                    self._choose_journal()
                self._upgrade()

    def _version(self) -> int:
        if not os.path.exists(self._path):
            return 0
        sql = self._open()
        if not sql.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema'").fetchone():
            return 0
        return int(sql.execute("SELECT version FROM schema").fetchone()[0])

    def _choose_journal(self) -> None:
        if not _shared_memory_works(self._root):
            return
        sql = self._open()
        try:
            sql.execute("PRAGMA journal_mode = WAL").fetchone()
            sql.execute("BEGIN IMMEDIATE")
            sql.execute("COMMIT")
        except sqlite3.OperationalError:
            sql.execute("PRAGMA journal_mode = TRUNCATE").fetchone()
        self.close()  # opened again with the settings that go with the mode

    def _upgrade(self) -> None:
        with self.transaction() as sql:
            version = self._version()
            if version >= VERSION:
                return
            for script in SCRIPTS[version:]:
                for statement in script:
                    sql.execute(statement)
            sql.execute("UPDATE schema SET version = ?", (VERSION,))

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            reserve.ease(self._root)
            _keep_private(self._path)
            sql = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                sql.execute("PRAGMA foreign_keys = ON")
                mode = sql.execute("PRAGMA journal_mode").fetchone()[0]
                if mode == "wal":
                    # a crash of the machine may lose the last transactions, never the file's consistency
                    sql.execute("PRAGMA synchronous = NORMAL")
                else:
                    sql.execute("PRAGMA journal_mode = TRUNCATE").fetchone()
            except sqlite3.Error:
                sql.close()
                raise
            self._connection = sql
        return self._connection

    @property
    def journal_mode(self) -> str:
        """``wal``, or ``truncate`` where the file system has no shared memory for WAL."""
        return str(self.all("PRAGMA journal_mode")[0][0])

    # ---- use

    def one(self, statement: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row, or ``None``."""
        with self._lock, self._translated():
            row: tuple[Any, ...] | None = self._open().execute(statement, values).fetchone()
            return row

    def all(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows."""
        with self._lock, self._translated():
            return self._open().execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction that holds the store's only write lock; inside another one, a part of that.

        Raises:
            StoreFull, StoreProblem: nothing was written.
        """
        with self._lock, self._translated():
            sql = self._open()
            outer = self._depth
            try:  # from the very first: an interrupt may come between any two lines
                if not outer:
                    reserve.ease(self._root)
                    sql.execute("BEGIN IMMEDIATE")
                self._depth = outer + 1
                yield sql
                if not outer:
                    sql.execute("COMMIT")
            except BaseException:
                if not outer and sql.in_transaction:
                    sql.execute("ROLLBACK")
                raise
            finally:
                self._depth = outer

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Several reads that see one state of the store."""
        with self._lock, self._translated():
            sql = self._open()
            if sql.in_transaction:
                yield sql
                return
            try:
                sql.execute("BEGIN")
                yield sql
            finally:
                sql.rollback()

    def close(self) -> None:
        """Close the connection; the next use opens it again. Idempotent."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as problem:
            raise self._typed(problem) from problem
        except OSError as problem:
            raise refused(problem, self._root) from problem

    def _typed(self, problem: sqlite3.Error) -> StoreProblem:
        code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
        full = code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and reserve.free(self._root) < reserve.SIZE)
        if full:
            reserve.give_up(self._root)  # quotas do not show in the free space; what follows is cleaning up
            return no_space(self._root)
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return StoreProblem(
                f"the store {self._root} was busy for {_BUSY_SECONDS:.0f} seconds: {problem}",
                hint="another process holds its database; see who with: fuser " + self._path,
            )
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            return StoreProblem(
                f"the database {self._path} is damaged: {problem}",
                hint="move the store away and set CONTEXTKERNEL_ROOT to a new directory",
            )
        if _read_only(self._root):
            return StoreProblem(
                f"the store {self._root} is on a read-only file system",
                hint="set CONTEXTKERNEL_ROOT to a directory that can be written",
            )
        return StoreProblem(
            f"the database {self._path} cannot be used: {problem}",
            hint="set CONTEXTKERNEL_ROOT to a directory of your own on a local file system",
        )

    # ---- fork

    def _before_fork(self) -> None:
        self._lock.acquire()
        if not self._depth:
            self.close()

    def _after_fork(self, *, child: bool) -> None:
        if child and self._connection is not None:  # forked inside a transaction: it stays the parent's
            _ABANDONED.append(self._connection)
            self._connection, self._depth = None, 0
        self._lock.release()


def _private(path: str, flags: int) -> int:
    """An opener: for nobody but the owner, whatever the umask is."""
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _keep_private(path: str) -> None:
    """Make the file, and the write-ahead log that takes after it, the owner's alone.

    The store's directory is so anyway where the store made it; one that was there before keeps its mode.
    """
    try:
        descriptor = _private(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    except OSError:
        return  # SQLite says what is wrong
    try:
        status = os.fstat(descriptor)
        if status.st_mode & 0o077 and status.st_uid == os.geteuid():
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _shared_memory_works(root: str) -> bool:
    """Whether the file system of ``root`` is a local one, by the longest mount point above it."""
    best, kind = "", ""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            for line in table:
                left, _, right = line.partition(" - ")
                point = left.split(" ")[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
                if len(point) >= len(best) and (root + "/").startswith(point.rstrip("/") + "/"):
                    best, kind = point, right.split(" ")[0]
    except (OSError, IndexError, ValueError):
        return True
    return not kind.startswith(_NO_WAL)


_ALL: weakref.WeakSet[Database] = weakref.WeakSet()
_ABANDONED: list[sqlite3.Connection] = []
_FORKING = threading.local()


def _before() -> None:
    _FORKING.held = sorted(_ALL, key=id)
    for database in _FORKING.held:
        database._before_fork()


def _after(*, child: bool) -> None:
    for database in reversed(_FORKING.held):
        database._after_fork(child=child)
    _FORKING.held = []


os.register_at_fork(
    before=_before, after_in_parent=lambda: _after(child=False), after_in_child=lambda: _after(child=True)
)


def _read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False
