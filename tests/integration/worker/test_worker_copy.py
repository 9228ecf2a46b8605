"""COPY and ADD by BuildKit's rules, on a real overlay, with every id map."""

from __future__ import annotations

import os
import socket
import stat
import tarfile

import pytest

from contextkernel.errors import InvalidInput, SourceNotFound
from contextkernel.model.layers import CopyItem
from tests.integration.worker.conftest import Bench, archive, diffs
from tests.unit.layer.conftest import Archive

PASSWD = b"root:x:0:0::/:/bin/sh\nbad line\nweb:x:33:34::/:/bin/sh\n"
GROUP = b"staff:x:50:\n"


def fill(bench: Bench, **files: str) -> None:
    for name, text in files.items():
        path = bench.context / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (1_500_000_000, 1_500_000_000))
        path.chmod(0o640)


def kinds(rows: dict) -> dict[str, str]:
    return {path: entry.kind for path, entry in rows.items()}


def test_a_file_to_a_new_name(bench: Bench) -> None:
    fill(bench, a="hello")
    row = bench.rows(bench.copy("a", to="/opt/b"))
    assert kinds(row) == {"opt": "dir", "opt/b": "file"}
    assert (row["opt"].mode, row["opt/b"].mode, row["opt/b"].uid, row["opt/b"].gid) == (0o755, 0o640, 0, 0)
    assert row["opt/b"].mtime == 1_500_000_000 * 10**9


def test_a_file_to_a_directory_that_the_slash_announces(bench: Bench) -> None:
    fill(bench, a="hello")
    assert kinds(bench.rows(bench.copy("a", to="/opt/"))) == {"opt": "dir", "opt/a": "file"}


def test_a_file_to_a_directory_that_exists(bench: Bench) -> None:
    fill(bench, a="hello")
    base = bench.base(opt=0o700)
    row = bench.rows(bench.copy("a", to="/opt", lowers=(base,)))
    assert kinds(row) == {"opt": "dir", "opt/a": "file"}
    assert row["opt"].mode == 0o700


def test_a_file_replaces_a_file_and_a_link(bench: Bench) -> None:
    fill(bench, a="new")
    base = bench.base(d=0o755, **{"d/a": "elsewhere", "elsewhere": b"untouched"})
    merged = bench.merged(base, bench.copy("a", to="/d/", lowers=(base,)))
    assert (merged["d/a"].kind, merged["d/a"].size) == ("file", 3)
    assert merged["elsewhere"].size == 9


def test_a_destination_that_is_a_link_is_followed_inside(bench: Bench) -> None:
    fill(bench, a="new")
    base = bench.base(usr=0o755, **{"usr/lib": 0o755, "lib": "/usr/lib", "file": "../../usr/lib/made"})
    assert "usr/lib/a" in bench.rows(bench.copy("a", to="/lib/", lowers=(base,)))
    assert "usr/lib/made" in bench.rows(bench.copy("a", to="/file", lowers=(base,)))


def test_a_destination_link_to_the_outside_stays_inside(bench: Bench) -> None:
    fill(bench, a="new")
    base = bench.base(out="/../../../var/tmp/contextkernel-escape")
    assert "var/tmp/contextkernel-escape" in bench.rows(bench.copy("a", to="/out", lowers=(base,)))
    assert not os.path.lexists("/var/tmp/contextkernel-escape")


def test_a_directory_gives_its_contents(bench: Bench) -> None:
    fill(bench, src__a="1", src__sub__b="2")
    (bench.context / "src" / "empty").mkdir()
    rows = bench.rows(bench.copy("src", to="/app"))
    assert kinds(rows) == {
        "app": "dir", "app/a": "file", "app/empty": "dir", "app/sub": "dir", "app/sub/b": "file",
    }  # fmt: skip


def test_a_directory_under_its_own_name(bench: Bench) -> None:
    fill(bench, src__a="1")
    base = bench.base(app=0o755)
    rows = bench.rows(bench.copy(CopyItem(source="src"), to="/app/", lowers=(base,)))
    assert kinds(rows) == {"app": "dir", "app/src": "dir", "app/src/a": "file"}


