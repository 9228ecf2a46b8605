"""Patterns with many wildcards: the automaton says what the regular expression says, and does not explode."""

from __future__ import annotations

import re

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from contextkernel.dockerfile import IgnoreMatcher, match_glob
from contextkernel.dockerfile.automaton import ALL, DEEP, SHALLOW, _Automaton, _expression, full_matcher

elements = st.sampled_from(
    [
        SHALLOW,
        DEEP,
        ALL,
        "a",
        "b",
        "/",
        ".",
        None,
        (False, (("a", "b"),)),
        (True, (("a", "a"),)),
        (True, ()),
        (False, ()),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(elements, max_size=7), st.text("ab/.\n", max_size=8))
def test_the_automaton_agrees_with_the_regular_expression(pattern: list, text: str) -> None:
    expected = re.fullmatch("".join(map(_expression, pattern)), text) is not None
    assert _Automaton(pattern).matches(text) == expected
    assert bool(full_matcher(pattern)(text)) == expected


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("*a" * 12 + "b", "a" * 200),
        ("**/" * 8 + "b", "a/" * 100 + "c"),
        ("*a*a*a*a*a*a*a*a", "a" * 200 + "b"),
        ("**/*a**/*a**/*a**/*a**/*ac", "a/" * 100 + "b"),
        ("?*[^b]*[^b]*[^b]*[^b]*[^b]*[^b]*z", "c" * 200),
    ],
)
def test_hard_patterns_end(pattern: str, near: str) -> None:
    assert not IgnoreMatcher([pattern]).excludes(near)
    assert match_glob(pattern, "") is False


def test_many_characters_are_not_remembered_for_ever() -> None:
    automaton = _Automaton([SHALLOW, "a", SHALLOW, "b", SHALLOW])
    assert automaton.matches("a" + "".join(map(chr, range(0x4E00, 0x8000))) + "b")
    assert len(automaton._known) == 4096


def test_deep_paths_do_not_recurse() -> None:
    matcher = IgnoreMatcher(["a/" * 1999 + "b"])
    assert matcher.excludes("a/" * 1999 + "b/c")
    assert not matcher.excludes("a/" * 1999 + "c")
