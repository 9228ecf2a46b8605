"""What earlier builds asked the cache for: the inputs of each key, and where in which Dockerfile it was asked last.

Only explanations read this; nothing of it decides whether a step is found. It is bounded, the oldest goes first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable

import msgspec

from contextkernel.model.digest import Digest
from contextkernel.store.database import Database

#: How many keys, and how many places in Dockerfiles, are remembered.
MAX_RECORDS = 4_000
#: Bytes of listings of copied files, as stored.
MAX_LISTINGS = 64 << 20


class StepPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a step stands.

    Attributes:
        scope: its stage: context, Dockerfile and stage.
        position: within the stage, from 1; 0 is what the stage starts from.
        text: its instruction.
    """

    scope: str
    position: int
    text: str


class StepDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of a key, as bytes that only the builder understands.

    Attributes:
        content: digest of the files that the step copies, empty for none.
        listing: those files; ``None`` if they need not be stored.
    """

    document: bytes
    content: str = ""
    listing: bytes | None = None


class StepNote(msgspec.Struct, frozen=True, kw_only=True):
    """A key that a build asked for or came to.

    Attributes:
        make: makes its inputs; called only if they are not stored yet, with a test for stored listings.
        description: what tables show for the entry.
    """

    place: StepPlace
    key: str
    make: Callable[[Callable[[str], bool]], StepDocument] | None = None
    description: str = ""


class Notes:
    """The rows about what was asked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, notes: Iterable[StepNote], now: int) -> None:
        """Note what a build asked for, and that the cache entries it found were used at ``now`` (nanoseconds)."""
        items = list(notes)
        if not items:
            return
        with self._database.transaction() as sql:
            sequence = (sql.execute("SELECT max(seq) FROM step_places").fetchone()[0] or 0) + 1
            added = False
            for item in items:
                if item.make is not None and not _recorded(sql, item.key):
                    continue  # it failed: the one before it is what the next is compared with
                sql.execute(
                    "UPDATE steps SET used = ?, uses = uses + 1, description = ? WHERE key = ?",
                    (now, item.description, item.key),
                )
                sql.execute("UPDATE step_records SET seq = ? WHERE key = ?", (sequence, item.key))
                sql.execute(
                    "INSERT OR REPLACE INTO step_places (scope, position, text, key, seq) VALUES (?, ?, ?, ?, ?)",
                    (item.place.scope, item.place.position, item.place.text, item.key, sequence),
                )
                added |= _record(sql, item, sequence)
            _trim(sql, records=added)

    def earlier(self, place: StepPlace, *, anywhere: bool) -> tuple[str, bytes | None] | None:
        """Key and inputs of the step that most likely was this one.

        The same instruction in the same stage, else what stood at the same position there, else (``anywhere``) the
        same instruction in any other; the latest each. The inputs are ``None`` if they are not remembered any more.
        """
        ways: list[tuple[str, tuple[object, ...]]] = [
            ("p.scope = ? AND p.text = ?", (place.scope, place.text)),
            ("p.scope = ? AND p.position = ?", (place.scope, place.position)),
        ]
        if anywhere:
            ways.append(("p.text = ?", (place.text,)))
        for where, values in ways:
            row = self._database.one(
                "SELECT p.key, r.document FROM step_places p LEFT JOIN step_records r ON r.key = p.key"  # noqa: S608
                f" WHERE {where} ORDER BY p.seq DESC, abs(p.position - ?) LIMIT 1",
                (*values, place.position),
            )
            if row is not None:
                return row[0], row[1]
        return None

    def known(self, key: Digest) -> bool:
        """Whether a step with this key was built here, whatever became of its result."""
        return self._database.one("SELECT 1 FROM step_records WHERE key = ?", (str(key),)) is not None

    def listing(self, content: str) -> bytes | None:
        """The files that a copy of ``content`` copied, if they are remembered."""
        row = self._database.one("SELECT document FROM step_listings WHERE content = ?", (content,))
        return row[0] if row else None


def _recorded(sql: sqlite3.Connection, key: str) -> bool:
    return sql.execute("SELECT 1 FROM steps WHERE key = ?", (key,)).fetchone() is not None


def _record(sql: sqlite3.Connection, note: StepNote, sequence: int) -> bool:
    if note.make is None or sql.execute("SELECT 1 FROM step_records WHERE key = ?", (note.key,)).fetchone():
        return False
    made = note.make(lambda content: _has_listing(sql, content))
    sql.execute(
        "INSERT INTO step_records (key, seq, document, content) VALUES (?, ?, ?, ?)",
        (note.key, sequence, made.document, made.content),
    )
    if made.listing is not None:
        sql.execute(
            "INSERT OR IGNORE INTO step_listings (content, document) VALUES (?, ?)", (made.content, made.listing)
        )
    return True


def _has_listing(sql: sqlite3.Connection, content: str) -> bool:
    return sql.execute("SELECT 1 FROM step_listings WHERE content = ?", (content,)).fetchone() is not None


def _trim(sql: sqlite3.Connection, *, records: bool) -> None:
    places = sql.execute("SELECT count(*) FROM step_places").fetchone()[0]
    if places > MAX_RECORDS:
        sql.execute(
            "DELETE FROM step_places WHERE (scope, position) IN"
            " (SELECT scope, position FROM step_places ORDER BY seq LIMIT ?)",
            (places - MAX_RECORDS,),
        )
    if not records:
        return
    count = sql.execute("SELECT count(*) FROM step_records").fetchone()[0]
    if count > MAX_RECORDS:
        sql.execute(
            "DELETE FROM step_records WHERE key IN (SELECT key FROM step_records ORDER BY seq LIMIT ?)",
            (count - MAX_RECORDS,),
        )
    sql.execute("DELETE FROM step_listings WHERE content NOT IN (SELECT content FROM step_records)")
    total = sql.execute("SELECT coalesce(sum(length(document)), 0) FROM step_listings").fetchone()[0]
    if total <= MAX_LISTINGS:
        return
    oldest = sql.execute(
        "SELECT l.content, length(l.document) FROM step_listings l JOIN step_records r ON r.content = l.content"
        " GROUP BY l.content ORDER BY max(r.seq)"
    ).fetchall()
    for content, size in oldest:
        if total <= MAX_LISTINGS:
            break
        sql.execute("DELETE FROM step_listings WHERE content = ?", (content,))
        total -= size