def test_directories_merge_and_keep_their_metadata_only_at_the_top(bench: Bench) -> None:
    fill(bench, src__sub__new="1")
    (bench.context / "src").chmod(0o750)
    (bench.context / "src" / "sub").chmod(0o711)
    base = bench.base(app=0o700, **{"app/sub": 0o700, "app/sub/old": b"old"})
    merged = bench.merged(base, bench.copy("src", to="/app", lowers=(base,)))
    assert (merged["app"].mode, merged["app/sub"].mode) == (0o700, 0o711)
    assert {"app/sub/old", "app/sub/new"} <= set(merged)


def test_several_sources(bench: Bench) -> None:
    fill(bench, a="1", b="2")
    assert kinds(bench.rows(bench.copy("a", "b", to="/x"))) == {"x": "dir", "x/a": "file", "x/b": "file"}


def test_a_file_over_a_directory_is_an_error(bench: Bench) -> None:
    fill(bench, src__name="1")
    base = bench.base(app=0o755, **{"app/name": 0o755})
    with pytest.raises(InvalidInput, match="cannot replace the directory '/app/name'"):
        bench.copy("src", to="/app", lowers=(base,))


def test_a_directory_over_a_file_is_an_error(bench: Bench) -> None:
    fill(bench, src__name__x="1")
    base = bench.base(app=0o755, **{"app/name": b"file"})
    with pytest.raises(InvalidInput, match="'/app/name': it is not a directory"):
        bench.copy("src", to="/app", lowers=(base,))


def test_a_destination_below_a_file_is_an_error(bench: Bench) -> None:
    fill(bench, a="1")
    base = bench.base(file=b"x")
    with pytest.raises(InvalidInput, match="'/file' is not a directory"):
        bench.copy("a", to="/file/x", lowers=(base,))
    with pytest.raises(InvalidInput, match="is not a directory"):
        bench.copy("a", to="/file/", lowers=(base,))


def test_a_missing_source_is_named(bench: Bench) -> None:
    with pytest.raises(SourceNotFound, match="'nothing/here'"):
        bench.copy("nothing/here", to="/x")


def test_a_source_that_leaves_the_context_stays_inside(bench: Bench) -> None:
    (bench.root / "secret").write_text("s")
    (bench.context / "link").symlink_to("../secret")
    for source in ("../secret", "link"):
        with pytest.raises(SourceNotFound):
            bench.copy(source, to="/x")


@pytest.mark.parametrize(("text", "owner"), [("web:", (33, 0)), (":staff", (0, 50)), ("7:", (7, 0))])
def test_what_is_empty_beside_a_colon_is_root(bench: Bench, text: str, owner: tuple[int, int]) -> None:
    fill(bench, a="1")
    base = bench.base(etc=0o755, **{"etc/passwd": PASSWD, "etc/group": GROUP})
    row = bench.rows(bench.copy("a", to="/x", lowers=(base,), chown=text))["x"]
    assert (row.uid, row.gid) == owner


@pytest.mark.parametrize(("text", "hint"), [("wbe", "did you mean 'web'"), ("web:stuff", "did you mean 'staff'")])
def test_a_missing_owner_comes_with_a_near_one(bench: Bench, text: str, hint: str) -> None:
    fill(bench, a="1")
    base = bench.base(etc=0o755, **{"etc/passwd": PASSWD, "etc/group": GROUP})
    bench.copy("a", to="/x", lowers=(base,), chown=text)
    (note,) = bench.notes
    assert hint in note


def test_a_link_as_the_source_is_followed_and_inside_of_a_directory_copied(bench: Bench) -> None:
    fill(bench, src__real="1")
    (bench.context / "src" / "link").symlink_to("real")
    (bench.context / "direct").symlink_to("src/real")
    rows = bench.rows(bench.copy("src", "direct", to="/x/"))
    assert kinds(rows) == {"x": "dir", "x/direct": "file", "x/link": "symlink", "x/real": "file"}
    assert rows["x/link"].link == "real"


