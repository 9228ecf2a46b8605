"""``.dockerignore`` and Go's ``filepath.Match``, as moby/patternmatcher and BuildKit's context walker have them.

Patterns are anchored at the context's root; ``**`` is any depth, ``!`` takes back, the last match wins. A directory
that matches takes its content with it.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, TypeAlias

from contextkernel.dockerfile.text import SPACE
from contextkernel.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: a literal character, ``?``, ``*``, or a class: negated, and its ranges
_Class: TypeAlias = tuple[bool, tuple[tuple[str, str], ...]]
_Token: TypeAlias = str | _Class | None
_STAR = ""
_ANY = None
_SHALLOW = "[^/]*"
_DEEP = "(?:(?s:.*)/)?"


def parse_ignore(text: str | bytes) -> tuple[str, ...]:
    """The patterns of a ``.dockerignore`` file, cleaned.

    Args:
        text: its content; bytes are UTF-8, with or without a byte order mark.

    Returns:
        Patterns in order, relative to the context, ``!`` in front of those that take back.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    patterns: list[str] = []
    for line in text.removeprefix("\ufeff").split("\n"):
        if line.startswith("#"):
            continue
        pattern = line.strip(SPACE)
        if not pattern:
            continue
        mark = "!" if pattern.startswith("!") else ""
        pattern = pattern.removeprefix("!").strip(SPACE)
        if pattern:
            pattern = _clean(pattern)
            if len(pattern) > 1:
                pattern = pattern.removeprefix("/")
        patterns.append(mark + pattern)
    return tuple(patterns)


def match_glob(pattern: str, name: str) -> bool:
    r"""Go's ``filepath.Match``: ``*`` and ``?`` stop at ``/``; ``[a-z]``, ``[^a-z]``; ``\`` escapes.

    Args:
        pattern: must match the whole name.
        name: a path.

    Raises:
        InvalidInput: for a malformed pattern.
    """
    return _compile_tokens(_tokens(pattern)).fullmatch(name) is not None


class IgnoreMatcher:
    """Says which paths of a context are left out.

    Args:
        patterns: from :func:`parse_ignore`, or the ``--exclude`` flags of COPY.

    Raises:
        InvalidInput: for a malformed pattern.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns: list[tuple[bool, Callable[[str], object]]] = []
        exceptions: list[str] = []
        for given in patterns:
            pattern = given.strip(SPACE)
            if not pattern:
                continue
            pattern = _clean(pattern)
            exception = pattern.startswith("!")
            if exception:
                pattern = pattern[1:]
                if not pattern:
                    raise InvalidInput("invalid ignore pattern '!'", hint="write !path to take a path back in")
                exceptions.append(pattern)
            self._patterns.append((exception, _matcher(pattern)))
        self._prefixes: list[str] | None = []
        for pattern in exceptions:
            bare = pattern.removesuffix("/**").removesuffix("/*")
            if any(char in bare for char in "*[]?^\\"):
                # an exception with wildcards may lie anywhere
                self._prefixes = None
                break
            self._prefixes.append(bare + "/")
        self._directories: dict[str, tuple[bool, tuple[bool, ...]]] = {}

    def __bool__(self) -> bool:
        """Whether there is any pattern."""
        return bool(self._patterns)

    def excludes(self, path: str) -> bool:
        """Whether ``path`` (relative, with ``/``) is left out, by itself or by one of its parents."""
        path = _clean(path)
        return path != "." and self._look(path)[0]

    def may_contain_exceptions(self, directory: str) -> bool:
        """Whether an excluded directory has to be entered, because a ``!`` pattern may take back something inside."""
        if self._prefixes is None:
            return True
        inside = _clean(directory) + "/"
        return any(prefix.startswith(inside) for prefix in self._prefixes)

    def _look(self, path: str) -> tuple[bool, tuple[bool, ...]]:
        """Excluded or not, and which patterns matched the path or a parent of it."""
        parent, _, name = path.rpartition("/")
        above: tuple[bool, ...] = ()
        if parent and name:
            known = self._directories.get(parent)
            if known is None:
                known = self._directories[parent] = self._look(parent)
            above = known[1]
        excluded = False
        hits: list[bool] = []
        for index, (exception, matches) in enumerate(self._patterns):
            hit = bool(above) and above[index]
            # a pattern that could not change the outcome is not tried, and then counts as no match further down
            if not hit and exception == excluded:
                hit = bool(matches(path))
            hits.append(hit)
            if hit:
                excluded = not exception
        return excluded, tuple(hits)


def _clean(path: str) -> str:
    """Go's ``filepath.Clean``: like normpath, but two leading slashes become one."""
    clean = posixpath.normpath(path)
    return clean[1:] if clean.startswith("//") else clean


