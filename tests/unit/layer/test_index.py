from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextkernel.errors import StoreProblem, StoreTooNew
from contextkernel.layer.index import layer_size, links_resolved, pack_index, sort_key, unpack_index
from contextkernel.model.layers import Entry

names = st.binary(min_size=1, max_size=20).map(lambda data: data.replace(b"/", b"_").decode("utf-8", "surrogateescape"))
entries = st.builds(
    Entry,
    path=st.lists(names, min_size=1, max_size=4).map("/".join),
    kind=st.sampled_from(["file", "dir", "symlink", "whiteout", "opaque"]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 1),
    size=st.integers(0, 2**63 - 1),
    mtime=st.integers(0, 2**62),
    link=names,
    xattrs=st.dictionaries(names, st.binary(max_size=30), max_size=2),
)


@settings(database=None)
@given(st.lists(entries, max_size=5))
def test_what_is_packed_is_unpacked(rows: list[Entry]) -> None:
    assert unpack_index(pack_index(rows)) == rows


def test_an_index_with_plain_names_is_plain_utf8() -> None:
    assert "straße".encode() in pack_index([Entry(path="straße", kind="file")])


def test_names_that_are_not_utf8_survive() -> None:
    row = Entry(path=b"a/\xff\xfe".decode("utf-8", "surrogateescape"), kind="symlink", link="\udc80ü")
    assert unpack_index(pack_index([row])) == [row]


def test_an_index_of_a_newer_version_is_refused_as_such() -> None:
    data = msgspec.msgpack.encode(["contextkernel/layer-index", 99, "utf-8", {"anything": 1}])
    with pytest.raises(StoreTooNew, match="version 99"):
        unpack_index(data)


@pytest.mark.parametrize("data", [b"", b"garbage", pack_index([Entry(path="a", kind="file")])[:-3], b"\xc0"])
def test_a_damaged_index_is_refused(data: bytes) -> None:
    with pytest.raises(StoreProblem):
        unpack_index(data)


def test_something_else_is_not_an_index() -> None:
    with pytest.raises(StoreProblem, match="not a layer index"):
        unpack_index(msgspec.msgpack.encode(["something", 1, "utf-8", []]))


def test_order_is_depth_first_with_the_root_first_and_marks_around_their_directory() -> None:
    rows = [
        Entry(path="a.b", kind="file"),
        Entry(path="a/c", kind="file"),
        Entry(path="a", kind="opaque"),
        Entry(path="a", kind="dir"),
        Entry(path="a-", kind="file"),
        Entry(path=".", kind="dir"),
    ]
    assert [(row.path, row.kind) for row in sorted(rows, key=sort_key)] == [
        (".", "dir"),
        ("a", "dir"),
        ("a", "opaque"),
        ("a/c", "file"),
        ("a-", "file"),
        ("a.b", "file"),
    ]


def test_size_counts_contents_and_link_targets_and_hard_links_once() -> None:
    rows = [
        Entry(path="a", kind="file", size=100),
        Entry(path="b", kind="hardlink", link="a"),
        Entry(path="c", kind="symlink", link="ä"),
        Entry(path="d", kind="dir"),
        Entry(path="e", kind="whiteout"),
    ]
    assert layer_size(rows) == 102


def test_hard_links_can_be_seen_as_the_files_they_are() -> None:
    rows = [Entry(path="a", kind="file", size=3, digest="d"), Entry(path="b", kind="hardlink", link="a")]
    assert list(links_resolved(rows))[1] == Entry(path="b", kind="file", size=3, digest="d")