def test_owner_by_name_and_number(bench: Bench) -> None:
    fill(bench, a="1")
    base = bench.base(etc=0o755, **{"etc/passwd": PASSWD, "etc/group": GROUP})
    for text, owner in {
        "web": (33, 34), "web:staff": (33, 50), "7": (7, 7), "7:staff": (7, 50), "root:9": (0, 9), ":8": (0, 8),
    }.items():  # fmt: skip
        rows = bench.rows(bench.copy("a", to="/new/a", lowers=(base,), chown=text))
        assert [(rows[p].uid, rows[p].gid) for p in ("new", "new/a")] == [owner] * 2, text


@pytest.mark.parametrize(
    ("text", "owner"), [("nobody", (0, 0)), ("web:nogroup", (33, 34)), ("7:nogroup", (7, 7)), ("no:9", (0, 9))]
)
def test_an_owner_that_the_image_does_not_have_is_another_as_with_docker(
    bench: Bench, text: str, owner: tuple[int, int]
) -> None:
    fill(bench, a="1")
    base = bench.base(etc=0o755, **{"etc/passwd": PASSWD})
    row = bench.rows(bench.copy("a", to="/x", lowers=(base,), chown=text))["x"]
    assert (row.uid, row.gid) == owner
    assert [note for note in bench.notes if "is taken" in note]


@pytest.mark.parametrize(("text", "on"), [("99999999999", "base"), ("web", "scratch")])
def test_an_owner_that_cannot_be(bench: Bench, text: str, on: str) -> None:
    fill(bench, a="1")
    base = bench.base(etc=0o755, **{"etc/passwd": PASSWD})
    with pytest.raises(InvalidInput) as caught:
        bench.copy("a", to="/x", lowers=(base,) if on == "base" else (), chown=text)
    assert caught.value.hint


def test_mode_for_everything(bench: Bench) -> None:
    fill(bench, src__a="1", src__sub__b="1")
    rows = bench.rows(bench.copy("src", to="/p/x", chmod="4711"))
    assert {path: row.mode for path, row in rows.items()} == {
        "p": 0o711, "p/x": 0o711, "p/x/a": 0o4711, "p/x/sub": 0o4711, "p/x/sub/b": 0o4711,
    }  # fmt: skip


def test_hard_links_stay_together_within_one_source(bench: Bench) -> None:
    fill(bench, src__a="1")
    os.link(bench.context / "src/a", bench.context / "src/b")
    rows = bench.rows(bench.copy("src", to="/x", chown="5:6"))
    assert (rows["x/b"].kind, rows["x/b"].link, rows["x/b"].uid) == ("hardlink", "x/a", 5)
    assert kinds(bench.rows(bench.copy("src/a", "src/b", to="/y/")))["y/b"] == "file"


def test_holes_stay_holes(bench: Bench) -> None:
    path = bench.context / "image"
    with path.open("wb") as stream:
        stream.seek(4 << 20)
        stream.write(b"end")
        stream.truncate(8 << 20)
    layer = bench.copy("image", to="/image")
    info = (layer / "diff" / "image").stat()
    assert info.st_size == 8 << 20
    assert info.st_blocks * 512 < 1 << 20
    assert (layer / "diff" / "image").read_bytes() == path.read_bytes()


def test_attributes_are_copied_from_layers_only(bench: Bench) -> None:
    fill(bench, src__a="1")
    os.setxattr(bench.context / "src/a", "user.note", b"v")
    layer = bench.base(a=b"1", d=0o755)
    for name in ("a", "d"):
        os.setxattr(layer / "diff" / name, "user.note", b"v")
    assert os.listxattr(bench.copy("src", to="/x") / "diff/x/a") == []
    copied = bench.copy(".", to="/x", source_lowers=diffs((layer,)))
    assert os.getxattr(copied / "diff/x/a", "user.note") == b"v"
    assert os.getxattr(copied / "diff/x/d", "user.note") == b"v"
    assert bench.rows(copied)["x/a"].xattrs == {}  # as BuildKit: a layer carries security.capability only


def test_fifos_are_copied(bench: Bench) -> None:
    fill(bench, src__a="1")
    os.mkfifo(bench.context / "src/pipe")
    assert bench.rows(bench.copy("src", to="/x"))["x/pipe"].kind == "fifo"


