"""Leases: what a live session works on is not removed, although nothing refers to it yet."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Literal

from contextkernel.model.digest import Digest

Kind = Literal["layer", "blob"]
LAYER: Kind = "layer"
BLOB: Kind = "blob"


def begin(sql: sqlite3.Connection, session: str, kind: Kind, digest: Digest) -> bool:
    """Lease something to a session, inside a transaction.

    Returns:
        Whether the session had no lease on it before.
    """
    added = sql.execute(
        "INSERT OR IGNORE INTO leases (session, kind, digest) VALUES (?, ?, ?)", (session, kind, str(digest))
    )
    return added.rowcount > 0


def end(sql: sqlite3.Connection, session: str, kind: Kind, digests: Iterable[Digest]) -> None:
    """End leases of a session, inside a transaction; fine for those it does not have."""
    sql.executemany(
        "DELETE FROM leases WHERE session = ? AND kind = ? AND digest = ?",
        [(session, kind, str(digest)) for digest in digests],
    )
