"""The host's side of cp: docker's rules for paths, and nothing that lands elsewhere."""

import io
import os
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contextkernel.engine.box_files import _target, split_path
from contextkernel.engine.local_tree import (
    Place,
    local_place,
    local_source,
    pack_local,
    unpack_local,
    wanted_name,
)
from contextkernel.errors import Conflict, InvalidArchive, InvalidInput, SyscallFailed
from contextkernel.model.box import PathFacts
from contextkernel.model.ids import IdMap, IdRange


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("box:/a", ("box", "/a")),
        ("box:a:b", ("box", "a:b")),
        ("/a:b", ("", "/a:b")),
        ("./a:b", ("", "./a:b")),
        (".a:b", ("", ".a:b")),
        ("a", ("", "a")),
        ("box:", ("box", "")),
        ("-", ("", "-")),
    ],
)
def test_containers_and_paths(text, parts):
    assert split_path(text) == parts


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/b", "b"),
        ("/a/b/", "b"),
        ("/a/b/.", "."),
        ("/", "."),
        ("a", "a"),
        (".", "."),
        ("/a/../b", "b"),
        ("..", ".."),
    ],
)
def test_names(path, name):
    assert wanted_name(path) == name


@pytest.fixture
def tree(tmp_path, monkeypatch):
    base = tmp_path / "host"
    (base / "dir" / "sub").mkdir(parents=True)
    (base / "one").write_text("one\n")
    (base / "dir" / "two").write_text("two\n")
    (base / "file-link").symlink_to("one")
    (base / "dir-link").symlink_to("dir")
    (base / "broken").symlink_to("nowhere")
    monkeypatch.chdir(base)
    return base


@pytest.mark.parametrize(
    ("path", "follow", "base", "name", "directory"),
    [
        ("one", False, "one", "one", False),
        ("dir", False, "dir", "dir", True),
        ("dir/", False, "dir", "dir", True),
        ("dir/.", False, ".", ".", True),
        ("dir-link", False, "dir-link", "dir-link", False),
        ("dir-link/", False, "dir", "dir-link", True),
        ("dir-link/.", False, ".", ".", True),
        ("dir-link", True, "dir", "dir-link", True),
        ("file-link", True, "one", "file-link", False),
        ("broken", False, "broken", "broken", False),
    ],
)
@pytest.mark.usefixtures("tree")
def test_sources(path, follow, base, name, directory):
    found = local_source(path, follow=follow)
    assert (found.base, found.name, found.is_directory) == (base, name, directory)


@pytest.mark.parametrize("path", ["one/", "one/.", "nope", "nope/x"])
@pytest.mark.usefixtures("tree")
def test_sources_that_are_none(path):
    with pytest.raises(InvalidInput):
        local_source(path, follow=False)


@pytest.mark.usefixtures("tree")
def test_a_broken_link_has_nothing_to_follow():
    with pytest.raises(InvalidInput, match="no such file or directory"):
        local_source("broken", follow=True)


@pytest.mark.parametrize(
    ("path", "of_directory", "place"),
    [
        ("dir", False, ("dir", "")),
        ("dir/", True, ("dir", "")),
        ("dir-link", True, ("dir", "")),
        ("one", False, ("", "one")),
        ("new", False, ("", "new")),
        ("new/", True, ("", "new")),
        ("file-link", False, ("", "one")),
        ("broken", False, ("", "nowhere")),
    ],
)
def test_places(tree, path, of_directory, place):
    assert local_place(path, of_directory=of_directory) == Place(str(tree / place[0]).rstrip("/"), place[1])


@pytest.mark.parametrize(
    ("path", "of_directory", "problem"),
    [
        ("one", True, "cannot copy directory"),
        ("new/", False, "no such directory"),
        ("new/.", False, "no such directory"),
        ("no/new", False, 'invalid output path: directory ".*/no" does not exist'),
        ("/dev/null", False, "must be a directory or a regular file"),
    ],
)
@pytest.mark.usefixtures("tree")
def test_places_that_are_none(path, of_directory, problem):
    with pytest.raises(InvalidInput, match=problem):
        local_place(path, of_directory=of_directory)