def test_what_the_ignore_file_leaves_out(bench: Bench) -> None:
    fill(bench, a="1", skip__x="1", sub__keep="1", sub__drop="1")
    rows = bench.rows(bench.copy(".", to="/x", excludes=("skip", "sub/drop")))
    assert kinds(rows) == {"x": "dir", "x/a": "file", "x/sub": "dir", "x/sub/keep": "file"}
    with pytest.raises(SourceNotFound):
        bench.copy("skip", to="/x", excludes=("skip",))


def test_parents_brings_the_directories_that_the_files_lie_in(bench: Bench) -> None:
    fill(bench, a="1", sub__deep__keep="2", sub__deep__other="3", sub__b="4")
    (bench.context / "sub").chmod(0o750)
    rows = bench.rows(bench.copy(CopyItem(source=".", contents=True, include="sub/**/keep"), to="/x"))
    assert kinds(rows) == {"x": "dir", "x/sub": "dir", "x/sub/deep": "dir", "x/sub/deep/keep": "file"}
    assert rows["x/sub"].mode == 0o750


def test_parents_that_are_there_get_the_mode_and_nothing_else(bench: Bench) -> None:
    fill(bench, sub__keep="2")
    (bench.context / "sub").chmod(0o711)
    base = bench.base(x=0o700, **{"x/sub": 0o700})
    layer = bench.copy(
        CopyItem(source=".", contents=True, include="sub/keep"), to="/x", lowers=(base,), chown="5:6", chmod="600"
    )
    rows = bench.rows(layer)
    assert (rows["x/sub"].mode, rows["x/sub"].uid) == (0o711, 0)
    assert (rows["x/sub/keep"].mode, rows["x/sub/keep"].uid, rows["x/sub/keep"].gid) == (0o600, 5, 6)


def test_excluded_patterns_count_from_the_source(bench: Bench) -> None:
    fill(bench, sub__a="1", sub__b__a="2", sub__b__c="3", sub__d__e="4")
    rows = bench.rows(bench.copy("sub", to="/x", exclude=("a", "d", "**/c")))
    assert kinds(rows) == {"x": "dir", "x/b": "dir", "x/b/a": "file"}
    rows = bench.rows(bench.copy("sub", to="/x", exclude=("**", "!b/c")))
    assert kinds(rows) == {"x": "dir", "x/b": "dir", "x/b/c": "file"}


def test_an_excluded_directory_takes_its_content_with_it(bench: Bench) -> None:
    fill(bench, sub__closed__x="1", sub__a="1")
    os.mkfifo(bench.context / "sub" / "closed" / "fifo")
    assert kinds(bench.rows(bench.copy("sub", to="/x", exclude=("closed",)))) == {"x": "dir", "x/a": "file"}


def test_a_source_itself_cannot_be_excluded(bench: Bench) -> None:
    fill(bench, a="1")
    assert "x/a" in bench.rows(bench.copy(CopyItem(source="a", name="a"), to="/x/", exclude=("a", "*")))


def test_symbolic_modes_look_at_each_file(bench: Bench) -> None:
    fill(bench, src__plain="1", src__program="2")
    (bench.context / "src" / "program").chmod(0o700)
    rows = bench.rows(bench.copy("src", to="/x", chmod="a=rX,u+w"))
    modes = {path: row.mode for path, row in rows.items()}
    # what has to be made on the way does not follow it
    assert modes == {"x": 0o755, "x/plain": 0o644, "x/program": 0o755}


