"""Container records: what was asked for, by id and by unique name."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Sequence

from contextkernel.errors import ContainerNotFound, ImageNotFound, InvalidInput, NameInUse
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.container import ContainerSpec
from contextkernel.model.volumes import Volume
from contextkernel.store.database import Database
from contextkernel.store.names import generate_name
from contextkernel.store.paths import Paths
from contextkernel.store.sessions import Session
from contextkernel.store.volumes import Volumes

#: docker's rule for container names (moby, daemon/names)
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")
_ID = re.compile(r"[0-9a-f]{64}\Z")
_ID_START = re.compile(r"[0-9a-f]{1,64}\Z")


class Containers:
    """The containers of a store."""

    def __init__(self, paths: Paths, database: Database, session: Session, volumes: Volumes) -> None:
        self._volumes = volumes
        self._paths = paths
        self._database = database
        self._session = session

    def add(self, spec: ContainerSpec, volumes: Sequence[Volume] = ()) -> tuple[ContainerSpec, tuple[str, ...]]:
        """See ``Store.add_container``."""
        import msgspec

        if not _ID.match(spec.id):
            raise InvalidInput(f"not a container id: {spec.id!r}", hint="an id is 64 hex digits")
        if spec.name and not _NAME.match(spec.name):
            raise InvalidInput(
                f"invalid container name {spec.name!r}",
                hint="two or more of a-z A-Z 0-9 _ . -, the first a letter or digit",
            )
        # a session, so that the directory is found if this process is killed before the row is there
        assert self._session.id  # noqa: S101
        begun = False
        made: list[str] = []
        try:
            with self._database.transaction() as sql:
                self.forget_removed(sql)
                if not spec.name:
                    taken = {row[0] for row in sql.execute("SELECT name FROM containers")}
                    spec = msgspec.structs.replace(spec, name=generate_name(taken))
                row = sql.execute("SELECT id FROM containers WHERE name = ? OR id = ?", (spec.name, spec.id)).fetchone()
                if row:
                    raise _name_in_use(spec.name, row[0])
                if not sql.execute("SELECT 1 FROM images WHERE id = ?", (str(spec.image_id),)).fetchone():
                    raise ImageNotFound(
                        f"no such image: {spec.image_id}", hint="it was removed meanwhile; build or pull it"
                    )
                begun = True
                sql.execute(
                    "INSERT INTO containers (id, name, image, created, spec) VALUES (?, ?, ?, ?, ?)",
                    (spec.id, spec.name, str(spec.image_id), spec.created, to_json(spec)),
                )
                sql.execute(
                    "INSERT INTO container_layers (container, position, diff_id)"
                    " SELECT ?, position, diff_id FROM image_layers WHERE image = ?",
                    (spec.id, str(spec.image_id)),
                )
                made += [volume.name for volume in volumes if self._volumes.insert(sql, volume)]
                self._volumes.refer(
                    sql, spec.id, (point.source for point in spec.mounts.points if point.type == "volume")
                )
                # the last thing before the commit, under the write lock: see Sweeper.orphans
                path = self._paths.container(spec.id)
                os.mkdir(path, 0o700)
                os.mkdir(f"{path}/upper")
                os.chmod(f"{path}/upper", 0o755)  # whatever the umask is  # noqa: S103
                os.mkdir(f"{path}/work", 0o700)
        except BaseException:
            if begun:  # an interrupt may come before the commit, or just after
                self._undo(spec.id, made)
            raise
        return spec, tuple(made)

    def replace(self, spec: ContainerSpec) -> None:
        """See ``Store.replace_container``."""
        with self._database.transaction() as sql:
            row = sql.execute("SELECT id FROM containers WHERE name = ? AND id <> ?", (spec.name, spec.id)).fetchone()
            if row:
                raise _name_in_use(spec.name, row[0])
            sql.execute("UPDATE containers SET name = ?, spec = ? WHERE id = ?", (spec.name, to_json(spec), spec.id))

    def _undo(self, id: str, volumes: Sequence[str]) -> None:
        import shutil

        with self._database.transaction() as sql:
            sql.execute("DELETE FROM containers WHERE id = ?", (id,))
            for name in volumes:
                self._volumes.undo(sql, name)
            shutil.rmtree(self._paths.container(id), ignore_errors=True)

    def _gone(self, spec: ContainerSpec) -> bool:
        # the monitor of a --rm container removes the directory; the record is then history
        return spec.auto_remove and not os.path.isdir(self._paths.container(spec.id))

    def forget_removed(self, sql: sqlite3.Connection) -> None:
        """Forget ``--rm`` containers whose monitors have removed them, and their anonymous volumes."""
        for (document,) in sql.execute("SELECT spec FROM containers").fetchall():
            spec = from_json(document, ContainerSpec)
            if self._gone(spec):
                self._volumes.forget_container(sql, spec.id, anonymous=True)

    def get(self, text: str) -> ContainerSpec:
        """See ``Store.container``."""
        wanted = text.removeprefix("/")
        rows = self._database.all("SELECT spec FROM containers WHERE id = ? OR name = ?", (wanted, wanted))
        if not rows and _ID_START.match(wanted):
            rows = self._database.all("SELECT spec FROM containers WHERE id GLOB ? ORDER BY id", (wanted + "*",))
        specs = [spec for row in rows if not self._gone(spec := from_json(row[0], ContainerSpec))]
        exact = [spec for spec in specs if spec.id == wanted]
        if exact:
            return exact[0]
        if len(specs) == 1:
            return specs[0]
        if specs:
            raise InvalidInput(
                f"container id {wanted!r} is ambiguous: {_listed(specs)}", hint="give more digits, or the name"
            )
        raise ContainerNotFound(f"no such container: {text}", hint=self._near(wanted))

    def _near(self, wanted: str) -> str:
        from difflib import get_close_matches

        names = [spec.name for spec in self.all()]
        near = get_close_matches(wanted, names, n=3)
        return f"did you mean {' or '.join(near)}?" if near else "ps -a lists the containers there are"

    def all(self) -> tuple[ContainerSpec, ...]:
        """All containers, newest first."""
        rows = self._database.all("SELECT spec FROM containers ORDER BY created DESC, rowid DESC")
        specs = (from_json(row[0], ContainerSpec) for row in rows)
        return tuple(spec for spec in specs if not self._gone(spec))

    def remove(self, id: str, *, volumes: bool) -> tuple[str, ...]:
        """Forget the container; its directory, if it is still there, becomes trash, with ``volumes`` theirs too."""
        with self._database.transaction() as sql:
            gone = self._volumes.forget_container(sql, id, anonymous=volumes)
            if _ID.match(id) and os.path.isdir(self._paths.container(id)):
                sql.execute("INSERT OR IGNORE INTO trash (path) VALUES (?)", (f"containers/{id}",))
        return gone


def _name_in_use(name: str, id: str) -> NameInUse:
    return NameInUse(
        f'the container name "/{name}" is already in use by container "{id}"',
        hint=f"remove that container (rm {name}) or choose another name",
    )


def _listed(specs: Sequence[ContainerSpec]) -> str:
    shown = ", ".join(f"{spec.id[:12]} ({spec.name})" for spec in specs[:5])
    return shown + (", ..." if len(specs) > 5 else "")
