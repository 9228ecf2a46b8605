"""What of a merged view is needed to look at some paths in it."""

from __future__ import annotations

import pytest

from contextkernel.layer.reach import needed
from contextkernel.model.layers import Entry

ROWS = {
    entry.path: entry
    for entry in (
        Entry(path=".", kind="dir"),
        Entry(path="a", kind="dir"),
        Entry(path="a/b", kind="dir"),
        Entry(path="a/b/file", kind="file"),
        Entry(path="a/link", kind="symlink", link="b"),
        Entry(path="ab", kind="file"),
        Entry(path="loop", kind="symlink", link="loop"),
        Entry(path="other", kind="file"),
        Entry(path="root", kind="symlink", link="/a/link/file"),
    )
}


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["/a/b"], {".", "a", "a/b", "a/b/file"}),
        (["a/link"], {".", "a", "a/link", "a/b", "a/b/file"}),
        (["/root"], {".", "root", "a", "a/link", "a/b", "a/b/file"}),
        (["other", "ab"], {".", "other", "ab"}),
        (["/a/nothing/more"], {".", "a"}),
        (["../../ab"], {".", "ab"}),
        (["loop"], {".", "loop"}),
        ([], {"."}),
        (["/"], set(ROWS)),
    ],
)
def test_needed(paths: list[str], found: set[str]) -> None:
    assert needed(ROWS, paths) == found
