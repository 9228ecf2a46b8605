"""Attacks on the reader of layer archives, and the forms of archive that it has to understand."""

from __future__ import annotations

import io
import tarfile

import pytest

from contextkernel.errors import InvalidArchive
from contextkernel.layer import untar
from contextkernel.layer.headers import plain_header
from contextkernel.layer.untar import Source, read_members
from tests.unit.layer.conftest import Archive, paths, read


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "..", "a/../.."])
def test_a_name_that_leaves_the_layer_is_refused(name: str) -> None:
    with pytest.raises(InvalidArchive, match="leaves the layer"):
        read(Archive().add(name).bytes())


@pytest.mark.parametrize("name", ["/etc/passwd", "./etc/passwd", "etc//passwd", "/../etc/passwd", "etc/x/../passwd"])
def test_an_unclean_name_that_stays_inside_is_cleaned(name: str) -> None:
    assert ("file", "etc/passwd") in paths(read(Archive().add(name).bytes()).entries())


@pytest.mark.parametrize("target", ["../../etc/passwd", "..", "/../../../x/../.."])
def test_a_hard_link_to_the_outside_is_refused(target: str) -> None:
    with pytest.raises(InvalidArchive):
        read(Archive().add("a").hardlink("b", target).bytes())


def test_a_hard_link_to_something_that_is_not_in_the_layer_is_refused() -> None:
    with pytest.raises(InvalidArchive, match="not in the layer"):
        read(Archive().hardlink("passwd", "etc/passwd").bytes())


def test_a_hard_link_to_a_directory_is_refused() -> None:
    with pytest.raises(InvalidArchive, match="directory"):
        read(Archive().dir("d").hardlink("e", "d").bytes())


def test_a_hard_link_that_would_replace_the_directory_of_its_target_is_refused() -> None:
    with pytest.raises(InvalidArchive, match="would replace"):
        read(Archive().dir("d").add("d/f").hardlink("d", "d/f").bytes())


@pytest.mark.parametrize("target", ["/etc", "../../../../etc", "etc/../../etc"])
def test_a_file_behind_a_symbolic_link_lands_inside(target: str) -> None:
    tree = read(Archive().symlink("a", target).add("a/passwd", data=b"x").bytes())
    assert paths(tree.entries()) == [("symlink", "a"), ("dir", "etc"), ("file", "etc/passwd")]


def test_symbolic_links_in_a_circle_are_refused() -> None:
    with pytest.raises(InvalidArchive, match="too many symbolic links"):
        read(Archive().symlink("a", "b").symlink("b", "a").add("a/x").bytes())


def test_a_file_below_a_file_is_refused() -> None:
    with pytest.raises(InvalidArchive, match="lies below"):
        read(Archive().add("a").add("a/b").bytes())


def test_a_directory_that_becomes_a_symbolic_link_takes_its_files_with_it() -> None:
    tree = read(Archive().dir("a").add("a/x").symlink("a", "/").add("a/y").bytes())
    assert paths(tree.entries()) == [("symlink", "a"), ("file", "y")]


def test_a_repeated_entry_counts_as_the_last_one() -> None:
    tree = read(Archive().add("a", data=b"one").add("a", data=b"three").bytes())
    (entry,) = tree.entries()
    assert entry.size == 5


def test_a_repeated_directory_keeps_its_files() -> None:
    tree = read(Archive().dir("a", 0o700).add("a/x").dir("a", 0o755).bytes())
    assert [(entry.path, entry.mode) for entry in tree.entries()] == [("a", 0o755), ("a/x", 0o644)]


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "a/.wh..."])
def test_a_whiteout_of_nothing_or_of_dots_is_refused(name: str) -> None:
    with pytest.raises(InvalidArchive, match="whiteout"):
        read(Archive().add(name).bytes())


def test_an_entry_below_a_whiteout_is_refused() -> None:
    with pytest.raises(InvalidArchive, match="below a whiteout"):
        read(Archive().add(".wh.a/b").bytes())


def test_whiteouts_and_opaque_directories_become_rows() -> None:
    tree = read(Archive().dir("d").add("d/.wh..wh..opq").add("d/.wh.gone").add("d/new").bytes())
    assert paths(tree.entries()) == [("dir", "d"), ("opaque", "d"), ("whiteout", "d/gone"), ("file", "d/new")]


