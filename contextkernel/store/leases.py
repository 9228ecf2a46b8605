"""Leases: what a live session works on is not removed, although nothing refers to it yet.

A session leases what it adds under its own id, whichever of its threads does. Who must be sure that the end of
another thread's work takes nothing away from under it *holds* things, under a name of its own that begins with the
session's id.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable
from typing import Literal

from contextkernel.model.digest import Digest
from contextkernel.store.paths import SESSION_LENGTH

Kind = Literal["layer", "blob"]
LAYER: Kind = "layer"
BLOB: Kind = "blob"

_NUMBERS = itertools.count(1)


def new_holder(session: str) -> str:
    """A name that nobody else of the session uses."""
    return f"{session}/{next(_NUMBERS)}"


def session_of(holder: str) -> str:
    """The session that a lease ends with, at the latest."""
    return holder[:SESSION_LENGTH]


def begin(sql: sqlite3.Connection, holder: str, kind: Kind, digest: Digest) -> None:
    """Lease something to a session or one of its holders, inside a transaction; fine if it has it already."""
    sql.execute("INSERT OR IGNORE INTO leases (session, kind, digest) VALUES (?, ?, ?)", (holder, kind, str(digest)))


def end(sql: sqlite3.Connection, session: str, kind: Kind, digests: Iterable[Digest]) -> None:
    """End leases of a session itself, inside a transaction; fine for those it does not have."""
    sql.executemany(
        "DELETE FROM leases WHERE session = ? AND kind = ? AND digest = ?",
        [(session, kind, str(digest)) for digest in digests],
    )


def end_holder(sql: sqlite3.Connection, holder: str) -> None:
    """End all leases of one holder, inside a transaction."""
    sql.execute("DELETE FROM leases WHERE session = ?", (holder,))


def end_session(sql: sqlite3.Connection, session: str) -> int:
    """End all leases of a session and its holders, inside a transaction; returns how many there were."""
    return sql.execute(f"DELETE FROM leases WHERE substr(session, 1, {SESSION_LENGTH}) = ?", (session,)).rowcount  # noqa: S608
