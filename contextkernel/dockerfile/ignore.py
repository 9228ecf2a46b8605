"""``.dockerignore`` and Go's ``filepath.Match``, as moby/patternmatcher and BuildKit's context walker have them.

Patterns are anchored at the context's root; ``**`` is any depth, ``!`` takes back, the last match wins. A directory
that matches takes its content with it.
"""

from __future__ import annotations

import posixpath
import re
import string
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from contextkernel.dockerfile.automaton import ALL, DEEP, SHALLOW, Class, Element, full_matcher
from contextkernel.dockerfile.text import SPACE
from contextkernel.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: a literal character, ``?``, ``*``, or a class
_Token: TypeAlias = str | Class | None
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
#: letters that mean nothing behind a backslash in Go's regular expressions
_NO_ESCAPES = frozenset(string.ascii_letters) - frozenset("afnrtvAbBzdDsSwWpPxQEC")
_STAR = ""
_ANY = None


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
    return bool(_glob(pattern)(name))


@lru_cache(maxsize=64)  # one pattern is matched against many names
def _glob(pattern: str) -> Callable[[str], object]:
    return full_matcher([SHALLOW if token == _STAR else token for token in _tokens(pattern)])


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
        todo = []
        known: tuple[bool, tuple[bool, ...]] | None = None
        parent, _, name = path.rpartition("/")
        while parent and name:
            known = self._directories.get(parent)
            if known is not None:
                break
            todo.append(parent)
            parent, _, name = parent.rpartition("/")
        above = known[1] if known else ()
        for directory in reversed(todo):
            found = self._directories[directory] = self._match(directory, above)
            above = found[1]
        return self._match(path, above)

    def _match(self, path: str, above: tuple[bool, ...]) -> tuple[bool, tuple[bool, ...]]:
        """See :meth:`_look`; ``above``: the patterns that matched a parent."""
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


def _class(pattern: str, position: int) -> tuple[Class, int]:
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


def _matcher(pattern: str) -> Callable[[str], object]:
    """What decides whether a path matches a ``.dockerignore`` pattern (moby/patternmatcher, ``compile``).

    Docker makes a regular expression of it, which is stricter than ``filepath.Match``: what that cannot be is refused.
    """
    tokens = _tokens(pattern)
    for escaped in _ESCAPED.findall(pattern):
        if escaped in _NO_ESCAPES:
            raise _bad(pattern, f"there is no \\{escaped}, and names are divided by /")
    for token in tokens:
        if isinstance(token, tuple):
            for low, high in token[1]:
                if low > high:
                    raise _bad(pattern, f"the range {low}-{high} runs backwards")
    if all(isinstance(token, str) and token != _STAR for token in tokens) and "\\" not in pattern:
        return pattern.__eq__
    # "**" at the start followed by nothing special: the rest may come after anything, not only after a slash
    if pattern.startswith("**") and not pattern.startswith("**/"):
        tail = tokens[2:]
        if all(isinstance(token, str) and token != _STAR for token in tail) and "\\" not in pattern:
            suffix = pattern[2:]
            return lambda path: path.endswith(suffix)
    elements: list[Element] = []
    position = 0
    while position < len(tokens):
        element: Element = tokens[position]
        if element == _STAR:
            element = SHALLOW
            if tokens[position + 1 : position + 2] == [_STAR]:
                position += 1
                if tokens[position + 1 : position + 2] == ["/"]:
                    position += 1
                element = ALL if position + 1 == len(tokens) else DEEP
        elements.append(element)
        position += 1
    return full_matcher(elements)
