"""Network records, by id and by unique name."""

from __future__ import annotations

import re
import secrets
import sqlite3
import time

from contextkernel.errors import Conflict, InvalidInput, NetworkNotFound
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.networks import Driver, NetworkRecord
from contextkernel.store.database import Database

_ID_START = re.compile(r"[0-9a-f]{1,64}\Z")
#: docker's predefined networks
PREDEFINED: dict[str, Driver] = {"bridge": "bridge", "host": "host", "none": "null"}


class Networks:
    """The networks of a store. The predefined ones are there from the first look on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> tuple[NetworkRecord, ...]:
        """All networks, by name."""
        rows = self._database.all("SELECT document FROM networks ORDER BY name")
        if len(rows) < len(PREDEFINED):
            self._predefine()
            rows = self._database.all("SELECT document FROM networks ORDER BY name")
        return tuple(from_json(row[0], NetworkRecord) for row in rows)

    def get(self, text: str) -> NetworkRecord:
        """The network that ``text`` names: an id, a name, or a unique part of an id from its start.

        Raises:
            NetworkNotFound: there is none. InvalidInput: several ids begin so.
        """
        rows = self._database.all("SELECT document FROM networks WHERE id = ? OR name = ?", (text, text))
        if not rows and text in PREDEFINED:
            self._predefine()
            return self.get(text)
        if not rows and _ID_START.match(text):
            rows = self._database.all("SELECT document FROM networks WHERE id GLOB ? ORDER BY id", (text + "*",))
        found = [from_json(row[0], NetworkRecord) for row in rows]
        exact = [record for record in found if record.name == text] or found
        if len(exact) == 1:
            return exact[0]
        if exact:
            raise InvalidInput(f"network id {text!r} is ambiguous", hint="give more digits, or the name")
        raise NetworkNotFound(f"network {text} not found", hint="network ls lists the networks there are")

    def add(self, record: NetworkRecord) -> None:
        """Make a network known.

        Raises:
            Conflict: the name is taken.
        """
        self.all()
        with self._database.transaction() as sql:
            if sql.execute("SELECT 1 FROM networks WHERE name = ?", (record.name,)).fetchone():
                raise Conflict(f"network with name {record.name} already exists", hint="choose another name")
            _insert(sql, record)

    def replace(self, record: NetworkRecord) -> None:
        """Record a network anew, for instance with the subnets that were chosen for it."""
        with self._database.transaction() as sql:
            sql.execute("UPDATE networks SET document = ? WHERE id = ?", (to_json(record), record.id))

    def remove(self, id: str) -> None:
        """Forget a network. Idempotent."""
        with self._database.transaction() as sql:
            sql.execute("DELETE FROM networks WHERE id = ?", (id,))

    def _predefine(self) -> None:
        with self._database.transaction() as sql:
            known = {row[0] for row in sql.execute("SELECT name FROM networks")}
            for name, driver in PREDEFINED.items():
                if name not in known:
                    record = NetworkRecord(id=secrets.token_hex(32), name=name, driver=driver, created=time.time_ns())
                    _insert(sql, record)


def _insert(sql: sqlite3.Connection, record: NetworkRecord) -> None:
    sql.execute(
        "INSERT INTO networks (id, name, created, document) VALUES (?, ?, ?, ?)",
        (record.id, record.name, record.created, to_json(record)),
    )
