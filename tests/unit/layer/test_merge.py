from __future__ import annotations

import pytest

from contextkernel.errors import InvalidInput
from contextkernel.layer.efficiency import measure
from contextkernel.layer.merge import below, merge, resolve
from contextkernel.model.layers import Entry


def f(path: str, size: int = 1, **fields: object) -> Entry:
    return Entry(path=path, kind="file", size=size, digest=f"{path}-{size}", **fields)  # type: ignore[arg-type]


def d(path: str, mode: int = 0o755) -> Entry:
    return Entry(path=path, kind="dir", mode=mode)


def gone(path: str) -> Entry:
    return Entry(path=path, kind="whiteout")


def link(path: str, target: str) -> Entry:
    return Entry(path=path, kind="symlink", link=target)


def test_later_layers_add_replace_and_remove() -> None:
    merged = merge([[d("a"), f("a/1"), f("a/2"), f("b")], [d("a", 0o700), f("a/2", 5), gone("b"), f("c")]])
    assert list(merged) == [".", "a", "a/1", "a/2", "c"]
    assert (merged["a"].mode, merged["a/2"].size) == (0o700, 5)


def test_a_whiteout_removes_a_whole_tree() -> None:
    assert list(merge([[d("a"), d("a/b"), f("a/b/c")], [gone("a")]])) == ["."]


def test_an_opaque_directory_hides_what_is_below_but_not_its_own() -> None:
    merged = merge([[d("a"), f("a/old")], [f("a/new"), d("a"), Entry(path="a", kind="opaque")]])
    assert list(merged) == [".", "a", "a/new"]


def test_a_whiteout_does_not_hide_what_its_own_layer_adds() -> None:
    assert list(merge([[f("a")], [f("a", 9), gone("a")]])) == [".", "a"]


def test_a_file_replaces_a_directory_and_a_directory_a_file() -> None:
    merged = merge([[d("a"), f("a/x"), f("b")], [f("a"), d("b"), f("b/y")]])
    assert [(path, entry.kind) for path, entry in merged.items()] == [
        (".", "dir"), ("a", "file"), ("b", "dir"), ("b/y", "file"),
    ]  # fmt: skip


def test_a_directory_replaced_and_made_again_is_empty() -> None:
    assert list(merge([[d("a"), f("a/x")], [gone("a")], [d("a")]])) == [".", "a"]


def test_order_is_by_bytes_and_depth_first() -> None:
    assert list(merge([[f("b"), d("a"), f("a/z"), f("a.c"), f("ä")]])) == [".", "a", "a/z", "a.c", "b", "ä"]


def test_a_hard_link_whose_file_is_replaced_becomes_the_file() -> None:
    hard = Entry(path="b", kind="hardlink", link="a")
    merged = merge([[f("a", 7), hard, Entry(path="c", kind="hardlink", link="a")], [f("a", 1)]])
    assert [(e.path, e.kind, e.size, e.link) for e in merged.values()][1:] == [
        ("a", "file", 1, ""), ("b", "file", 7, ""), ("c", "hardlink", 0, "b"),
    ]  # fmt: skip


def test_directories_that_no_index_has_are_implied() -> None:
    assert merge([[f("x/y")]])["x"] == Entry(path="x", kind="dir", mode=0o755)


def test_links_are_followed_inside_of_the_root() -> None:
    merged = merge([[d("usr"), d("usr/lib"), f("usr/lib/so"), link("lib", "/usr/lib"), link("up", "../../usr")]])
    assert resolve(merged, "lib/so") == "usr/lib/so"
    assert resolve(merged, "up/lib") == "usr/lib"
    assert resolve(merged, "/../lib/../lib/so") == "usr/lib/so"
    assert resolve(merged, "lib/none") is None


def test_links_in_a_circle_are_an_error() -> None:
    with pytest.raises(InvalidInput, match="too many"):
        resolve(merge([[link("a", "b"), link("b", "a")]]), "a")


def test_below_gives_a_subtree() -> None:
    merged = merge([[d("a"), f("a/x"), f("ab")]])
    assert [entry.path for entry in below(merged, "a")] == ["a", "a/x"]


def test_an_image_without_waste_is_fully_efficient() -> None:
    result = measure([[d("a"), f("a/x", 10)], [f("y", 5)]])
    assert (result.score, result.wasted_bytes, result.paths) == (1.0, 0, ())


def test_an_empty_image_is_fully_efficient() -> None:
    assert measure([]).score == 1.0


def test_a_file_written_twice_is_waste() -> None:
    result = measure([[f("x", 10)], [f("x", 30)], [f("y", 10)]])
    assert result.score == pytest.approx(20 / 50)
    assert [(one.path, one.times, one.size, one.smallest) for one in result.paths] == [("x", 2, 40, 10)]


def test_a_whiteout_counts_what_it_hides() -> None:
    result = measure([[d("a"), f("a/x", 10), f("a/y", 20)], [gone("a")]])
    # dive: the removed path itself is seen once, with the size of its tree; the files stay seen once
    assert result.score == 1.0
    removed = measure([[f("x", 10)], [gone("x")]])
    assert (removed.wasted_bytes, removed.paths[0].times) == (20, 2)
