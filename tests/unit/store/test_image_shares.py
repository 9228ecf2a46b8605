"""Which bytes of an image are its alone."""

from __future__ import annotations

from contextkernel.store.database import Database
from contextkernel.store.usage import image_shares


class Canned(Database):
    """Answers from a database in memory."""

    def __init__(self, sql):
        self._sql = sql

    def all(self, query, arguments=()):
        return self._sql.execute(query, arguments).fetchall()


def test_a_layer_is_shared_with_other_images_only():
    import sqlite3

    sql = sqlite3.connect(":memory:")
    sql.execute("CREATE TABLE layers (diff_id TEXT, size INTEGER)")
    sql.execute("CREATE TABLE image_layers (image TEXT, position INTEGER, diff_id TEXT)")
    sql.executemany("INSERT INTO layers VALUES (?, ?)", [("base", 100), ("app", 20), ("twice", 3)])
    sql.executemany(
        "INSERT INTO image_layers VALUES (?, ?, ?)",
        [("one", 0, "base"), ("one", 1, "app"), ("two", 0, "base"), ("three", 0, "twice"), ("three", 1, "twice")],
    )
    try:
        # a layer that an image has twice is still its own
        assert image_shares(Canned(sql)) == {"one": (100, 20), "two": (100, 0), "three": (0, 3)}
    finally:
        sql.close()
