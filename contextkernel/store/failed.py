"""Failed steps that are kept for a look: their changes, and the layers below.

Bounded: one for each context and Dockerfile, and no more than :data:`KEPT` in all. A later build of the same
Dockerfile takes its place, whether it fails or not.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable

import msgspec

from contextkernel.errors import NotFound, StoreProblem
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.failed import FailedStep
from contextkernel.store.database import Database
from contextkernel.store.paths import Paths
from contextkernel.store.sessions import Session

KEPT = 3
"""How many failed steps a store keeps."""


class FailedSteps:
    """The failed steps of a store."""

    def __init__(self, paths: Paths, database: Database, session: Session) -> None:
        self._paths = paths
        self._database = database
        self._session = session

    def keep(self, step: FailedStep, directory: str) -> None:
        """See ``Store.keep_failed``."""
        name = os.path.basename(directory)
        if not name or os.path.normpath(directory) != self._paths.layer(name):
            raise StoreProblem(f"not a layer directory of the store {self._paths.root}: {directory!r}")
        layers = dict.fromkeys((*step.layers, *(layer for bind in step.binds for layer in bind.layers)))
        step = msgspec.structs.replace(step, created=time.time_ns())
        with self._database.transaction() as sql:
            for layer in layers:
                if not sql.execute("SELECT 1 FROM layers WHERE diff_id = ?", (str(layer),)).fetchone():
                    raise StoreProblem(f"the layer {layer} below the failed step is not in the store")
            self._drop(sql, [row[0] for row in self._of_scope(sql, step.scope)])
            sql.execute(
                "INSERT INTO failed_steps (id, directory, created, document) VALUES (?, ?, ?, ?)",
                (step.id, name, step.created, to_json(step)),
            )
            sql.executemany(
                "INSERT INTO failed_layers (failed, position, diff_id) VALUES (?, ?, ?)",
                [(step.id, position, str(layer)) for position, layer in enumerate(layers)],
            )
            old = sql.execute("SELECT id FROM failed_steps ORDER BY created DESC LIMIT -1 OFFSET ?", (KEPT,)).fetchall()
            self._drop(sql, [row[0] for row in old])
        self._session.pending.discard(name)

    def _of_scope(self, sql: sqlite3.Connection, scope: str) -> list[tuple[str]]:
        rows = sql.execute("SELECT id, document FROM failed_steps").fetchall()
        return [(row[0],) for row in rows if from_json(row[1], FailedStep).scope == scope]

    def _drop(self, sql: sqlite3.Connection, ids: Iterable[str]) -> None:
        for failed in ids:
            row = sql.execute("SELECT directory FROM failed_steps WHERE id = ?", (failed,)).fetchone()
            if row:
                sql.execute("INSERT OR IGNORE INTO trash (path) VALUES (?)", (f"layers/{row[0]}",))
                sql.execute("DELETE FROM failed_steps WHERE id = ?", (failed,))

    def get(self, failed: str | None) -> tuple[FailedStep, str]:
        """See ``Store.failed_step``."""
        rows = self._database.all("SELECT document, directory FROM failed_steps ORDER BY created DESC, id")
        steps = [(from_json(row[0], FailedStep), self._paths.layer(row[1])) for row in rows]
        found = [pair for pair in steps if failed is None or pair[0].id.startswith(failed)]
        if not found:
            kept = ", ".join(step.id for step, _ in steps)
            raise NotFound(
                f"no failed build {failed!r} is kept" if failed else "no failed build is kept",
                hint=f"kept: {kept}" if kept else "the last failed RUN of a Dockerfile is kept until it is built again",
            )
        return found[0]

    def all(self) -> tuple[FailedStep, ...]:
        """See ``Store.failed_steps``."""
        rows = self._database.all("SELECT document FROM failed_steps ORDER BY created DESC, id")
        return tuple(from_json(row[0], FailedStep) for row in rows)

    def forget(self, scope: str | None) -> int:
        """See ``Store.forget_failed``."""
        if self._database.one("SELECT 1 FROM failed_steps LIMIT 1") is None:
            return 0
        with self._database.transaction() as sql:
            if scope is None:
                ids = [row[0] for row in sql.execute("SELECT id FROM failed_steps").fetchall()]
            else:
                ids = [row[0] for row in self._of_scope(sql, scope)]
            self._drop(sql, ids)
        return len(ids)
