"""Records of builds: a bounded number, the oldest go first."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import msgspec

from contextkernel.errors import InvalidInput, NotFound
from contextkernel.model import codec
from contextkernel.model.builds import BuildLog, BuildRow, BuildStepRow
from contextkernel.store.database import Database
from contextkernel.store.sessions import Session

MOST = 200
"""How many builds are remembered."""

_LONGEST_LOG = 16 << 20  # a stored log that unpacks to more than this is not ours


class StepEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A step to be recorded, with its output."""

    row: BuildStepRow
    log: BuildLog | None = None


class Builds:
    """The records; they refer to layers and images by digest, and keep none of them from being removed."""

    def __init__(self, database: Database, session: Session) -> None:
        self._database = database
        self._session = session

    def begin(self, row: BuildRow) -> None:
        """See ``Store.begin_build``."""
        with self._database.transaction() as sql:
            sql.execute(
                "INSERT INTO builds (id, session, document) VALUES (?, ?, ?)",
                (row.id, self._session.id, codec.to_json(row)),
            )
            sql.execute("DELETE FROM builds WHERE seq <= (SELECT max(seq) FROM builds) - ? AND id != ?", (MOST, row.id))

    def record(self, build: str, steps: Sequence[StepEntry], row: BuildRow | None = None) -> None:
        """See ``Store.record_build``."""
        with self._database.transaction() as sql:
            if row is not None:
                sql.execute("UPDATE builds SET session = '', document = ? WHERE id = ?", (codec.to_json(row), build))
            if sql.execute("SELECT 1 FROM builds WHERE id = ?", (build,)).fetchone() is None:
                return  # somebody has removed the record meanwhile
            sql.executemany(
                "INSERT OR REPLACE INTO build_steps (build, number, document, log) VALUES (?, ?, ?, ?)",
                [
                    (
                        build,
                        step.row.number,
                        codec.to_json(step.row),
                        zlib.compress(codec.to_json(step.log), 1) if step.log else None,
                    )
                    for step in steps
                ],
            )

    def rows(self) -> tuple[BuildRow, ...]:
        """See ``Store.builds``."""
        found = self._database.all("SELECT session, document FROM builds ORDER BY seq DESC")
        return tuple(self._row(session, document) for session, document in found)

    def _row(self, session: str, document: bytes) -> BuildRow:
        row = codec.from_json(document, BuildRow)
        if row.status == "running" and not (session and self._session.alive(session)):
            return msgspec.structs.replace(row, status="canceled", problem="the process that built was killed")
        return row

    def find(self, text: str) -> BuildRow:
        """See ``Store.build``."""
        rows = self.rows()
        if text in ("", "^0") or (text.startswith("^") and text[1:].isdigit()):
            place = int(text[1:] or 0)
            if place < len(rows):
                return rows[place]
            raise NotFound(f"there is no build {text or 'yet'}", hint=_HINT)
        found = [row for row in rows if row.id.startswith(text)]
        if not found:
            raise NotFound(f"no such build: {text}", hint=_HINT)
        if len(found) > 1 and found[0].id != text:
            raise InvalidInput(f"several builds begin with {text!r}", hint="give more letters of the id")
        return found[0]

    def steps(self, build: str) -> tuple[BuildStepRow, ...]:
        """See ``Store.build_steps``."""
        found = self._database.all("SELECT document FROM build_steps WHERE build = ? ORDER BY number", (build,))
        return tuple(codec.from_json(document, BuildStepRow) for (document,) in found)

    def logs(self, build: str) -> tuple[BuildLog, ...]:
        """See ``Store.build_logs``."""
        found = self._database.all(
            "SELECT log FROM build_steps WHERE build = ? AND log IS NOT NULL ORDER BY number", (build,)
        )
        return tuple(codec.from_json(zlib.decompressobj().decompress(log, _LONGEST_LOG), BuildLog) for (log,) in found)

    def remove(self, builds: Iterable[str]) -> None:
        """See ``Store.remove_builds``."""
        with self._database.transaction() as sql:
            sql.executemany("DELETE FROM builds WHERE id = ?", [(build,) for build in builds])


_HINT = "`builds` lists them"
