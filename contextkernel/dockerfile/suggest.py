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


def rearranged(word: str, options: Iterable[str]) -> str | None:
    """The option with the letters of ``word`` in another order (``RNU``): one slip of fingers, two for :func:`closest`.

    Args:
        word: what was written.
        options: what would have been right.

    Returns:
        ``None`` if there is none.
    """
    letters = sorted(word)
    return next((option for option in options if option != word and sorted(option) == letters), None)


def closest(word: str, options: Iterable[str]) -> str | None:
    """The option that differs from ``word`` by at most two insertions, removals or replacements of a character.

    The measure of BuildKit's checks (``util/suggest``), stricter than :func:`nearest`; the first of several wins.

    Args:
        word: what was written.
        options: what would have been right.

    Returns:
        ``None`` if nothing is that close, or if ``word`` is one of the options.
    """
    best, least = None, 3
    for option in options:
        if option == word:
            return None
        distance = _distance(word, option, least)
        if distance < least:
            best, least = option, distance
    return best


def _distance(one: str, other: str, limit: int) -> int:
    """Levenshtein distance; at least ``limit`` if the lengths alone differ by that much."""
    if abs(len(one) - len(other)) >= limit:
        return limit
    above = list(range(len(other) + 1))
    for row, char in enumerate(one, 1):
        line = [row]
        for column, wanted in enumerate(other, 1):
            line.append(min(above[column] + 1, line[-1] + 1, above[column - 1] + (char != wanted)))
        above = line
    return above[-1]