def _bad(pattern: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"invalid pattern {pattern!r}: {why}", hint="escape [ ] * ? and \\ with a backslash to mean them"
    )


def _tokens(pattern: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*":
            tokens.append(_STAR)
        elif char == "?":
            tokens.append(_ANY)
        elif char == "[":
            token, position = _class(pattern, position)
            tokens.append(token)
        elif char == "\\":
            if position == len(pattern):
                raise _bad(pattern, "nothing follows the backslash")
            tokens.append(pattern[position])
            position += 1
        else:
            tokens.append(char)
    return tokens


def _class(pattern: str, position: int) -> tuple[_Class, int]:
    """A class from behind its ``[``, and the position behind its ``]``."""

    def bound(position: int) -> tuple[str, int]:
        char = pattern[position : position + 1]
        if not char or char in "-]":
            raise _bad(pattern, "a character class is not complete")
        if char == "\\":
            position += 1
            char = pattern[position : position + 1]
        if not char or position + 1 >= len(pattern):
            raise _bad(pattern, "a character class is not closed")
        return char, position + 1

    negated = pattern[position : position + 1] == "^"
    position += negated
    ranges: list[tuple[str, str]] = []
    while not (pattern[position : position + 1] == "]" and ranges):
        low, position = bound(position)
        high = low
        if pattern[position : position + 1] == "-":
            high, position = bound(position + 1)
        ranges.append((low, high))
    return (negated, tuple(ranges)), position + 1


def _expression(token: _Token) -> str:
    """A token, but for stars, as a regular expression."""
    if token is _ANY:
        return "[^/]"
    if isinstance(token, str):
        return re.escape(token)
    negated, ranges = token
    # a range that runs backwards is legal and matches nothing
    inner = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges if low <= high)
    if not inner:
        return "(?s:.)" if negated else "(?!)"
    return f"[{'^' if negated else ''}{inner}]"


def _compile_tokens(tokens: list[_Token]) -> re.Pattern[str]:
    parts: list[str] = []
    for token in tokens:
        part = _SHALLOW if token == _STAR else _expression(token)
        if part != _SHALLOW or parts[-1:] != [part]:
            parts.append(part)
    return re.compile("".join(parts))


def _matcher(pattern: str) -> Callable[[str], object]:
    """What decides whether a path matches a ``.dockerignore`` pattern (moby/patternmatcher, ``compile``)."""
    tokens = _tokens(pattern)
    if all(isinstance(token, str) and token != _STAR for token in tokens) and "\\" not in pattern:
        return pattern.__eq__
    # "**" at the start followed by nothing special: the rest may come after anything, not only after a slash
    if pattern.startswith("**") and not pattern.startswith("**/"):
        tail = tokens[2:]
        if all(isinstance(token, str) and token != _STAR for token in tail) and "\\" not in pattern:
            suffix = pattern[2:]
            return lambda path: path.endswith(suffix)
    parts: list[str] = []
    position = 0
    while position < len(tokens):
        if tokens[position] != _STAR:
            part = _expression(tokens[position])
        elif tokens[position + 1 : position + 2] == [_STAR]:
            position += 1
            if tokens[position + 1 : position + 2] == ["/"]:
                position += 1
            part = "(?s:.*)" if position + 1 == len(tokens) else _DEEP
        else:
            part = _SHALLOW
        # twice in a row they match nothing more, but would cost a lot
        if part not in (_DEEP, _SHALLOW) or parts[-1:] != [part]:
            parts.append(part)
        position += 1
    return re.compile("".join(parts)).fullmatch
