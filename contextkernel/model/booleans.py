"""Truth values as Go spells them."""

from __future__ import annotations

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def parse_bool(text: str) -> bool | None:
    """Go's ``strconv.ParseBool``; ``None`` if it is not one of its words."""
    return True if text in _TRUE else False if text in _FALSE else None
