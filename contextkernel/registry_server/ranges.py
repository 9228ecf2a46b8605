"""Ranges of bytes in headers: what a client wants of a blob, and where a chunk belongs. Pure."""

from __future__ import annotations

import re

_ONE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z", re.ASCII)
_CHUNK = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})(?:/(?:\d{1,18}|\*))?\Z", re.ASCII)


class Unsatisfiable(Exception):
    """The range has nothing of the content."""


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """What a ``Range`` header asks for (RFC 9110, section 14.2).

    Args:
        header: its text.
        size: bytes there are.

    Returns:
        First byte, and the one after the last; ``None`` if all is to be sent: no header, one that is not understood,
        or one for several ranges.

    Raises:
        Unsatisfiable: it begins after the end.
    """
    match = _ONE.match(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    if not match[1]:
        count = int(match[2])
        if not count or not size:
            raise Unsatisfiable
        return max(0, size - count), size
    first = int(match[1])
    end = int(match[2]) + 1 if match[2] else size
    if end <= first and match[2]:
        return None  # turned around: as if it were not there
    if first >= size:
        raise Unsatisfiable
    return first, min(end, size)


def chunk_range(header: str) -> tuple[int, int] | None:
    """Where a chunk begins and ends: ``Content-Range`` of the distribution-spec, both ends included.

    Returns:
        First byte, and the one after the last; ``None``: not understood.
    """
    match = _CHUNK.match(header.strip())
    if match is None or int(match[2]) < int(match[1]):
        return None
    return int(match[1]), int(match[2]) + 1
