"""Which bridges a service has made: so that one that was killed leaves nothing behind for good."""

from __future__ import annotations

import os
from contextlib import suppress

import msgspec

from contextkernel.network.client import SOCKET

_FILE = "made.json"


class Journal:
    """A list of names in a file; written before a bridge is made, and after it is gone.

    Args:
        directory: where the file is.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._path = os.path.join(directory, _FILE)
        self._bridges = self._read()

    @property
    def bridges(self) -> tuple[str, ...]:
        """Those that may be there."""
        return tuple(self._bridges)

    def add(self, bridge: str) -> None:
        """One is going to be made."""
        if bridge not in self._bridges:
            self._bridges.append(bridge)
            self._write()

    def remove(self, bridge: str) -> None:
        """One is gone."""
        if bridge in self._bridges:
            self._bridges.remove(bridge)
            self._write()

    def clear(self) -> None:
        """All are gone."""
        self._bridges.clear()
        with suppress(OSError):
            os.unlink(self._path)

    def close_door(self) -> None:
        """Remove the name that clients connect to."""
        with suppress(OSError):
            os.unlink(os.path.join(self._directory, SOCKET))

    def _read(self) -> list[str]:
        try:
            with open(self._path, "rb") as file:
                return msgspec.json.decode(file.read(), type=list[str])
        except (OSError, msgspec.MsgspecError):
            return []

    def _write(self) -> None:
        # a full disk costs the note, not the network
        with suppress(OSError):
            temporary = f"{self._path}.new"
            with open(temporary, "wb") as file:
                file.write(msgspec.json.encode(self._bridges))
            os.rename(temporary, self._path)
