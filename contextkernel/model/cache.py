"""The build cache as rows, and what to keep of it."""

from __future__ import annotations

import re
from datetime import datetime

import msgspec

from contextkernel.errors import InvalidInput


class CacheRow(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the build cache.

    Attributes:
        id: its name, for ``--filter id=``.
        type: ``regular`` (the layer of a step), ``exec.cachemount`` (a ``RUN --mount=type=cache``) or ``debug`` (what
            a failed step left, for ``debug``).
        description: what it was made by.
        size: bytes.
        created: when it was made.
        used: when it was last made or found.
        uses: how often it was found.
        reclaimable: no running build works with it.
        shared: an image or a container uses its layer: removing the entry frees nothing.
    """

    id: str
    type: str
    description: str
    size: int
    created: datetime
    used: datetime
    uses: int = 0
    reclaimable: bool = True
    shared: bool = False

    @property
    def mutable(self) -> bool:
        """Whether builds change it."""
        return self.type == "exec.cachemount"


class CacheFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are meant; all conditions must hold.

    Attributes:
        used_before: nanoseconds since the epoch; entries used since are not meant.
        ids, types: beginnings of ids, and types; each must fit one of them, if there are any.
        description: text that must be in it.
        shared, mutable, in_use: must be so, or (``False``) must not.
    """

    used_before: int | None = None
    ids: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    description: tuple[str, ...] = ()
    shared: bool | None = None
    mutable: bool | None = None
    in_use: bool | None = None

    def fits(self, row: CacheRow) -> bool:
        """Whether ``row`` is meant."""
        moment = int(row.used.timestamp() * 1_000_000_000)
        return (
            (self.used_before is None or moment < self.used_before)
            and (not self.ids or row.id.startswith(self.ids))
            and (not self.types or row.type in self.types)
            and all(text in row.description for text in self.description)
            and self.shared in (None, row.shared)
            and self.mutable in (None, row.mutable)
            and self.in_use in (None, not row.reclaimable)
        )


class CacheLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much may stay, in bytes; all zero: nothing has to stay.

    Attributes:
        max_used: the most that the cache may have.
        reserved: what it may have in any case.
        min_free: what the file system should have free afterwards.
    """

    max_used: int = 0
    reserved: int = 0
    min_free: int = 0

    def keep(self, total: int, free: int) -> int | None:
        """Bytes that may stay of ``total`` with ``free`` bytes free; ``None`` where nothing is to be kept.

        Source: BuildKit's ``cache/manager.go``, ``calculateKeepBytes``.
        """
        if not (self.max_used or self.reserved or self.min_free):
            return None
        kept = self.max_used
        missing = self.min_free - free
        if missing > 0:
            kept = min(kept, total - missing) if kept else total - missing
        elif self.min_free and not kept:
            kept = total
        return max(kept, self.reserved, 0)


class CachePruned(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed: the entries, and the bytes that this freed."""

    rows: tuple[CacheRow, ...]
    freed: int


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``system df``; sizes in bytes."""

    type: str
    total: int
    active: int
    size: int
    reclaimable: int


_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1000, "m": 1000**2, "mb": 1000**2, "g": 1000**3, "gb": 1000**3}
_UNITS |= {"t": 1000**4, "tb": 1000**4, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)\Z", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes of ``20GB``, ``512mb``, ``1.5GiB`` or ``1000`` (docker/go-units: decimal, unless it says ``i``).

    Raises:
        InvalidInput: no size.
    """
    match = _SIZE.match(text.strip())
    if match is None or match[2].lower() not in _UNITS:
        raise InvalidInput(f"{text!r} is not a size", hint="e.g. 20GB, 512MB or a number of bytes")
    return int(float(match[1]) * _UNITS[match[2].lower()])