def test_a_whiteout_where_the_layer_has_a_directory_makes_it_opaque() -> None:
    tree = read(Archive().add(".wh.d").dir("d").add("d/x").bytes())
    assert paths(tree.entries()) == [("dir", "d"), ("opaque", "d"), ("file", "d/x")]


def test_a_whiteout_where_the_layer_has_a_file_is_not_needed() -> None:
    assert paths(read(Archive().add("f").add(".wh.f").bytes()).entries()) == [("file", "f")]


def test_a_whiteout_below_what_is_no_directory_any_more_is_forgotten() -> None:
    tree = read(Archive().dir("d").add("d/.wh.x").add("d").bytes())
    assert paths(tree.entries()) == [("file", "d")]


def test_the_device_that_overlay_takes_for_a_whiteout_is_one() -> None:
    tree = read(Archive().add("gone", tarfile.CHRTYPE, devmajor=0, devminor=0).bytes())
    assert paths(tree.entries()) == [("whiteout", "gone")]


def test_the_bookkeeping_of_aufs_is_left_out() -> None:
    tree = read(Archive().dir(".wh..wh.plnk").add(".wh..wh.plnk/1.2").add(".wh..wh.aufs").add("a").bytes())
    assert paths(tree.entries()) == [("file", "a")]


def test_directories_that_the_archive_lacks_are_made() -> None:
    tree = read(Archive().add("usr/bin/tool", uid=7).bytes())
    assert [(e.path, e.kind, e.mode, e.uid) for e in tree.entries()] == [
        ("usr", "dir", 0o755, 0),
        ("usr/bin", "dir", 0o755, 0),
        ("usr/bin/tool", "file", 0o644, 7),
    ]


def test_a_root_that_is_not_a_directory_is_refused() -> None:
    with pytest.raises(InvalidArchive, match="root of the layer"):
        read(Archive().symlink(".", "/etc").bytes())


def test_hard_links_are_filed_under_the_first_name() -> None:
    tree = read(Archive().add("z", data=b"12").hardlink("a", "z").hardlink("m", "a").bytes())
    assert [(e.path, e.kind, e.link, e.size) for e in tree.entries()] == [
        ("a", "file", "", 2),
        ("m", "hardlink", "a", 0),
        ("z", "hardlink", "a", 0),
    ]


def test_a_hard_link_survives_the_replacement_of_its_target() -> None:
    tree = read(Archive().add("a", data=b"old").hardlink("b", "a").add("a", data=b"newer").bytes())
    assert [(e.path, e.kind, e.size) for e in tree.entries()] == [("a", "file", 5), ("b", "file", 3)]


def test_an_archive_larger_than_allowed_is_refused_before_it_is_read_whole() -> None:
    taken = []

    def endless(count: int) -> bytes:
        taken.append(count)
        return bytes(count)

    source = Source(endless, limit=10 << 20)
    with pytest.raises(InvalidArchive, match="larger than 10485760 bytes"):
        source.finish()
    assert sum(taken) < 13 << 20


def test_a_header_that_announces_gigabytes_of_names_is_refused_unread() -> None:
    info = tarfile.TarInfo("x")
    info.type = tarfile.XHDTYPE
    info.size = 3 << 30
    with pytest.raises(InvalidArchive, match="headers are too large"):
        read(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))


def test_many_headers_of_one_entry_are_refused_before_they_fill_the_memory() -> None:
    info = tarfile.TarInfo("x")
    info.type = tarfile.XHDTYPE
    body = b"30 comment=" + b"c" * 18 + b"\n"
    info.size = 2 << 20
    one = info.tobuf(tarfile.USTAR_FORMAT) + body.ljust(2 << 20, b"\0")
    taken = []
    stream = io.BytesIO(one * 40)

    def take(count: int) -> bytes:
        taken.append(count)
        return stream.read(count)

    with pytest.raises(InvalidArchive, match="headers are too large"):
        next(read_members(Source(take)))
    assert sum(taken) < 20 << 20


def test_too_many_entries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untar, "MAX_ENTRIES", 3)
    archive = Archive()
    for number in range(5):
        archive.add(f"f{number}")
    with pytest.raises(InvalidArchive, match="more than 3 entries"):
        read(archive.bytes())


