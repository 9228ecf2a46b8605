"""What counts as white space, and Go's readings of small values, so that edge cases agree with BuildKit's."""

from __future__ import annotations

import re

#: Go's unicode.IsSpace; unlike Python's it leaves out the separators 0x1c to 0x1f
SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"

#: what separates words on a Dockerfile line
BLANKS = re.compile(r"[\t\v\f\r ]+")

_DURATION = re.compile(r"([0-9]{0,300})(?:\.([0-9]{0,300}))?([^0-9.]+)")
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_MAX_INT64 = 2**63 - 1
_SIZE = re.compile(r"([0-9]{0,300})(?:\.([0-9]{0,300}))? ?(?:b|([kmgtp])(?:i?b)?)?\Z", re.IGNORECASE)


def parse_duration(text: str) -> int | None:
    """Go's ``time.ParseDuration`` (``1m30s``, ``1.5h``): nanoseconds, or ``None`` if it is not a duration."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total = position = 0
    while position < len(rest):
        found = _DURATION.match(rest, position)
        if not found or found[3] not in _UNITS or not (found[1] or found[2]):
            return None
        total += _scaled(found[1], found[2] or "", _UNITS[found[3]])
        position = found.end()
    if not rest or total > _MAX_INT64:
        return None
    return sign * total


def parse_size(text: str) -> int | None:
    """Docker's sizes (``64m``, ``1.5GiB``; units are powers of 1024): bytes, or ``None`` if it is not a size."""
    found = _SIZE.match(text)
    if not found or not (found[1] or found[2]):
        return None
    power = " kmgtp".index(found[3].lower()) if found[3] else 0
    return _scaled(found[1], found[2] or "", 1024**power)


def _scaled(whole: str, fraction: str, unit: int) -> int:
    """``whole.fraction`` times ``unit``, cut to a whole number."""
    scaled: int = int(whole + fraction or "0") * unit // 10 ** len(fraction)
    return scaled


def csv_fields(text: str) -> tuple[str, ...]:
    """Split one line of comma-separated values (RFC 4180 quoting).

    Raises:
        ValueError: with the reason, for an empty text or misplaced quotes.
    """
    if not text:
        raise ValueError("no value")
    fields: list[str] = []
    position = 0
    while True:
        if text[position : position + 1] == '"':
            position += 1
            value = ""
            while True:
                end = text.find('"', position)
                if end < 0:
                    raise ValueError("a quote is not closed")
                value += text[position:end]
                position = end + 1
                if text[position : position + 1] != '"':
                    break
                value += '"'
                position += 1
            if position < len(text) and text[position] != ",":
                raise ValueError("text after a closing quote")
        else:
            end = text.find(",", position)
            end = len(text) if end < 0 else end
            value = text[position:end]
            if '"' in value:
                raise ValueError("a quote inside an unquoted field")
            position = end
        fields.append(value)
        if position >= len(text):
            return tuple(fields)
        position += 1