def test_too_many_links(tree):
    (tree / "a").symlink_to("b")
    (tree / "b").symlink_to("a")
    with pytest.raises(InvalidInput):
        local_place("a", of_directory=False)


def facts(kind, path="/x/y"):
    return PathFacts(path=path, kind=kind)


@pytest.mark.usefixtures("tree")
def test_targets_in_a_container():
    file, directory = local_source("one", follow=False), local_source("dir", follow=False)
    content = local_source("dir/.", follow=False)
    assert _target(facts("dir"), file, "/x/y") == ("/x/y", "one")
    assert _target(facts("dir"), content, "/x/y") == ("/x/y", ".")
    assert _target(facts("file"), file, "/x/y") == ("/x", "y")
    assert _target(facts(""), file, "/x/y") == ("/x", "y")
    assert _target(facts(""), directory, "/x/y/") == ("/x", "y")
    assert _target(facts(""), content, "/x/y") == ("/x", "y")
    assert _target(facts("", "/y"), file, "y") == ("/", "y")
    for kind, source, asked, problem in (
        ("file", directory, "/x/y", "cannot copy directory"),
        ("", file, "/x/y/", "no such directory"),
        ("not-a-directory", file, "/x/y/", "no such directory"),
        ("dir", file, "", "no such directory"),
        ("other", file, "/x/y", "must be a directory or a regular file"),
    ):
        with pytest.raises(InvalidInput, match=problem):
            _target(facts(kind), source, asked)


# -- packing and unpacking


def packed(source, name, idmap=IdMap()):  # noqa: B008 - a value
    reader, end = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        import threading

        def write():
            pack_local(source, name, end, idmap)
            os.close(end)

        thread = threading.Thread(target=write)
        thread.start()
        data = stream.read()
        thread.join()
    return data


def unpacked(data, place):
    reader, end = os.pipe()
    import threading

    def write():
        try:
            with os.fdopen(end, "wb") as stream:
                stream.write(data)
        except BrokenPipeError:
            pass

    thread = threading.Thread(target=write)
    thread.start()
    try:
        return unpack_local(reader, place)
    finally:
        os.close(reader)
        thread.join()


