"""A layer is known to render to its archive exactly when it does."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextkernel.errors import InvalidArchive
from contextkernel.layer import tar
from contextkernel.layer.echo import Echo
from contextkernel.layer.index import sort_key
from contextkernel.layer.source import Source
from contextkernel.layer.tree import LayerTree
from contextkernel.layer.untar import read_layer
from contextkernel.model.layers import Entry

from .conftest import Archive

SECOND = 1_000_000_000
FILE = Entry(path="a/f", kind="file", size=5, mtime=3 * SECOND, mode=0o4755, uid=7, gid=8, xattrs={"user.a": b"1"})
LAYER = [
    Entry(path="a", kind="dir", mode=0o755),
    Entry(path="a", kind="opaque", mode=0),
    FILE,
    Entry(path="a/gone", kind="whiteout", mode=0),
    Entry(path="a/link", kind="symlink", mode=0o777, link="f"),
    Entry(path="a/null", kind="char", mode=0o666, major=1, minor=3),
    Entry(path="a/other", kind="hardlink", mode=0o4755, uid=7, gid=8, mtime=3 * SECOND, link="a/f"),
    Entry(path="a/" + "l" * 150, kind="file", size=0),
    Entry(path="ä", kind="fifo"),
]


def rendered(rows: Iterable[Entry], padding: bytes = b"") -> bytes:
    parts = []
    for row in rows:
        parts.append(tar.header(row))
        if row.kind == "file":
            content = b"x" * row.size
            filling = tar.padding(row.size)
            parts += [content, (padding + filling)[: len(filling)]]
    return b"".join(parts) + tar.END


def matches(data: bytes) -> bool:
    tree = LayerTree()
    source = Source(io.BytesIO(data).read)
    echo = Echo(source)
    for member in read_layer(source, tree, echo):
        if member.entry.kind == "file":
            size = sum(len(part) for _, part in member.content())
            tree.replace_content(member.entry.path, size, "0" * 64)
    entries = tree.entries()
    found = echo.matches(entries)
    assert not found or rendered(entries) == data  # in doubt the answer is no, never a wrong yes
    return found


def ordered(rows: Iterable[Entry]) -> list[Entry]:
    return sorted(rows, key=sort_key)


def test_what_we_render_ourselves_matches() -> None:
    assert matches(rendered(ordered(LAYER)))


def test_an_empty_layer_matches() -> None:
    assert matches(tar.END)


def changed(path: str, **fields: object) -> list[Entry]:
    return ordered(msgspec.structs.replace(row, **fields) if row.path == path else row for row in LAYER)


@pytest.mark.parametrize(
    "data",
    [
        rendered([Entry(path="b", kind="file"), Entry(path="a", kind="file")]),
        rendered(ordered(LAYER)[1:]),
        rendered(ordered(LAYER), padding=b"x"),
        rendered(ordered(LAYER)) + bytes(512),
        rendered(ordered(LAYER))[:-512],
        rendered(ordered(LAYER)) + b"x",
        rendered(changed("a/other", uid=9)),
        rendered([Entry(path="d", kind="dir"), Entry(path="d", kind="dir")]),
        rendered([Entry(path="a", kind="whiteout", mode=0), Entry(path="a", kind="dir")]),
        rendered([Entry(path=".wh..wh.plnk", kind="dir"), Entry(path="a", kind="dir")]),
        rendered([Entry(path="a", kind="dir"), Entry(path="b", kind="symlink", mode=0o777, link="a"),
                  Entry(path="b/c", kind="file")]),
    ],
    ids=["order", "a directory that is missing", "padding", "longer end", "shorter end", "something after the end",
         "a hard link that says otherwise", "twice", "hidden and there", "bookkeeping", "through a link"],
)  # fmt: skip
def test_whatever_would_be_rendered_otherwise_does_not_match(data: bytes) -> None:
    assert not matches(data)


@pytest.mark.parametrize("fmt", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_other_writers_do_not_match(fmt: int) -> None:
    assert not matches(Archive(fmt).dir("a").add("a/f", data=b"1", uname="root").bytes())


def test_a_further_name_of_a_further_name_does_not_match() -> None:
    rows = [Entry(path="a", kind="file"), Entry(path="b", kind="hardlink", link="a")]
    assert matches(rendered([*rows, Entry(path="c", kind="hardlink", link="a")]))
    assert not matches(rendered([*rows, Entry(path="c", kind="hardlink", link="b")]))


ROWS = st.lists(
    st.builds(
        Entry,
        path=st.sampled_from(["a", "a/b", "a/b/c", "b", "c", "c/.wh.d", "d"]),
        kind=st.sampled_from(["file", "dir", "symlink", "whiteout", "opaque", "hardlink"]),
        mode=st.sampled_from([0o644, 0o755]),
        size=st.sampled_from([0, 3]),
        link=st.sampled_from(["a", "b", "a/b"]),
    ),
    max_size=6,
)


@given(ROWS, st.booleans())
def test_never_a_wrong_yes(rows: list[Entry], sort: bool) -> None:
    rows = [row if row.kind != "opaque" else Entry(path=row.path, kind="opaque", mode=0) for row in rows]
    with suppress(InvalidArchive):
        matches(rendered(ordered(rows) if sort else rows))
