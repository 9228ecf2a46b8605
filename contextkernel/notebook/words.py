"""Splits the line of a magic into words as a shell does, so that a line copied from a terminal means the same.

Quotes, backslashes, ``$NAME`` and ``${NAME}`` outside single quotes, ``$PWD``, ``$(pwd)`` and a leading ``~`` work;
pipes, redirections and other substitutions do not exist here and are refused, not passed on. Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from contextkernel.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_PWD = re.compile(r"\$\(\s*pwd\s*\)|`\s*pwd\s*`")
_OPERATORS = ("|", "||", "&", "&&", ";", ">", ">>", "<", "<<", "2>", "2>>", "2>&1", "&>")


def split(line: str, value: Callable[[str], str | None], directory: str, home: str) -> list[str]:
    """The words of ``line``.

    Args:
        line: what stands behind the magic's name.
        value: gives the value of a ``$NAME``; ``None`` leaves the text as it stands.
        directory: what ``$(pwd)`` stands for.
        home: what a leading ``~`` stands for.

    Raises:
        UsageProblem: an open quote, or an operator that only a shell has.
    """
    words: list[str] = []
    word: str | None = None
    quote = ""
    place = 0
    while place < len(line):
        char = line[place]
        if quote == "'":
            quote, word = ("", word) if char == "'" else (quote, (word or "") + char)
            place += 1
        elif char == "\\" and place + 1 < len(line) and (not quote or line[place + 1] in '"\\$`\n'):
            word = (word or "") + line[place + 1].replace("\n", "")
            place += 2
        elif char in "$`":
            text, place = _substitute(line, place, value, directory)
            word = (word or "") + text
        elif char == quote:
            quote = ""
            place += 1
        elif quote:
            word = (word or "") + char
            place += 1
        elif char in "'\"":
            quote, word = char, word or ""
            place += 1
        elif char.isspace():
            words, word = ([*words, word], None) if word is not None else (words, None)
            place += 1
        elif word is None:
            _refuse_operator(line, place)
            if char == "~" and re.match(r"~(?:/|\s|\Z)", line[place:]):
                word, place = home, place + 1
            else:
                word, place = char, place + 1
        else:
            word += char
            place += 1
    if quote:
        raise UsageProblem(
            f"no closing {quote} in: {line.strip()}", hint="close the quote, or put a backslash before it"
        )
    return [*words, word] if word is not None else words


def _substitute(line: str, place: int, value: Callable[[str], str | None], directory: str) -> tuple[str, int]:
    if found := _PWD.match(line, place):
        return directory, found.end()
    if found := _NAME.match(line, place):
        known = value(found[1] or found[2])
        return (found[0] if known is None else known), found.end()
    return line[place], place + 1


def _refuse_operator(line: str, place: int) -> None:
    operator = line[place:].split(maxsplit=1)[0]
    if operator in _OPERATORS:
        raise UsageProblem(
            f"{operator!r} is a shell's: the line of a magic goes to no shell",
            hint="quote it to pass it on; to use a result, assign it: `rows = %container images`",
        )
