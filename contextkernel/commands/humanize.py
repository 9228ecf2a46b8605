"""Sizes, times and texts as docker shows them (docker/go-units; docker/cli, cli/command/formatter). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.model import room

if TYPE_CHECKING:
    from datetime import datetime, timedelta


def utc_now() -> datetime:
    """The clock."""
    from datetime import UTC, datetime

    return datetime.now(UTC)


human_size = room.human_size
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_FIRST_YEAR_SHOWN = 2000
_ID_LENGTH = 12
_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def memory_size(size: float) -> str:
    """``332KiB``, ``23.54GiB``: binary units, four significant digits (go-units ``BytesSize``)."""
    unit = 0
    while size >= 1024 and unit < len(_BINARY) - 1:
        size /= 1024
        unit += 1
    return f"{size:.4g}{_BINARY[unit]}"


def human_duration(duration: timedelta) -> str:
    """``About an hour``, ``3 minutes``: go-units' steps."""
    total = duration.total_seconds()
    seconds = int(total)
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = int(total / 60)
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(total / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(total / 3600) // 24 // 365} years"


def human_ago(moment: datetime, now: datetime) -> str:
    """``3 weeks ago``."""
    return f"{human_duration(now - moment)} ago"


def is_dated(moment: datetime) -> bool:
    """Whether the time means anything: images without one carry the epoch or Go's zero time."""
    return moment.year >= _FIRST_YEAR_SHOWN


def go_time(moment: datetime) -> str:
    """``2022-01-07 02:25:30 +0000 UTC`` in the local time zone: Go's ``time.Time.String``."""
    return moment.replace(microsecond=0).astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z")


def rfc3339(moment: datetime) -> str:
    """``2022-01-07T02:25:30Z`` in the local time zone."""
    text = moment.replace(microsecond=0).astimezone().isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def short_id(text: str) -> str:
    """The first 12 hex digits of an id or digest."""
    return text.partition(":")[2][:_ID_LENGTH] if ":" in text else text[:_ID_LENGTH]


def display_width(text: str) -> int:
    """Columns a terminal needs for ``text``."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(2 if east_asian_width(char) in "WF" else 0 if combining(char) else 1 for char in text)


def ellipsis(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns, with ``…`` for what was cut off."""
    if display_width(text) <= width:
        return text
    out, used = "", 0
    for char in text:
        used += display_width(char)
        if used > width - 1:
            break
        out += char
    return out + "…"


def go_quote(text: str) -> str:
    """``"echo 'a'"``: Go's ``strconv.Quote``."""
    out = []
    for char in text:
        if char in '"\\':
            out.append("\\" + char)
        elif char in _ESCAPES:
            out.append(_ESCAPES[char])
        elif char.isprintable():
            out.append(char)
        elif char < "\x80":
            out.append(f"\\x{ord(char):02x}")
        elif "\udc80" <= char <= "\udcff":  # a byte that was no UTF-8
            out.append(f"\\x{ord(char) - 0xDC00:02x}")
        else:
            out.append(f"\\u{ord(char):04x}" if char <= "\uffff" else f"\\U{ord(char):08x}")
    return '"' + "".join(out) + '"'


def align(lines: list[str], *, minimum: int = 10, padding: int = 3) -> list[str]:
    """Lay tab-separated cells out in columns, as Go's text/tabwriter does with docker's settings.

    A column is a block of adjacent lines that have a tab-terminated cell at that place; the last cell of a line
    belongs to no column.

    Args:
        lines: without line ends.
        minimum: least width of a column.
        padding: blanks added to the widest cell.
    """
    cells = [line.split("\t") for line in lines]
    widths: list[list[int]] = [[] for _ in cells]

    def block(first: int, last: int, column: int) -> None:
        at = first
        while at < last:
            if len(cells[at]) - 1 <= column:
                at += 1
                continue
            end = at
            while end < last and len(cells[end]) - 1 > column:
                end += 1
            width = max(minimum, *(display_width(cells[row][column]) + padding for row in range(at, end)))
            for row in range(at, end):
                widths[row].append(width)
            block(at, end, column + 1)
            at = end

    block(0, len(cells), 0)
    return [
        "".join(cell + " " * (width - display_width(cell)) for cell, width in zip(row, sizes, strict=False)) + row[-1]
        for row, sizes in zip(cells, widths, strict=True)
    ]
