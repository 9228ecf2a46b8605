"""How much, and how slowly, a server may send."""

from __future__ import annotations

import os
import re

import msgspec

from contextkernel.errors import InvalidInput

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d+)\s*([kmgt]?)(?:i?b)?\Z", re.IGNORECASE)
_VARIABLE = "CONTEXTKERNEL_FETCH_LIMIT"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one transfer.

    Attributes:
        size: bytes of a download, of a repository's objects, and of an archive when unpacked.
        connect: seconds to accept a connection.
        quiet: seconds within which something has to arrive, and an answer has to begin.
        slow: bytes that have to arrive within each ``quiet`` seconds, else the server is too slow.
        total: seconds for a transfer as a whole.
        redirects: how many are followed.
        memory: bytes that reading a repository may take.
    """

    size: int = 16 << 30
    connect: float = 10.0
    quiet: float = 60.0
    slow: int = 4 << 10
    total: float = 3600.0
    redirects: int = 10
    memory: int = 2 << 30

    @classmethod
    def from_environment(cls) -> Limits:
        """The defaults, with the size that ``$CONTEXTKERNEL_FETCH_LIMIT`` says (``500m``, ``20g``).

        Raises:
            InvalidInput: it is not a size.
        """
        text = os.environ.get(_VARIABLE, "").strip()
        if not text:
            return cls()
        found = _SIZE.match(text)
        if found is None or not int(found[1]):
            raise InvalidInput(f"{_VARIABLE}={text!r} is not a size", hint="e.g. 500m or 20g")
        return cls(size=int(found[1]) * _UNITS[found[2].lower()])
