"""RFC 3339 times of image documents, which may have nanoseconds; datetimes have microseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))\Z",
)
EPOCH = datetime.fromtimestamp(0, UTC)


def parse_time(text: str | None) -> int:
    """Nanoseconds since the epoch; 0 for ``None`` and for what is no time (image configs are untrusted)."""
    match = _FORM.match(text or "")
    if not match:
        return 0
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    try:
        zone = timezone((-1 if sign == "-" else 1) * timedelta(hours=int(hours or 0), minutes=int(minutes or 0)))
        moment = datetime(int(year), int(month), int(day), int(hour), int(minute), min(int(second), 59), tzinfo=zone)
    except ValueError:
        return 0
    whole = (moment - EPOCH) // timedelta(seconds=1)
    nanoseconds = whole * 10**9 + int(((fraction or "") + "000000000")[:9])
    # year 1 is Go's zero time; anything before 1970 or that SQLite could not hold is no creation time
    return nanoseconds if 0 <= nanoseconds < 2**63 else 0


def to_datetime(nanoseconds: int) -> datetime:
    """An aware UTC datetime."""
    return EPOCH + timedelta(microseconds=nanoseconds // 1000)


def format_time(nanoseconds: int) -> str:
    """RFC 3339 in UTC as Go prints it: nine fractional digits without trailing zeros."""
    seconds, rest = divmod(nanoseconds, 10**9)
    text = (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{rest:09d}".rstrip("0") if rest else "") + "Z"
