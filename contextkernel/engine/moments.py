"""Moments as users give them: docker's ``--since`` and ``--until``."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta, timezone

from contextkernel.dockerfile.text import parse_duration
from contextkernel.errors import InvalidInput

Moment = str | int | float | datetime
"""``10m``, ``2026-01-02T03:04:05``, seconds since the epoch as text or number, or a datetime."""

_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d+))?)?)?)?([Zz]|[+-]\d\d:\d\d)?\Z",
)
_SECONDS = re.compile(r"([+-]?\d{1,12})(?:\.(\d{1,20}))?\Z")
_EPOCH = datetime.fromtimestamp(0, UTC)


def nanoseconds(moment: Moment | None, *, now: int | None = None) -> int | None:
    """A moment as nanoseconds since the epoch; ``None`` stays.

    Text is read as docker reads it (moby, daemon/internal/timestamp): a Go duration counts back from now; then a time
    of RFC 3339, which may leave out the zone (it is the local one then), seconds, minutes, hours or the time of day;
    then seconds since the epoch with up to nine decimals.

    Args:
        moment: what the user gave; an empty text is none.
        now: nanoseconds since the epoch; default: the clock.

    Raises:
        InvalidInput: text that is none of these.
    """
    if moment is None or moment == "":
        return None
    if isinstance(moment, datetime):
        aware = moment if moment.tzinfo else moment.astimezone()
        return (aware - _EPOCH) // timedelta(microseconds=1) * 1000
    if isinstance(moment, int):
        return moment * 10**9
    if isinstance(moment, float):
        return int(moment * 10**9)
    duration = parse_duration(moment)
    if duration is not None and moment != "0":
        return (time.time_ns() if now is None else now) - duration
    found = _dated(moment) if "-" in moment[1:] else _counted(moment)
    if found is None:
        raise InvalidInput(
            f"not a moment: {moment!r}",
            hint="such as 10m (ago), 2026-01-02T15:04:05, 2026-01-02T15:04:05Z, or seconds since 1970",
        )
    return found


def _counted(text: str) -> int | None:
    found = _SECONDS.match(text)
    if not found:
        return None
    return int(found[1]) * 10**9 + int(f"{found[2] or ''}000000000"[:9])


def _dated(text: str) -> int | None:
    found = _FORM.match(text)
    if not found:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))  # noqa: DTZ001 - zone below
        if zone is None:
            aware = moment.astimezone()
        elif zone in "Zz":
            aware = moment.replace(tzinfo=UTC)
        else:
            offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
            aware = moment.replace(tzinfo=timezone(-offset if zone[0] == "-" else offset))
        return (aware - _EPOCH) // timedelta(seconds=1) * 10**9 + int(f"{fraction or ''}000000000"[:9])
    except (ValueError, OverflowError):
        return None
