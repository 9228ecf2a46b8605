from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextkernel.layer import tar
from contextkernel.layer.index import sort_key
from contextkernel.model.layers import Entry
from tests.unit.layer.conftest import read

_DATA = b"content\n"


def render(entries: list[Entry]) -> bytes:
    out = []
    for entry in entries:
        out.append(tar.header(entry))
        if entry.kind == "file":
            out.append((_DATA * (entry.size // len(_DATA) + 1))[: entry.size] + tar.padding(entry.size))
    return b"".join(out) + tar.END


def opened(entries: list[Entry]) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(render(entries)), mode="r:", errors="surrogateescape")


def test_an_empty_layer_has_the_digest_that_everybody_knows() -> None:
    assert hashlib.sha256(render([])).hexdigest() == "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"


def test_a_plain_entry_is_one_ustar_block_with_empty_names_of_owners() -> None:
    block = tar.header(Entry(path="etc/motd", kind="file", mode=0o644, size=8, mtime=1_700_000_000_999_999_999))
    assert len(block) == 512
    assert block.startswith(b"etc/motd\0")
    assert block[100:108] == b"0000644\0"
    assert block[136:148] == b"%011o\0" % 1_700_000_000  # cut, not rounded
    assert block[257:265] == b"ustar\00000"
    assert block[265:329] == bytes(64)


def test_bytes_do_not_change_between_versions_of_this_package() -> None:
    rows = [
        Entry(path="d", kind="dir", mode=0o1777, uid=33, gid=34, mtime=10**18),
        Entry(path="d", kind="opaque", mode=0),
        Entry(path="d/" + "n" * 150, kind="file", size=3, xattrs={"user.a": b"\0\xff", "security.capability": b"x"}),
        Entry(path="d/gone", kind="whiteout", mode=0),
        Entry(path="d/l", kind="symlink", mode=0o777, link="ü"),
        Entry(path="d/tty", kind="char", major=5, minor=1),
        Entry(path="d/z", kind="hardlink", link="d/" + "n" * 150),
    ]
    assert (
        hashlib.sha256(render(rows)).hexdigest() == "b3f65056049a03ccc89e51dc03a3acfe78cbb11459225f1992eacc19afb21fd3"
    )


@pytest.mark.parametrize(
    "entry",
    [
        Entry(path="n" * 101, kind="file"),
        Entry(path="/".join(["directory"] * 20), kind="dir"),
        Entry(path="ümlaut", kind="file"),
        Entry(path="l", kind="symlink", link="t" * 200),
        Entry(path="big", kind="file", size=1, uid=2**32 - 2, gid=2**22),
        Entry(path="x", kind="file", xattrs={"user.ä": b"\0=\n1 2", "user.b": b""}),
        Entry(path=b"\xff\xfe".decode("utf-8", "surrogateescape"), kind="file"),
        Entry(path="sock", kind="fifo", mode=0o600),
        Entry(path="sda", kind="block", major=8, minor=1),
        Entry(path="future", kind="file", mtime=9_000_000_000 * 10**9),
    ],
)
def test_python_reads_what_we_write(entry: Entry) -> None:
    (member,) = opened([entry]).getmembers()
    assert member.name == entry.path
    assert (member.uid, member.gid, member.mode) == (entry.uid, entry.gid, entry.mode)
    assert member.linkname == entry.link
    assert member.mtime == entry.mtime // 10**9
    found = {key: value for key, value in member.pax_headers.items() if key.startswith("SCHILY")}
    assert {k[13:]: v.encode("utf-8", "surrogateescape") for k, v in found.items()} == entry.xattrs


def test_a_size_beyond_eight_gib_goes_into_a_pax_header() -> None:
    blocks = tar.header(Entry(path="huge", kind="file", size=8 * 1024**3))
    assert len(blocks) == 3 * 512
    assert b" size=8589934592\n" in blocks
    assert len(tar.header(Entry(path="huge", kind="file", size=8 * 1024**3 - 1))) == 512


def test_a_pax_record_counts_its_own_digits_at_every_length() -> None:
    for count in range(1, 1100):
        blocks = tar.header(Entry(path="x", kind="file", xattrs={"u": b"v" * count}))
        record = blocks[512 : 512 + int(blocks[124:136].rstrip(b"\0"), 8)]
        assert int(record.split(b" ")[0]) == len(record)


def test_a_long_name_that_ustar_can_split_needs_no_pax_header() -> None:
    entry = Entry(path="p" * 90 + "/" + "n" * 90, kind="file")
    assert len(tar.header(entry)) == 512
    assert opened([entry]).getnames() == [entry.path]


name = (
    st.binary(min_size=1, max_size=60)
    .map(lambda data: data.replace(b"/", b"_").replace(b"\0", b"0").decode("utf-8", "surrogateescape"))
    .filter(lambda text: text not in {".", ".."} and not text.startswith(".wh."))
)
row = st.one_of(
    st.builds(
        Entry,
        path=name,
        kind=st.just("file"),
        mode=st.integers(0, 0o7777),
        uid=st.integers(0, 2**32 - 2),
        gid=st.integers(0, 2**32 - 2),
        size=st.integers(0, 2000),
        mtime=st.integers(0, 2**33).map(lambda seconds: seconds * 10**9),
        xattrs=st.dictionaries(st.sampled_from(["user.a", "user.ü", "security.capability"]), st.binary(max_size=600)),
    ),
    st.builds(Entry, path=name, kind=st.just("symlink"), mode=st.just(0o777), link=name),
    st.builds(Entry, path=name, kind=st.just("dir"), mode=st.integers(0, 0o7777)),
    st.builds(Entry, path=name, kind=st.just("whiteout"), mode=st.just(0)),
)


@settings(database=None)
@given(st.lists(row, max_size=6, unique_by=lambda entry: entry.path))
def test_reading_what_we_render_gives_the_same_rows_and_the_same_bytes_again(rows: list[Entry]) -> None:
    rows.sort(key=sort_key)
    data = render(rows)
    again = read(data).entries()
    wanted = [
        Entry(path=one.path, kind=one.kind, mode=one.mode, uid=one.uid, gid=one.gid, size=one.size, mtime=one.mtime,
              link=one.link, xattrs=dict(sorted(one.xattrs.items())),
              digest=hashlib.sha256((_DATA * 300)[: one.size]).hexdigest() if one.kind == "file" else "")
        for one in rows
    ]  # fmt: skip
    assert again == wanted
    assert render(again) == data
