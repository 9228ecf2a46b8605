"""Volumes: directories that outlive containers, ``volumes/<name>/_data`` as docker has them, and who refers to them."""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from contextkernel.errors import Conflict, VolumeNotFound
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.volumes import ANONYMOUS_LABEL, Volume, VolumeRow, check_options, check_volume_name
from contextkernel.store.database import Database
from contextkernel.store.paths import Paths, random_name
from contextkernel.store.sessions import Session

#: what a volume's directory is called from the moment it is removed; no volume can have such a name
REMOVED = ".removed-"


def anonymous_volume() -> Volume:
    """A new volume without a name of anybody's choice; docker's label says so."""
    return Volume(
        name=secrets.token_hex(32), created=time.time_ns(), labels={ANONYMOUS_LABEL: ""}, options={}, anonymous=True
    )


class Volumes:
    """The volumes of a store."""

    def __init__(self, paths: Paths, database: Database, session: Session) -> None:
        self._paths = paths
        self._database = database
        self._session = session

    # ---- inside a transaction of others

    def insert(self, sql: sqlite3.Connection, volume: Volume) -> bool:
        """Add a volume, row and directory, unless one of its name is there; whether it was added.

        Call it inside a write transaction, of which it is the last thing but for other directories: a directory
        without a row is nobody's (see Sweeper.orphans).
        """
        check_volume_name(volume.name)
        check_options(volume.name, volume.options)
        if sql.execute("SELECT 1 FROM volumes WHERE name = ?", (volume.name,)).fetchone():
            return False
        sql.execute(
            "INSERT INTO volumes (name, created, anonymous, document) VALUES (?, ?, ?, ?)",
            (volume.name, volume.created, volume.anonymous, to_json(volume)),
        )
        os.makedirs(self._paths.volumes, 0o700, exist_ok=True)
        os.mkdir(f"{self._paths.volumes}/{volume.name}", 0o700)
        os.mkdir(self._paths.volume(volume.name))
        os.chmod(self._paths.volume(volume.name), 0o755)  # whatever the umask is  # noqa: S103
        return True

    def drop(self, sql: sqlite3.Connection, name: str) -> None:
        """Forget a volume that nothing refers to; its directory loses its name and becomes trash."""
        sql.execute("DELETE FROM volumes WHERE name = ?", (name,))
        hidden = f"{REMOVED}{random_name(12)}"
        with suppress(FileNotFoundError):
            os.rename(f"{self._paths.volumes}/{name}", f"{self._paths.volumes}/{hidden}")
            sql.execute("INSERT OR IGNORE INTO trash (path) VALUES (?)", (f"volumes/{hidden}",))

    def undo(self, sql: sqlite3.Connection, name: str) -> None:
        """Take back an :meth:`insert` of a moment ago; the volume is empty."""
        import shutil

        sql.execute("DELETE FROM volumes WHERE name = ?", (name,))
        shutil.rmtree(f"{self._paths.volumes}/{name}", ignore_errors=True)

    def refer(self, sql: sqlite3.Connection, container: str, names: Iterable[str]) -> None:
        """Note that a container uses volumes.

        Raises:
            VolumeNotFound: one has been removed meanwhile.
        """
        for name in dict.fromkeys(names):
            if not sql.execute("SELECT 1 FROM volumes WHERE name = ?", (name,)).fetchone():
                raise VolumeNotFound(f"get {name}: no such volume")
            sql.execute("INSERT INTO container_volumes (container, volume) VALUES (?, ?)", (container, name))

    def forget_container(self, sql: sqlite3.Connection, container: str, *, anonymous: bool) -> tuple[str, ...]:
        """Remove a container's row and references; with ``anonymous`` its anonymous volumes that nothing else needs.

        Returns:
            The names of the volumes that went.
        """
        names = [
            row[0]
            for row in sql.execute(
                "SELECT v.name FROM volumes v JOIN container_volumes u ON u.volume = v.name"
                " WHERE u.container = ? AND v.anonymous ORDER BY v.name",
                (container,),
            )
        ]
        sql.execute("DELETE FROM container_volumes WHERE container = ?", (container,))
        sql.execute("DELETE FROM containers WHERE id = ?", (container,))
        gone = []
        for name in names if anonymous else ():
            if not sql.execute("SELECT 1 FROM container_volumes WHERE volume = ?", (name,)).fetchone():
                self.drop(sql, name)
                gone.append(name)
        return tuple(gone)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """See ``Store.volume_lock``; the kernel lets go of it when the process ends, however that happens."""
        try:
            descriptor = os.open(f"{self._paths.volumes}/{name}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as problem:
            raise VolumeNotFound(f"the directory of volume {name} is gone", hint="remove the volume") from problem
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    # ---- on its own

    def create(self, volume: Volume, forget: Callable[[sqlite3.Connection], None]) -> tuple[Volume, bool]:
        """See ``Store.add_volume``; ``forget`` lets go of containers that have removed themselves."""
        assert self._session.id  # noqa: S101 - what is half done is found by it
        made = False
        try:
            with self._database.transaction() as sql:
                forget(sql)
                made = self.insert(sql, volume)
        except BaseException:
            if made:
                with self._database.transaction() as sql:
                    self.undo(sql, volume.name)
            raise
        return (volume if made else self.get(volume.name).volume), made

    def get(self, name: str) -> VolumeRow:
        """See ``Store.volume``."""
        row = self._database.one("SELECT document FROM volumes WHERE name = ?", (name,))
        if row is None:
            raise VolumeNotFound(f"get {name}: no such volume", hint=self._near(name))
        return self._row(from_json(row[0], Volume), self._users().get(name, ()))

    def _near(self, wanted: str) -> str:
        from difflib import get_close_matches

        names = [row[0] for row in self._database.all("SELECT name FROM volumes WHERE NOT anonymous")]
        near = get_close_matches(wanted, names, n=3)
        return f"did you mean {' or '.join(near)}?" if near else "volume ls lists the volumes there are"

    def rows(self, forget: Callable[[sqlite3.Connection], None]) -> tuple[VolumeRow, ...]:
        """See ``Store.volumes``."""
        with self._database.transaction() as sql:
            forget(sql)
        users = self._users()
        documents = self._database.all("SELECT document FROM volumes ORDER BY name")
        volumes = [from_json(row[0], Volume) for row in documents]
        return tuple(self._row(volume, users.get(volume.name, ())) for volume in volumes)

    def _row(self, volume: Volume, users: tuple[str, ...]) -> VolumeRow:
        return VolumeRow(volume=volume, mountpoint=self._paths.volume(volume.name), containers=users)

    def _users(self) -> dict[str, tuple[str, ...]]:
        users: dict[str, tuple[str, ...]] = {}
        for name, container in self._database.all(
            "SELECT u.volume, u.container FROM container_volumes u JOIN containers c ON c.id = u.container"
            " ORDER BY c.created DESC, c.rowid DESC"
        ):
            users[name] = (*users.get(name, ()), container)
        return users

    def remove(self, name: str, forget: Callable[[sqlite3.Connection], None]) -> None:
        """See ``Store.remove_volume``."""
        with self._database.transaction() as sql:
            forget(sql)
            if not sql.execute("SELECT 1 FROM volumes WHERE name = ?", (name,)).fetchone():
                raise VolumeNotFound(f"get {name}: no such volume", hint="volume ls lists the volumes there are")
            users = [row[0] for row in sql.execute("SELECT container FROM container_volumes WHERE volume = ?", (name,))]
            if users:
                raise Conflict(
                    f"remove {name}: volume is in use - [{', '.join(users)}]", hint="remove these containers first"
                )
            self.drop(sql, name)
