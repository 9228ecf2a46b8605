"""The patterns of ``${name#pattern}`` and its kin: ``*`` any text, ``?`` any character, no brackets.

A pattern is cut at its stars into pieces of fixed length, so matching takes linear steps for each piece; no pattern
from an untrusted Dockerfile can make it explode, as a backtracking regular expression would.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

#: characters to match in order; ``None`` stands for any one character
_Piece: TypeAlias = tuple[str | None, ...]


class Glob(msgspec.Struct, frozen=True):
    """A pattern: pieces with any text between each two of them."""

    pieces: tuple[_Piece, ...]

    @classmethod
    def parse(cls, pattern: str) -> Glob:
        r"""Read a pattern; ``\*``, ``\?`` and ``\\`` are literal, ``\}`` and ``\/`` lose their backslash.

        Raises:
            ValueError: for any other escape.
        """
        pieces: list[list[str | None]] = [[]]
        characters = iter(pattern)
        for char in characters:
            if char == "*":
                pieces.append([])
            elif char == "?":
                pieces[-1].append(None)
            elif char == "\\":
                escaped = next(characters, "")
                if not escaped or escaped not in r"}/*?\\":
                    raise ValueError(f"invalid escape {char + escaped!r}")
                pieces[-1].append(escaped)
            else:
                pieces[-1].append(char)
        return cls(tuple(tuple(piece) for piece in pieces))

    def trim_start(self, value: str, *, longest: bool) -> str:
        """``value`` without the shortest or longest part at its start that matches."""
        end = self._end(value, 0, longest=longest)
        return value if end is None else value[end:]

    def trim_end(self, value: str, *, longest: bool) -> str:
        """``value`` without the shortest or longest part at its end that matches."""
        mirror = Glob(tuple(piece[::-1] for piece in self.pieces[::-1]))
        return mirror.trim_start(value[::-1], longest=longest)[::-1]

    def replace(self, value: str, replacement: str, *, everywhere: bool) -> str:
        """``value`` with the first match, or all of them, replaced; matches are the leftmost and longest.

        An empty match right after another match does not count (Go's ``regexp`` has it so).
        """
        result: list[str] = []
        copied = position = 0
        last_end = -1
        while position <= len(value):
            start = _find(self.pieces[0], value, position)
            end = None if start is None else self._end(value, start, longest=True)
            if start is None or end is None:
                break
            if end > last_end:
                result += [value[copied:start], replacement]
                copied = last_end = end
                if not everywhere:
                    break
            position = end if end > start else end + 1
        return "".join(result) + value[copied:]

    def _end(self, value: str, start: int, *, longest: bool) -> int | None:
        """Where a match that begins at ``start`` ends; ``None`` if none does."""
        first, *rest = self.pieces
        if not _fits(first, value, start):
            return None
        position = start + len(first)
        for index, piece in enumerate(rest):
            # an early place for each piece leaves the most room; only the last one decides how long the match is
            search = _find_last if longest and index == len(rest) - 1 else _find
            found = search(piece, value, position)
            if found is None:
                return None
            position = found + len(piece)
        return position


def _fits(piece: _Piece, value: str, at: int) -> bool:
    return at + len(piece) <= len(value) and all(
        wanted is None or wanted == value[at + offset] for offset, wanted in enumerate(piece)
    )


def _find(piece: _Piece, value: str, start: int) -> int | None:
    if None not in piece:
        found = value.find("".join(filter(None, piece)), start)
        return None if found < 0 else found
    return next((at for at in range(start, len(value) - len(piece) + 1) if _fits(piece, value, at)), None)


def _find_last(piece: _Piece, value: str, start: int) -> int | None:
    if None not in piece:
        found = value.rfind("".join(filter(None, piece)), start)
        return None if found < 0 else found
    return next((at for at in range(len(value) - len(piece), start - 1, -1) if _fits(piece, value, at)), None)
