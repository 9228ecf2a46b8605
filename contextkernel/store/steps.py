"""The build cache: which layer a step key led to, and digests of files that have not changed since."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

import msgspec

from contextkernel.errors import StoreProblem
from contextkernel.model.digest import Digest
from contextkernel.store.database import Database
from contextkernel.store.sessions import Session

#: A file changed this recently could change again without its times moving (their granularity is up to 2 s).
_SETTLED_NS = 2_000_000_000
#: How many file digests are remembered; the oldest go first.
_MAX_FILES = 200_000


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a build step led to: the layer ``diff_id``, made at ``created`` (nanoseconds since the epoch)."""

    diff_id: Digest
    created: int


class Steps:
    """The build cache's rows."""

    def __init__(self, database: Database, session: Session) -> None:
        self._database = database
        self._session = session

    def get(self, key: Digest) -> StepRecord | None:
        """What ``key`` led to before, or ``None``."""
        row = self._database.one("SELECT diff_id, created FROM steps WHERE key = ?", (str(key),))
        return StepRecord(diff_id=Digest(row[0]), created=row[1]) if row else None

    def add(self, key: Digest, record: StepRecord) -> None:
        """Remember a result; a later one replaces an earlier one.

        The session keeps its lease on the layer: another builder may replace the record while this one still
        stands on the layer.

        Raises:
            StoreProblem: the layer is not in the store.
        """
        with self._database.transaction() as sql:
            if not sql.execute("SELECT 1 FROM layers WHERE diff_id = ?", (str(record.diff_id),)).fetchone():
                raise StoreProblem(
                    f"the layer {record.diff_id} of a build step is not in the store",
                    hint="build again with --no-cache",
                )
            sql.execute(
                "INSERT OR REPLACE INTO steps (key, diff_id, created, used) VALUES (?, ?, ?, ?)",
                (str(key), str(record.diff_id), record.created, time.time_ns()),
            )

    def file_digest(self, path: str, facts: os.stat_result) -> str | None:
        """The remembered content digest of the file, if its identity, size and times are those of then."""
        row = self._database.one(
            "SELECT digest FROM files"
            " WHERE path = ? AND dev = ? AND inode = ? AND size = ? AND mtime = ? AND ctime = ?",
            (os.fsencode(path), *_identity(facts)),
        )
        return row[0] if row else None

    def remember(self, items: Iterable[tuple[str, os.stat_result, str]]) -> None:
        """Remember content digests, in one transaction; files changed in the last two seconds are left out."""
        limit = time.time_ns() - _SETTLED_NS
        rows = [
            (os.fsencode(path), *_identity(facts), digest)
            for path, facts, digest in items
            if max(facts.st_mtime_ns, facts.st_ctime_ns) < limit
        ]
        if not rows:
            return
        with self._database.transaction() as sql:
            sql.executemany(
                "INSERT OR REPLACE INTO files (path, dev, inode, size, mtime, ctime, digest)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            newest = sql.execute("SELECT max(rowid) FROM files").fetchone()[0]
            sql.execute("DELETE FROM files WHERE rowid <= ?", (newest - _MAX_FILES,))


def _identity(facts: os.stat_result) -> tuple[int, int, int, int, int]:
    # st_dev and st_ino may use the 64th bit, SQLite's integers are signed
    return (
        facts.st_dev & 0x7FFFFFFFFFFFFFFF,
        facts.st_ino & 0x7FFFFFFFFFFFFFFF,
        facts.st_size,
        facts.st_mtime_ns,
        facts.st_ctime_ns,
    )
