"""Times as docker's documents have them."""

from __future__ import annotations

from datetime import UTC, datetime

_NEVER = "0001-01-01T00:00:00Z"


def rfc3339(nanoseconds: int) -> str:
    """Nanoseconds since the epoch as docker writes times; zero is Go's zero time."""
    if not nanoseconds:
        return _NEVER
    whole, fraction = divmod(nanoseconds, 10**9)
    digits = f"{fraction:09d}".rstrip("0")
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S") + (f".{digits}" if digits else "") + "Z"
