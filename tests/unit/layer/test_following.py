"""Where a path leads inside of a root."""

from __future__ import annotations

import pytest

from contextkernel.layer.following import MAX_LINKS, follow

LINKS = {
    "link": "a/b",
    "rooted": "/a/link",
    "a/link": "../c",
    "a/up": "../../../../d",
    "dots": "./a//./b/",
    "to-root": "/",
    ".hidden": "x",
}


class Endless(Exception):
    pass


@pytest.mark.parametrize(
    ("path", "leads"),
    [
        ("a/b", "a/b"),
        ("/a//b/.", "a/b"),
        ("", "."),
        ("..", "."),
        ("../../a/../b", "b"),
        ("link/c", "a/b/c"),
        ("rooted", "c"),
        ("a/up/e", "d/e"),
        ("dots", "a/b"),
        ("to-root", "."),
        ("a/b/../../to-root/a/link/e", "c/e"),
        (".hidden", "x"),
        ("a/.hidden", "a/.hidden"),
    ],
)
def test_links_are_followed_inside_of_the_root(path: str, leads: str) -> None:
    assert follow(path, LINKS.get, Endless) == leads


@pytest.mark.parametrize("count", [MAX_LINKS, MAX_LINKS + 1])
def test_as_many_links_as_the_kernel_follows(count: int) -> None:
    chain = {str(number): str(number + 1) for number in range(count)}
    if count > MAX_LINKS:
        with pytest.raises(Endless):
            follow("0", chain.get, Endless)
    else:
        assert follow("0", chain.get, Endless) == str(count)


def test_what_link_at_raises_ends_the_search() -> None:
    asked = []

    def link_at(path: str) -> str | None:
        asked.append(path)
        if path == "a/b":
            raise FileNotFoundError(path)
        return None

    with pytest.raises(FileNotFoundError):
        follow("a/b/c", link_at, Endless)
    assert asked == ["a", "a/b"]
