"""ADD of archives that mean harm, or mean it well: contained or refused, as docker does."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
from collections.abc import Callable

import pytest
import zstandard

from contextkernel.errors import InvalidArchive, InvalidInput
from contextkernel.model.layers import CopyItem, Entry
from tests.integration.worker.conftest import Bench
from tests.unit.layer.conftest import Archive

Rows = dict[str, Entry]


def add(bench: Bench, data: bytes, *lowers: object, to: str = "/d/", **options: object) -> Rows:
    (bench.context / "x.tar").write_bytes(data)
    item = CopyItem(source="x.tar", name="x.tar", extract=True)
    return bench.rows(bench.copy(item, to=to, lowers=lowers, **options))  # type: ignore[arg-type]


def kinds(rows: Rows) -> dict[str, str]:
    return {path: row.kind for path, row in rows.items()}


@pytest.mark.parametrize("name", ["../../../../out", "/../out", "a/../../out", "./../out"])
def test_attack_name_with_dots_stays_below_the_destination(bench: Bench, name: str) -> None:
    assert kinds(add(bench, Archive().add(name, data=b"x").bytes())) == {"d": "dir", "d/out": "file"}
    assert not os.path.lexists("/out")


def test_attack_absolute_names_stay_below_the_destination(bench: Bench) -> None:
    rows = add(bench, Archive().add("/etc/passwd", data=b"x").bytes())
    assert kinds(rows) == {"d": "dir", "d/etc": "dir", "d/etc/passwd": "file"}


@pytest.mark.parametrize("target", ["/etc", "../../../etc", "/proc/self/root/etc"])
def test_attack_writing_through_a_link_of_the_archive(bench: Bench, target: str) -> None:
    with pytest.raises(InvalidArchive, match="lies in 'l', a link to what is not there"):
        add(bench, Archive().symlink("l", target).add("l/escaped", data=b"x").bytes())
    assert not os.path.lexists("/etc/escaped")


def test_attack_writing_through_a_chain_of_links(bench: Bench) -> None:
    archive = Archive().dir("a").symlink("a/up", "..").symlink("b", "a/up/../../../..").add("b/escaped", data=b"x")
    assert "d/escaped" in add(bench, archive.bytes())


def test_attack_replacing_a_directory_by_a_link(bench: Bench) -> None:
    archive = Archive().dir("a").symlink("a", "/etc").add("a/escaped", data=b"x")
    with pytest.raises(InvalidArchive, match="a link to what is not there"):
        add(bench, archive.bytes())


def test_attack_links_in_circles(bench: Bench) -> None:
    with pytest.raises(InvalidInput, match="too many symbolic links"):
        add(bench, Archive().symlink("a", "b").symlink("b", "a").add("a/x", data=b"x").bytes())


def test_attack_writing_through_a_link_that_was_there(bench: Bench) -> None:
    base = bench.base(d=0o755, real=0o755, **{"d/dir": "/real"})
    with pytest.raises(InvalidArchive, match="'dir', a link to what is not there"):
        add(bench, Archive().add("dir/x", data=b"x").bytes(), base)


def test_a_link_to_a_directory_below_the_destination_is_followed(bench: Bench) -> None:
    rows = add(bench, Archive().dir("r").symlink("l", "/r").add("l/x", data=b"x").bytes())
    assert rows["d/r/x"].kind == "file"


@pytest.mark.parametrize("target", ["nothing", "../../../../etc/passwd", "/etc/passwd"])
def test_attack_hard_link_to_what_is_not_in_the_archive(bench: Bench, target: str) -> None:
    base = bench.base(etc=0o755, d=0o755, **{"etc/passwd": b"secret"})
    with pytest.raises(InvalidArchive, match="which does not exist"):
        add(bench, Archive().hardlink("h", target).bytes(), base)


def test_attack_hard_link_through_a_link(bench: Bench) -> None:
    base = bench.base(etc=0o755, **{"etc/passwd": b"secret"})
    with pytest.raises(InvalidArchive, match="which does not exist"):
        add(bench, Archive().symlink("l", "/etc").hardlink("h", "l/passwd").bytes(), base)


def test_a_hard_link_to_a_directory(bench: Bench) -> None:
    with pytest.raises(InvalidArchive, match="hard link 'h' names 'p', which is a directory"):
        add(bench, Archive().dir("p").hardlink("h", "p").bytes())


def test_a_hard_link_to_a_file_that_was_there(bench: Bench) -> None:
    base = bench.base(d=0o755, **{"d/old": b"old"})
    rows = add(bench, Archive().hardlink("h", "old").bytes(), base)
    assert sorted(kinds(rows).values()) == ["dir", "file", "hardlink"]


def test_a_device_that_stands_for_a_removed_file(bench: Bench) -> None:
    with pytest.raises(InvalidArchive, match="device 0:0"):
        add(bench, Archive().add("n", tarfile.CHRTYPE).bytes())


def test_devices_are_made_or_said_to_be_left_out(bench: Bench) -> None:
    archive = Archive().add("null", tarfile.CHRTYPE, devmajor=1, devminor=3)
    archive.add("zero", tarfile.CHRTYPE, devmajor=1, devminor=5)
    found = kinds(add(bench, archive.bytes()))
    if bench.ids == "identity":
        assert (found, bench.notes) == ({"d": "dir", "d/null": "char", "d/zero": "char"}, ())
    else:
        assert found == {"d": "dir"}
        assert bench.notes == ("device 'null' and 1 more left out: devices cannot be made in a user namespace",)


def test_whiteouts_mean_nothing(bench: Bench) -> None:
    base = bench.base(d=0o755, **{"d/old": b"old"})
    rows = add(bench, Archive().add(".wh.old", data=b"x").add("p/.wh..wh..opq").bytes(), base)
    # as files of these names they would hide others in every layer archive: what fuse-overlayfs leaves means that
    assert "d/p" in rows


def test_a_file_where_a_directory_is_needed(bench: Bench) -> None:
    with pytest.raises(InvalidArchive, match="'a/b' lies in 'a', which is not a directory"):
        add(bench, Archive().add("a", data=b"1").add("a/b", data=b"2").bytes())


def test_the_last_entry_of_a_name_counts(bench: Bench) -> None:
    archive = Archive().add("a", data=b"1").dir("b", 0o700).add("b/x", data=b"x").add("a", data=b"22", mode=0o600)
    archive.add("b", data=b"file").dir("c", 0o700).dir("c", 0o711)
    rows = add(bench, archive.bytes())
    assert kinds(rows) == {"d": "dir", "d/a": "file", "d/b": "file", "d/c": "dir"}
    assert (rows["d/a"].size, rows["d/a"].mode, rows["d/c"].mode) == (2, 0o600, 0o711)


def test_a_directory_that_was_replaced_keeps_nothing_of_the_first(bench: Bench) -> None:
    archive = Archive().dir("b", 0o700).dir("b/c", 0o700).add("b", data=b"file").add("b/x", data=b"x")
    with pytest.raises(InvalidArchive, match="not a directory"):
        add(bench, archive.bytes())
    archive = Archive().dir("b", 0o700).dir("b/c", 0o700).add("b", data=b"file").dir("b", 0o711).add("b/c/x", data=b"x")
    rows = add(bench, archive.bytes())
    assert (rows["d/b"].mode, rows["d/b/c"].mode) == (0o711, 0o755)


def test_directories_in_between_are_made(bench: Bench) -> None:
    rows = add(bench, Archive().add("p/q/r", data=b"x", uid=3).bytes(), chown="7:8")
    assert [(rows[path].mode, rows[path].uid) for path in ("d/p", "d/p/q")] == [(0o755, 0), (0o755, 0)]
    assert rows["d/p/q/r"].uid == 7


PACKS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("pack", PACKS)
def test_a_broken_archive_is_refused_once_it_is_known_for_one(bench: Bench, pack: str) -> None:
    whole = Archive().add("a", data=b"1").add("b", data=os.urandom(2_000_000)).bytes()
    packed = PACKS[pack](whole)
    with pytest.raises(InvalidArchive):
        add(bench, packed[: len(packed) * 2 // 3])


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("content", [b"", b"plain text", bytes(1024)])
def test_what_is_no_archive_is_copied(bench: Bench, pack: str, content: bytes) -> None:
    rows = add(bench, PACKS[pack](content))
    assert kinds(rows) == {"d": "dir", "d/x.tar": "file"}


def test_a_bad_header_later_on_is_refused(bench: Bench) -> None:
    data = bytearray(Archive().add("a", data=b"1").add("b", data=b"2").bytes())
    data[1024 + 5] ^= 0xFF
    with pytest.raises(InvalidArchive, match="damaged at byte"):
        add(bench, bytes(data))


def test_an_unknown_kind_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidArchive, match="unknown type"):
        add(bench, Archive().add("a", b"Q").bytes())


def test_holes_of_an_archive_stay_holes(bench: Bench) -> None:
    size = 64 << 20
    headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "s",
        "GNU.sparse.realsize": str(size),
    }
    content = f"1\n{size - 4}\n4\n".encode().ljust(512, b"\0") + b"tail"
    (bench.context / "x.tar").write_bytes(Archive().add("GNUSparseFile.0/s", data=content, pax_headers=headers).bytes())
    layer = bench.copy(CopyItem(source="x.tar", extract=True), to="/d")
    info = os.stat(layer / "diff" / "d" / "s")
    assert info.st_size == size
    assert info.st_blocks * 512 < 1 << 20
