"""Plain headers are read as tarfile reads them, and everything else is left to it."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextkernel.layer.headers import Headers, PlainHeader, plain_header
from contextkernel.layer.source import Source

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=120)
OCTAL_7, OCTAL_11 = 0o7777777, 0o77777777777


def block(fmt: int = tarfile.USTAR_FORMAT, name: str = "a", kind: bytes = b"0", **fields: object) -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(fmt)


@given(
    name=NAMES,
    link=NAMES,
    kind=st.sampled_from([b"0", b"1", b"2", b"5"]),
    mode=st.integers(0, OCTAL_7),
    uid=st.integers(0, OCTAL_7),
    gid=st.integers(0, OCTAL_7),
    size=st.integers(0, OCTAL_11),
    mtime=st.integers(0, OCTAL_11),
    fmt=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_a_plain_header_says_what_tarfile_says(name: str, link: str, kind: bytes, fmt: int, **numbers: int) -> None:
    try:
        data = block(fmt, name, kind, linkname=link, **numbers)
    except ValueError:
        return  # too long for ustar
    found = plain_header(data[:512])
    if len(data) > 512:
        assert found is None  # records come first
        return
    assert found is not None
    theirs = tarfile.TarInfo.frombuf(data, "utf-8", "surrogateescape")
    assert (found.name, found.kind, found.mode, found.uid, found.gid, found.size, found.seconds) == (
        theirs.name,
        theirs.type,
        theirs.mode,
        theirs.uid,
        theirs.gid,
        theirs.size,
        theirs.mtime,
    )
    assert found.link == (theirs.linkname if kind in b"12" else "")


@given(st.integers(0, 511), st.integers(0, 255))
def test_a_changed_byte_is_never_read_as_something_else_than_tarfile_reads(at: int, value: int) -> None:
    data = bytearray(block(name="directory/file", mode=0o644, uid=1000, gid=1000, size=5, mtime=1700000000))
    data[at] = value
    found = plain_header(bytes(data))
    if found is None:
        return
    theirs = tarfile.TarInfo.frombuf(bytes(data), "utf-8", "surrogateescape")
    assert (found.name, found.kind, found.size) == (theirs.name, theirs.type, theirs.size)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(512),
        block()[:511],
        block(kind=tarfile.CHRTYPE),
        block(kind=tarfile.AREGTYPE, name="d/"),
        block(kind=b"x"),
        block(tarfile.GNU_FORMAT, size=1 << 33),
        block().replace(b"ustar\x0000", b"ustar 100"),
        block()[:100] + b"+000644\0" + block()[108:],
    ],
    ids=["nothing", "zeros", "short", "device", "old directory", "records", "large number", "magic", "sign"],
)
def test_other_headers_are_left_to_tarfile(data: bytes) -> None:
    assert plain_header(data) is None


def test_plain_and_other_headers_may_follow_each_other_in_any_order() -> None:
    buffer = io.BytesIO()
    long = "d" * 90 + "/" + "n" * 120
    with tarfile.TarFile(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("a", long, "b", "ä", "c", long + "2"):
            info = tarfile.TarInfo(name)
            info.size = 700
            archive.addfile(info, io.BytesIO(bytes(700)))
    source = Source(io.BytesIO(buffer.getvalue()).read)
    headers = Headers(source)
    found = []
    kinds = []
    while (header := headers.next()) is not None:
        found.append(header.name)
        kinds.append(isinstance(header, PlainHeader))
        source.take(300)  # what is left of the content is skipped
    assert found == ["a", long, "b", "ä", "c", long + "2"]
    assert kinds == [True, False, True, False, True, False]


def test_the_bytes_of_a_header_are_kept_with_its_records() -> None:
    data = block(tarfile.PAX_FORMAT, name="ä", size=0)
    source = Source(io.BytesIO(data + block(name="b") + bytes(1024)).read)
    headers = Headers(source)
    headers.next()
    assert source.header == data
    headers.next()
    assert source.header == block(name="b")
    assert headers.next() is None
    assert source.header == bytes(512)
