"""Near matches: "did you mean"."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(word: str, options: Iterable[str]) -> str | None:
    """The option that ``word`` was most likely meant to be, in the case ``word`` is written in.

    Args:
        word: what was written.
        options: what would have been right.

    Returns:
        ``None`` if nothing is near.
    """
    # rarely needed: keep it off the import path of every start
    from difflib import get_close_matches

    known = {option.lower(): option for option in options}
    found = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    if not found:
        return None
    option = known[found[0]]
    if word.islower():
        return option.lower()
    return option.upper() if word.isupper() else option


def did_you_mean(word: str, options: Iterable[str], *, prefix: str = "") -> str | None:
    """A hint that names the nearest option, or else lists all of them if they are few.

    Args:
        word: what was written.
        options: what would have been right.
        prefix: put before options in the hint, e.g. ``--``.
    """
    choices = sorted(options)
    found = nearest(word, choices)
    if found:
        return f"did you mean {prefix}{found}?"
    if 0 < len(choices) <= 8:
        return f"one of {', '.join(prefix + choice for choice in choices)}"
    return None
