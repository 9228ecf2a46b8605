"""Matching of file patterns in linear time.

A pattern is a sequence of elements. One with few wildcards becomes a regular expression, which is quickest. With more
of them a backtracking regular expression would try combinations for hours (``*a*a*a*a*a*b``), and patterns come from
untrusted files, so those run as an automaton that holds all its states in the bits of one number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

#: a character class: negated, and its ranges
Class: TypeAlias = tuple[bool, tuple[tuple[str, str], ...]]
#: a literal character, ``None`` for any but ``/``, a class, or one of the names below
Element: TypeAlias = str | Class | None

SHALLOW = "[^/]*"
"""Any text without a slash."""
DEEP = "(?:(?s:.*)/)?"
"""Nothing, or any text that ends in a slash."""
ALL = "(?s:.*)"
"""Any text."""

_WILD = frozenset({SHALLOW, DEEP, ALL})
_FEW = 2
_KNOWN_CHARACTERS = 4096


def full_matcher(elements: Sequence[Element]) -> Callable[[str], object]:
    """What says, by a true value, whether a whole text matches.

    Args:
        elements: the pattern.
    """
    kept: list[Element] = []
    for element in elements:
        # twice in a row they match nothing more
        if element not in _WILD or kept[-1:] != [element]:
            kept.append(element)
    if sum(element in _WILD for element in kept) <= _FEW:
        return re.compile("".join(map(_expression, kept))).fullmatch
    return _Automaton(kept).matches


def _expression(element: Element) -> str:
    """An element as a regular expression."""
    if element is None:
        return "[^/]"
    if isinstance(element, str):
        return element if element in _WILD else re.escape(element)
    negated, ranges = element
    # a range that runs backwards is legal and matches nothing
    inner = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in ranges if low <= high)
    if not inner:
        return "(?s:.)" if negated else "(?!)"
    return f"[{'^' if negated else ''}{inner}]"


class _Automaton:
    """States are numbered; bit ``n`` of a number says that the automaton may be in state ``n``.

    A single character leads from one state to the next. A wildcard stays in its state; ``DEEP`` has a state of its own
    for the text, which only a slash leaves.
    """

    def __init__(self, elements: Sequence[Element]) -> None:
        self._steps: list[tuple[int, Element]] = []
        self._any = self._shallow = self._one = self._two = 0
        self._known: dict[str, int] = {}
        state = 0
        for element in elements:
            if element == SHALLOW:
                self._shallow |= 1 << state
            elif element == ALL:
                self._any |= 1 << state
            elif element == DEEP:
                self._one |= 1 << state
                self._two |= 1 << state
                self._any |= 1 << (state + 1)
                self._steps.append((1 << (state + 2), "/"))
                state += 2
            else:
                self._steps.append((1 << (state + 1), element))
                state += 1
        self._end = 1 << state

    def matches(self, text: str) -> bool:
        """Whether the whole of ``text`` matches."""
        states = self._skip(1)
        for char in text:
            reached = self._known.get(char)
            if reached is None:
                reached = self._reach(char)
            stays = states & self._any if char == "/" else states & (self._any | self._shallow)
            states = self._skip((states << 1) & reached | stays)
            if not states:
                return False
        return bool(states & self._end)

    def _skip(self, states: int) -> int:
        """With the states that are reached without a character."""
        while True:
            more = states | (states & self._one) << 1 | (states & self._two) << 2
            if more == states:
                return states
            states = more

    def _reach(self, char: str) -> int:
        """The states that ``char`` leads to."""
        found = 0
        for state, element in self._steps:
            if _accepts(element, char):
                found |= state
        if len(self._known) < _KNOWN_CHARACTERS:
            self._known[char] = found
        return found


def _accepts(element: Element, char: str) -> bool:
    if element is None:
        return char != "/"
    if isinstance(element, str):
        return element == char
    negated, ranges = element
    return any(low <= char <= high for low, high in ranges) != negated