def archive(*members):
    """A tar of ``(name, type, link or content)``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, rest in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            data = b""
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = rest
            elif kind == tarfile.REGTYPE:
                data = rest
                info.size = len(data)
            if kind == tarfile.DIRTYPE:
                info.mode = 0o755
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


FILE, LINK, HARD, DIR = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


def test_what_is_packed_comes_out_again(tree, tmp_path):
    os.link(tree / "one", tree / "dir" / "hard")
    os.link(tree / "one", tree / "dir" / "hard2")
    os.chmod(tree / "dir" / "two", 0o640)
    os.utime(tree / "dir" / "two", ns=(10**18, 10**18))
    out = tmp_path / "out"
    out.mkdir()
    assert unpacked(packed(local_source("dir", follow=False), "renamed"), Place(str(out), "")) == ()
    assert sorted(os.listdir(out / "renamed")) == ["hard", "hard2", "sub", "two"]
    info = os.stat(out / "renamed" / "two")
    assert (info.st_mode & 0o777, info.st_mtime_ns) == (0o640, 10**18)
    assert os.stat(out / "renamed" / "hard").st_ino == os.stat(out / "renamed" / "hard2").st_ino


@pytest.mark.usefixtures("tree")
def test_owners_are_those_that_a_container_sees():
    uid, gid = os.geteuid(), os.getegid()
    for idmap, owner in (
        (IdMap(), (uid, gid)),
        (IdMap((IdRange(0, uid, 1),), (IdRange(5, gid, 1),)), (0, 5)),
        (IdMap((IdRange(0, uid + 1, 1),), (IdRange(3, gid + 1, 9),)), (0, 0)),
    ):
        data = packed(local_source("one", follow=False), "one", idmap)
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            (member,) = tar
        assert (member.uid, member.gid) == owner


@pytest.mark.usefixtures("tree")
def test_content_joins_what_is_there(tmp_path):
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    (out / "sub" / "old").touch()
    (out / "two").write_text("before\n")
    unpacked(packed(local_source("dir/.", follow=False), "."), Place(str(out), ""))
    assert (out / "two").read_text() == "two\n"
    assert (out / "sub" / "old").exists()


@pytest.mark.parametrize(
    "members",
    [
        [("link", LINK, "/"), ("link/evil", FILE, b"x")],
        [("link", LINK, ".."), ("link/evil", FILE, b"x")],
        [("d", DIR, ""), ("d", LINK, "../outside")],
        [("there/evil", FILE, b"x")],
        [("there/deep/evil", FILE, b"x")],
        [("hard", HARD, "there/secret")],
        [("hard", HARD, "../outside/secret")],
        [("../evil", FILE, b"x"), ("x", HARD, "../../outside/secret")],
    ],
)
def test_nothing_lands_outside(tmp_path, members):
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    out.mkdir()
    (outside / "secret").write_text("s")
    (out / "there").symlink_to(outside)
    with suppress(InvalidInput, Conflict, InvalidArchive):
        unpacked(archive(*members), Place(str(out), ""))
    assert os.listdir(outside) == ["secret"]
    assert sorted(os.listdir(tmp_path)) == ["out", "outside"]
    assert os.stat(outside / "secret").st_nlink == 1


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        (("dir", FILE, b"x"), "cannot overwrite directory 'dir' with non-directory"),
        (("file", DIR, ""), "cannot overwrite non-directory 'file' with directory"),
    ],
)
def test_directories_and_files_do_not_replace_each_other(tmp_path, member, problem):
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(Conflict, match=problem):
        unpacked(archive(member), Place(str(tmp_path), ""))


def test_a_link_is_replaced_not_followed(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "x").symlink_to("target")
    unpacked(archive(("x", FILE, b"new")), Place(str(tmp_path), ""))
    assert (tmp_path / "target").read_text() == "old"
    assert (tmp_path / "x").read_text() == "new"


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_compressed_archives(tmp_path, mode):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    unpacked(out.getvalue(), Place(str(tmp_path), ""))
    assert os.listdir(tmp_path) == ["empty"]


@pytest.mark.parametrize("cut", [100, 512, 700, 1030])
def test_an_archive_that_ends_too_early(tmp_path, cut):
    data = archive(("one", FILE, b"x" * 600), ("two", FILE, b"y" * 600))[:cut]
    try:
        unpacked(data, Place(str(tmp_path), ""))
    except InvalidArchive:
        return
    assert set(os.listdir(tmp_path)) <= {"one"}


def test_a_name_that_is_no_text(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    name = os.fsencode(str(source)) + b"/\xff\xfe"
    with open(name, "w"):
        pass
    out = tmp_path / "out"
    out.mkdir()
    unpacked(packed(local_source(f"{source}/.", follow=False), "."), Place(str(out), ""))
    assert os.listdir(os.fsencode(str(out))) == [b"\xff\xfe"]


_NAMES = st.text(alphabet="ab./", min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(members=st.lists(st.tuples(_NAMES, st.sampled_from([FILE, LINK, HARD, DIR]), _NAMES), max_size=6))
def test_no_archive_leaves_the_directory(tmp_path_factory, members):
    top = tmp_path_factory.mktemp("top")
    out = top / "out"
    out.mkdir()
    (top / "secret").write_text("s")
    data = archive(*((name, kind, rest.encode() if kind == FILE else rest) for name, kind, rest in members))
    with suppress(InvalidInput, Conflict, InvalidArchive, SyscallFailed):
        unpacked(data, Place(str(out), ""))
    assert sorted(os.listdir(top)) == ["out", "secret"]
    assert (top / "secret").read_text() == "s"
    assert os.stat(top / "secret").st_nlink == 1
