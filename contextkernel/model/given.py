"""What callers may hand in as one thing or as several: a string is one name, and never its characters.

Source of the rules: docker-py, ``docker/utils/utils.py`` (``split_command``, ``convert_filters``).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from contextkernel.errors import InvalidInput

T = TypeVar("T")

Filters: TypeAlias = Mapping[str, str | int | Sequence[str | int]]
"""Values by key, as docker-py takes them: ``{"label": "course", "dangling": True, "exited": 1}``."""


def several(given: str | Iterable[T]) -> tuple[str | T, ...]:
    """The names, or other values, of an argument that takes any number of them.

    Args:
        given: one name, or any number.
    """
    return (given,) if isinstance(given, str) else tuple(given)


def words_of(command: str | Iterable[str]) -> tuple[str, ...]:
    """A command's words; a string is split as a shell does it, and nothing in it is expanded.

    Raises:
        InvalidInput: a quotation that does not end.
    """
    if not isinstance(command, str):
        return tuple(command)
    try:
        return tuple(shlex.split(command))
    except ValueError as problem:
        raise InvalidInput(
            f"cannot split the command {command!r} into words: {str(problem).lower()}", hint="or give a list of words"
        ) from None


def filter_values(given: Filters | None) -> dict[str, tuple[str, ...]]:
    """Filters with all their values as text; true and false are docker's words."""
    return {
        key: tuple(map(_text, (values,) if isinstance(values, int) else several(values)))
        for key, values in (given or {}).items()
    }


def _text(value: str | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
