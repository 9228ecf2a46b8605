"""What COPY --parents and --exclude take of a directory."""

from __future__ import annotations

import pytest

from contextkernel.errors import InvalidInput
from contextkernel.layer.selection import Selection


@pytest.mark.parametrize(
    ("include", "exclude", "taken", "left"),
    [
        (None, (), ["", "a", "a/b"], []),
        (None, ("a",), ["", "b", "b/a"], ["a", "a/b"]),
        (None, ("**/a",), ["b"], ["a", "b/a", "b/c/a/d"]),
        (None, ("/a", "./b"), ["a", "c"], ["b"]),
        (None, ("*", "!a/b"), ["a/b", "a/b/c"], ["a", "a/c", "b"]),
        (None, ("!a",), ["a", "b"], []),
        ("a/b", (), ["", "a/b", "a/b/c"], ["a", "a/c", "b"]),
        ("**/*.c", (), ["x.c", "a/b/x.c"], ["a", "x.h"]),
        ("a", ("a/b",), ["a", "a/c"], ["a/b", "a/b/c", "b"]),
        # nothing but the source itself: what a lone dot comes to
        ("", (), [""], ["a", "a/b"]),
    ],
)
def test_taken(include: str | None, exclude: tuple[str, ...], taken: list[str], left: list[str]) -> None:
    selection = Selection(include, exclude)
    assert [path for path in taken if not selection.takes(path)] == []
    assert [path for path in left if selection.takes(path)] == []


def test_where_something_may_still_be_found() -> None:
    selection = Selection(None, ("a", "b", "!a/x/y"))
    assert selection.enters("a")
    assert selection.enters("a/x")
    assert not selection.enters("b")
    assert selection.enters("c")
    assert selection.enters("")


def test_whether_anything_is_left_out() -> None:
    assert not Selection(None, ())
    assert Selection("", ())
    assert Selection(None, ("a",))


def test_a_malformed_pattern() -> None:
    with pytest.raises(InvalidInput, match="not complete"):
        Selection(None, ("a[",))
