"""The size of the build cache, and making it smaller: least recently used first, never what anybody needs.

An entry here is a layer that step keys lead to. Removing it forgets those keys; the layer itself goes only if no image,
no container and no running builder has it: that is decided in the same transaction, so any number of processes may
build meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import Any

from contextkernel.linux.room import tree_size
from contextkernel.model.cache import CacheFilter, CacheLimits, CachePruned, CacheRow
from contextkernel.store.database import Database
from contextkernel.store.paths import Paths, refused
from contextkernel.store.sweep import drop_unused_layers
from contextkernel.store.times import to_datetime

ID_LENGTH = 25
"""As many characters as BuildKit's ids have."""

_ROWS = """
    SELECT s.diff_id, l.size, min(s.created), max(s.used), sum(s.uses),
        (SELECT d.description FROM steps d WHERE d.diff_id = s.diff_id ORDER BY d.used DESC LIMIT 1),
        EXISTS (SELECT 1 FROM leases WHERE kind = 'layer' AND digest = s.diff_id),
        EXISTS (SELECT 1 FROM image_layers WHERE diff_id = s.diff_id)
            OR EXISTS (SELECT 1 FROM container_layers WHERE diff_id = s.diff_id)
    FROM steps s JOIN layers l ON l.diff_id = s.diff_id
    GROUP BY s.diff_id ORDER BY max(s.used), min(s.created) DESC, s.diff_id
"""
_FAILED = "SELECT id, directory, created FROM failed_steps"
_PRIVATE = """
    SELECT coalesce(sum(size), 0) FROM layers WHERE diff_id IN (SELECT diff_id FROM steps)
    AND diff_id NOT IN (SELECT diff_id FROM image_layers) AND diff_id NOT IN (SELECT diff_id FROM container_layers)
"""


_RECLAIMABLE = _PRIVATE + " AND diff_id NOT IN (SELECT digest FROM leases WHERE kind = 'layer')"  # noqa: S608 # constants


class Pruning:
    """The build cache as something that takes room."""

    def __init__(self, paths: Paths, database: Database) -> None:
        self._paths = paths
        self._database = database

    def rows(self) -> tuple[CacheRow, ...]:
        """All entries, least recently used first."""
        with self._database.snapshot() as sql:
            steps = [_row(row) for row in sql.execute(_ROWS)]
            failed = [self._failed_row(row) for row in sql.execute(_FAILED)]
        return tuple(sorted([*steps, *failed], key=lambda row: row.used))

    def private_size(self) -> int:
        """Bytes of layers that only the build cache keeps."""
        row = self._database.one(_PRIVATE)
        return int(row[0]) if row else 0

    def reclaimable_size(self) -> int:
        """Bytes of layers that only the build cache keeps, and that no running build works with."""
        row = self._database.one(_RECLAIMABLE)
        return int(row[0]) if row else 0

    def prune(
        self, wanted: CacheFilter, limits: CacheLimits, *, shared: bool, others: Sequence[CacheRow] = ()
    ) -> CachePruned:
        """Remove entries until the rest is within ``limits``.

        Args:
            wanted: which may go.
            limits: what may stay.
            shared: also those whose layer an image or container uses.
            others: rows of what else belongs to the cache (cache mounts); they count for the limits, and are
                returned among the removed ones for the caller to remove.

        Returns:
            What went, in that order.
        """
        try:
            disk = os.statvfs(self._paths.root)
        except OSError as problem:
            raise refused(problem, self._paths.root) from problem
        with self._database.transaction() as sql:
            own = {row.id: (diff_id, row) for diff_id, row in ((row[0], _row(row)) for row in sql.execute(_ROWS))}
            failed = {row.id: row for row in map(self._failed_row, sql.execute(_FAILED).fetchall())}
            steps = [row for _, row in own.values()]
            rows = sorted([*steps, *failed.values(), *others], key=lambda row: row.used)
            total = sum(row.size for row in rows if not row.shared)
            keep = limits.keep(total, disk.f_bavail * disk.f_frsize)
            removed: list[CacheRow] = []
            freed = 0
            for row in rows:
                if keep is not None and total - freed <= keep:
                    break
                if not row.reclaimable or (row.shared and not shared) or not wanted.fits(row):
                    continue
                if row.id in own:
                    sql.execute("DELETE FROM steps WHERE diff_id = ?", (own[row.id][0],))
                elif row.id in failed:
                    _drop_failed(sql, row.id)
                removed.append(row)
                freed += 0 if row.shared else row.size
            if removed:
                drop_unused_layers(sql)
        return CachePruned(rows=tuple(removed), freed=freed)

    def _failed_row(self, row: tuple[Any, ...]) -> CacheRow:
        name, directory, created = row
        moment = to_datetime(created)
        return CacheRow(
            id=name,
            type="debug",
            description="left by a failed step",
            size=tree_size(f"{self._paths.layer(directory)}/diff"),
            created=moment,
            used=moment,
        )


def _drop_failed(sql: sqlite3.Connection, id: str) -> None:
    sql.execute(
        "INSERT OR IGNORE INTO trash (path) SELECT 'layers/' || directory FROM failed_steps WHERE id = ?", (id,)
    )
    sql.execute("DELETE FROM failed_steps WHERE id = ?", (id,))


def _row(row: tuple[Any, ...]) -> CacheRow:
    diff_id, size, created, used, uses, description, leased, shared = row
    return CacheRow(
        id=diff_id.partition(":")[2][:ID_LENGTH],
        type="regular",
        description=description or "",
        size=size,
        created=to_datetime(created),
        used=to_datetime(max(used, created)),
        uses=uses,
        reclaimable=not leased,
        shared=bool(shared),
    )
