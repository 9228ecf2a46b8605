"""``.dockerignore`` patterns."""

from __future__ import annotations

import pytest

from contextkernel.dockerfile import IgnoreMatcher, match_glob, parse_ignore
from contextkernel.errors import InvalidInput


def test_file_is_read_as_docker_reads_it() -> None:
    text = b"\xef\xbb\xbf# comment\r\n  # not a comment\r\n\r\n /abs/./x/ \r\n! /keep\n../up\n/\n.\n#end"
    assert parse_ignore(text) == ("# not a comment", "abs/x", "!keep", "../up", "/", ".")
    assert parse_ignore("!") == ("!",)


@pytest.mark.parametrize(
    ("patterns", "path", "excluded"),
    [
        (["*.o"], "a.o", True),
        (["*.o"], "src/a.o", False),
        (["**/*.o"], "src/a.o", True),
        (["**/*.o"], "a.o", True),
        (["src"], "src/deep/file", True),
        (["src"], "srcs", False),
        (["src/**"], "src", False),
        (["src/**"], "src/a/b", True),
        (["a/**/z"], "a/z", True),
        (["a/**/z"], "a/b/c/z", True),
        (["a/**/z"], "a/bz", False),
        (["**"], "any/thing", True),
        (["**.md"], "doc/README.md", True),
        (["?x"], "ax", True),
        (["?x"], "/x", False),
        (["[a-c]x"], "bx", True),
        (["[^a-c]x"], "bx", False),
        (["[[]x"], "[x", True),
        (["\\*\\*x"], "**x", True),
        (["\\*\\*x"], "*x", False),
        (["a.b"], "axb", False),
        (["*", "!keep.txt"], "keep.txt", False),
        (["*", "!dir/keep.txt"], "dir/keep.txt", False),
        (["*", "!dir/keep.txt"], "dir/drop.txt", True),
        (["*", "!dir", "dir/x"], "dir/x", True),
        (["!a", "a"], "a", True),
        (["dir", "!dir/sub"], "dir/sub/file", False),
        ([".", "/"], "x", False),
        (["  spaced  "], "spaced", True),
        ([], "x", False),
        (["**"], ".", False),
        # the context walker does not try a pattern that cannot change the outcome, and remembers "no match"
        (["*/c", "!a"], "a/c", True),
    ],
)
def test_excludes(patterns: list[str], path: str, excluded: bool) -> None:
    assert IgnoreMatcher(patterns).excludes(path) is excluded


def test_pruning_looks_at_exceptions_only() -> None:
    matcher = IgnoreMatcher(["*", "!a/b/*"])
    assert matcher.may_contain_exceptions("a")
    assert matcher.may_contain_exceptions("a/b")
    assert not matcher.may_contain_exceptions("b")
    assert not IgnoreMatcher(["*"]).may_contain_exceptions("a")
    assert IgnoreMatcher(["*", "!**/x"]).may_contain_exceptions("anything")
    assert matcher
    assert not IgnoreMatcher(["", " "])


@pytest.mark.parametrize("pattern", ["[", "[a", "[a-]", "[]a]", "[^", "a\\", "[-x]", "!", "[\\"])
def test_malformed_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        IgnoreMatcher([pattern])
    assert pattern in caught.value.problem.replace("\\\\", "\\")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*.c", "hello.c", True),
        ("*.c", "src/hello.c", False),
        ("src/*", "src/hello.c", True),
        ("a*b*c", "a1b2c", True),
        ("a?c", "a/c", False),
        ("a[^x]c", "a/c", True),
        ("a[z-a]c", "abc", False),
        ("a[^z-a]c", "abc", True),
        ("\\[x]", "[x]", True),
        ("**", "a", True),
        ("", "", True),
        ("é?", "éü", True),
        ("a", "a\n", False),
    ],
)
def test_match_glob(pattern: str, name: str, matches: bool) -> None:
    assert match_glob(pattern, name) is matches


def test_runs_of_wildcards_do_not_explode() -> None:
    assert not IgnoreMatcher(["**/" * 30 + "x"]).excludes("a/" * 200 + "y")
    assert not match_glob("*" * 50 + "x", "a" * 5000)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("[z-a]x", "the range z-a runs backwards"),
        ("src\\main", r"there is no \m, and names are divided by /"),
        ("a\\\\\\Mb", r"there is no \M, and names are divided by /"),
        ("a[", "a character class is not complete"),
        ("!a[", "a character class is not complete"),
    ],
)
def test_what_docker_cannot_make_sense_of_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        IgnoreMatcher([pattern])
    assert caught.value.problem.endswith(why)


def test_go_s_match_has_ranges_that_match_nothing() -> None:
    assert not match_glob("[z-a]", "b")
    assert match_glob("a\\mb", "amb")