def test_too_many_entries_that_are_only_implied_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untar, "MAX_ENTRIES", 50)
    archive = Archive()
    for number in range(5):
        archive.add(f"{number}/" * 20 + "x")
    with pytest.raises(InvalidArchive, match="more than 50 entries"):
        read(archive.bytes())


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(InvalidArchive, match="unknown type"):
        read(Archive().add("vol", b"V").bytes())


def test_a_name_longer_than_a_file_name_can_be_is_refused() -> None:
    with pytest.raises(InvalidArchive, match="longer than"):
        read(Archive().add("x" * 256).bytes())


@pytest.mark.parametrize("data", [b"", b"not a tar archive at all" * 100, bytes(100), b"\1" * 512])
def test_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArchive):
        read(data)


def test_an_archive_that_ends_in_a_file_is_refused() -> None:
    data = Archive().add("a", data=b"x" * 5000).bytes()
    with pytest.raises(InvalidArchive, match="middle of 'a'"):
        read(data[:2048])


def test_an_archive_with_a_damaged_header_in_the_middle_is_refused() -> None:
    data = bytearray(Archive().add("a").add("b").bytes())
    data[512] ^= 0xFF
    with pytest.raises(InvalidArchive, match="damaged"):
        read(bytes(data))


def test_an_archive_without_its_end_is_taken_as_go_does() -> None:
    data = Archive().add("a").bytes()[:512]
    assert paths(read(data).entries()) == [("file", "a")]


def test_what_follows_the_end_counts_for_the_digest_only() -> None:
    assert paths(read(Archive().add("a").bytes() + b"trailing" * 99).entries()) == [("file", "a")]


@pytest.mark.parametrize("fmt", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_common_formats_are_read(fmt: int) -> None:
    long = "d/" * 40 + "n" * (90 if fmt != tarfile.USTAR_FORMAT else 15)
    data = Archive(fmt).add(long, data=b"1", uid=1000, mtime=1234567890).hardlink("link", long).bytes()
    rows = {entry.path: entry for entry in read(data).entries()}
    assert rows[long].uid == 1000
    assert rows[long].mtime == 1234567890 * 10**9
    assert rows["link"].link == long


def test_fractions_of_seconds_are_kept_exactly() -> None:
    data = Archive().add("a", pax_headers={"mtime": "1700000000.123456789"}).bytes()
    assert read(data).entries()[0].mtime == 1700000000123456789


@pytest.mark.parametrize("seconds", ["-5", "99999999999999999999"])
def test_impossible_times_become_the_epoch_as_docker_has_it(seconds: str) -> None:
    assert read(Archive().add("a", pax_headers={"mtime": seconds}).bytes()).entries()[0].mtime == 0


def test_a_time_of_twelve_digits_becomes_the_epoch_too() -> None:
    block = bytearray(Archive(tarfile.USTAR_FORMAT).add("a").bytes()[:512])
    block[136:148] = b"7" * 12
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert plain_header(bytes(block)) is not None
    assert read(bytes(block) + bytes(1024)).entries()[0].mtime == 0


def test_attributes_of_the_machine_and_of_overlay_are_dropped() -> None:
    headers = {f"SCHILY.xattr.{name}": "v" for name in (
        "user.keep", "security.capability", "security.selinux", "trusted.overlay.opaque", "user.overlay.redirect",
    )}  # fmt: skip
    (entry,) = read(Archive().add("a", pax_headers=headers).bytes()).entries()
    assert entry.xattrs == {"security.capability": b"v", "user.keep": b"v"}


def test_global_headers_do_not_reach_into_entries() -> None:
    first = Archive().add("a").bytes()[:512]
    comment = tarfile.TarInfo.create_pax_global_header({"comment": "0123456789abcdef"})
    assert paths(read(comment + first + bytes(1024)).entries()) == [("file", "a")]


def test_a_plain_archive_keeps_names_that_look_like_whiteouts() -> None:
    data = Archive().add(".wh.a").bytes()
    members = [member.entry.path for member in read_members(Source(io.BytesIO(data).read))]
    assert members == [".wh.a"]
