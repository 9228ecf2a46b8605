"""Durations as Go prints them."""

from __future__ import annotations

_SECOND = 1_000_000_000


def go_duration(nanoseconds: int) -> str:
    """A duration as Go's ``time.Duration`` prints it: ``30s``, ``1m30s``, ``1h0m0s``, ``1.5s``, ``200ms``."""
    if nanoseconds == 0:
        return "0s"
    sign = "-" if nanoseconds < 0 else ""
    value = abs(nanoseconds)
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if value < min(size * 1000, _SECOND):
            return f"{sign}{_decimal(value, size)}{unit}"
    minutes, rest = divmod(value, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    out = f"{_decimal(rest, _SECOND)}s"
    if hours or minutes:
        out = f"{minutes}m{out}"
    if hours:
        out = f"{hours}h{out}"
    return sign + out


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    digits = len(str(unit)) - 1
    fraction = f"{rest:0{digits}d}".rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)