def test_a_socket_becomes_an_empty_file(bench: Bench) -> None:
    here = os.open(bench.context, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{here}/s")
        os.close(here)
        row = bench.rows(bench.copy(".", to="/x"))["x/s"]
    assert (row.kind, row.size) == ("file", 0)


def test_from_scratch_comes_nothing(bench: Bench) -> None:
    rows = bench.rows(bench.copy(".", to="/x", source_root=None, source_lowers=()))
    assert kinds(rows) == {"x": "dir"}


def test_names_of_any_bytes(bench: Bench) -> None:
    odd = ["with space", "new\nline", "-dash", "n\udcffx", "a" * 255, "back\\slash"]
    for name in odd:
        (bench.context / name).write_text(name, errors="surrogateescape")
    assert set(bench.rows(bench.copy(".", to="/x"))) == {"x", *(f"x/{name}" for name in odd)}


def test_a_very_deep_tree(bench: Bench) -> None:
    here = os.open(bench.context, os.O_PATH)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_PATH, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    rows = bench.rows(bench.copy(".", to="/x"))
    assert len(rows) == 1502


def test_from_another_image_owners_are_kept(bench: Bench) -> None:
    one, _ = bench.unpack(Archive().dir("app").add("app/bin", data=b"old", uid=1, gid=2).add("app/gone").bytes())
    two, _ = bench.unpack(
        Archive().dir("app").add("app/bin", data=b"newer", uid=33, gid=34, mode=0o4755).add("app/.wh.gone").bytes()
    )
    base = bench.base(etc=0o755)
    rows = bench.rows(bench.copy("app", to="/out", lowers=(base,), source_lowers=diffs((one, two))))
    assert kinds(rows) == {"out": "dir", "out/bin": "file"}
    bin_ = rows["out/bin"]
    assert (bin_.size, bin_.uid, bin_.gid, bin_.mode) == (5, 33, 34, 0o4755)


def test_from_a_single_layer(bench: Bench) -> None:
    one, _ = bench.unpack(Archive().add("f", data=b"1", uid=4).add(".wh.x").bytes())
    rows = bench.rows(bench.copy(".", to="/out", source_lowers=diffs((one,))))
    assert kinds(rows) == {"out": "dir", "out/f": "file"}
    assert rows["out/f"].uid == 4


def test_directories_passed_through_keep_their_owners(bench: Bench) -> None:
    fill(bench, a="1")
    base, _ = bench.unpack(Archive().dir("home").add("home/app", b"5", uid=1000, gid=1000, mode=0o700).bytes())
    rows = bench.rows(bench.copy("a", to="/home/app/", lowers=(base,)))
    assert (rows["home/app"].uid, rows["home/app"].mode, rows["home/app/a"].uid) == (1000, 0o700, 0)


def test_a_heredoc_becomes_a_file(bench: Bench) -> None:
    item = CopyItem(source="script.sh", data=b"#!/bin/sh\n")
    rows = bench.rows(bench.copy(item, to="/opt/", chmod="0755", chown="3:4"))
    script = rows["opt/script.sh"]
    assert (script.mode, script.uid, script.gid, script.size) == (0o755, 3, 4, 10)
    assert bench.rows(bench.copy(item, to="/opt/name"))["opt/name"].mode == 0o644


@pytest.mark.parametrize("pack", ["plain", "gzip", "xz"])
def test_add_unpacks_an_archive(bench: Bench, pack: str) -> None:
    data = Archive().dir("sub", 0o700).add("sub/f", data=b"1", uid=7, gid=8).add(".wh.keep").add("d/e/x").bytes()
    if pack == "gzip":
        import gzip

        data = gzip.compress(data)
    elif pack == "xz":
        import lzma

        data = lzma.compress(data)
    (bench.context / "whatever.bin").write_bytes(data)
    layer = bench.copy(CopyItem(source="whatever.bin", extract=True), to="/x")
    assert {path.name for path in (layer / "diff" / "x").iterdir()} == {"sub", ".wh.keep", "d"}
    (layer / "diff" / "x" / ".wh.keep").unlink()  # a whiteout only in the name
    rows = bench.rows(layer)
    assert (rows["x/sub"].mode, rows["x/sub/f"].uid, rows["x/sub/f"].gid, rows["x/d/e"].mode) == (0o700, 7, 8, 0o755)


def test_add_copies_what_is_no_archive(bench: Bench) -> None:
    fill(bench, a="just text")
    assert kinds(bench.rows(bench.copy(CopyItem(source="a", extract=True), to="/x/"))) == {"x": "dir", "x/a": "file"}


def test_add_replaces_and_follows_links_inside_of_the_destination(bench: Bench) -> None:
    base = bench.base(
        x=0o755, **{"x/usr": 0o755, "x/bin": "/usr", "x/f": b"old", "x/d": 0o755, "x/d/in": b"1", "usr": 0o755}
    )
    data = Archive().add("bin/tool", data=b"t").add("f", data=b"new").add("d", data=b"file now").bytes()
    (bench.context / "a.tar").write_bytes(data)
    merged = bench.merged(base, bench.copy(CopyItem(source="a.tar", extract=True), to="/x/", lowers=(base,)))
    assert merged["x/usr/tool"].size == 1  # the destination counts as the root
    assert merged["x/bin"].kind == "symlink"
    assert (merged["x/f"].size, merged["x/d"].kind) == (3, "file")
    assert "x/d/in" not in merged


def test_add_keeps_links_of_an_archive_inside(bench: Bench) -> None:
    marker = f"contextkernel-escape-{os.getpid()}"
    (bench.context / "a.tar").write_bytes(Archive().symlink("l", "/").add(f"l/{marker}").bytes())
    layer = bench.copy(CopyItem(source="a.tar", extract=True), to="/x/")
    assert not os.path.lexists(f"/{marker}")
    assert (layer / "diff" / "x" / marker).exists()


def test_a_link_in_an_archive_says_what_the_file_is(bench: Bench) -> None:
    packed = Archive().add("a", data=b"1", uid=5, mode=0o600)
    packed.add("b", tarfile.LNKTYPE, link="a", uid=7, mode=0o640)
    (bench.context / "x.tar").write_bytes(packed.bytes())
    rows = bench.rows(bench.copy(CopyItem(source="x.tar", extract=True), to="/x"))
    assert {(row.uid, row.mode) for row in rows.values() if row.kind == "file"} == {(7, 0o640)}


def test_two_copies_into_one_layer(bench: Bench) -> None:
    fill(bench, a="1", b="2")
    base = bench.base(x=0o755)
    layer = bench.copy("a", to="/x/", lowers=(base,))
    bench.copy_into(layer, "b", to="/x/", lowers=(base,))
    assert set(bench.rows(layer)) == {"x", "x/a", "x/b"}


def test_a_layer_below_may_still_be_without_its_index(bench: Bench) -> None:
    fill(bench, a="1", b="2")
    base = bench.base(x=0o755)
    first = bench.copy("a", to="/x/y/", lowers=(base,), chown="5:6")
    second = bench.copy("b", to="/x/y/", lowers=(base, first))
    third = bench.copy("x", to="/z", lowers=(base,), source_lowers=diffs((base, first, second)))
    assert not (first / "index").exists()
    assert (bench.rows(second)["x/y"].uid, bench.rows(second)["x/y"].gid) == (5, 6)
    assert [bench.rows(third)[path].uid for path in ("z/y", "z/y/a", "z/y/b")] == [5, 5, 0]


def test_forty_layers_and_awkward_directory_names(bench: Bench) -> None:
    fill(bench, a="1")
    bench.root = bench.root / "with, comma:and colon"
    bench.root.mkdir()
    layers = tuple(bench.unpack(archive(**{f"f{number}": b"x"}))[0] for number in range(40))
    layer = bench.copy("a", to="/x", lowers=layers)
    assert len(bench.merged(*layers, layer)) == 42


def test_nothing_is_left_beside_the_layer(bench: Bench) -> None:
    fill(bench, a="1")
    base = bench.base(x=0o755)
    layer = bench.copy("a", to="/x/", lowers=(base,), source_root=str(bench.context))
    assert {path.name for path in layer.iterdir()} <= {"diff", "work", "owners"}


def test_a_file_that_may_not_be_read_is_named(bench: Bench) -> None:
    if bench.ids == "identity":
        return  # root reads everything
    fill(bench, src__closed="1")
    path = bench.context / "src" / "closed"
    if os.geteuid() == 0:
        os.chown(path, 70000, 70000)
        path.chmod(stat.S_IRUSR)
        with pytest.raises(InvalidInput, match="cannot read 'src/closed'"):
            bench.copy("src", to="/x")
        os.chown(path, 0, 0)
