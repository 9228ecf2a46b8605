"""Mount points made for a container and taken away again, on plain directories: no mount is needed for that."""

from __future__ import annotations

import os

import pytest

from contextkernel.errors import SyscallFailed
from contextkernel.runtime.mountpoints import MountPoints
from contextkernel.runtime.stubs import remove_stubs

LONG_AGO = 1_000_000_000_000_000_000


@pytest.fixture
def root(tmp_path):
    """A container's root that is its own upper directory."""
    path = tmp_path / "root"
    (path / "etc").mkdir(parents=True)
    for name in ("etc", "."):
        os.utime(path / name, ns=(LONG_AGO, LONG_AGO))
    return path


@pytest.fixture
def points(root):
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield MountPoints(descriptor, descriptor)
    os.close(descriptor)


def make(points, *paths):
    for path in paths:
        os.close(points.directory(path[:-1]) if path.endswith("/") else points.file(path))


def test_existing_ones_are_found(points, root):
    (root / "etc" / "hosts").write_text("content")
    make(points, "/etc/", "/etc/hosts")
    assert points.stubs == points.parents == ()


def test_missing_ones_are_made_and_removed(points, root):
    make(points, "/proc/", "/etc/hosts", "/a/b/c/", "/a/b/file")
    assert [(stub.path, stub.directory) for stub in points.stubs] == [
        ("proc", True),
        ("etc/hosts", False),
        ("a", True),
        ("a/b", True),
        ("a/b/c", True),
        ("a/b/file", False),
    ]
    assert (root / "a" / "b" / "c").is_dir()
    remove_stubs(str(root), points.stubs, points.parents)
    assert sorted(os.listdir(root)) == ["etc"]
    assert os.listdir(root / "etc") == []
    assert os.stat(root).st_mtime_ns == os.stat(root / "etc").st_mtime_ns == LONG_AGO


def test_what_the_program_used_stays(points, root):
    make(points, "/data/", "/etc/hosts")
    (root / "data" / "kept").write_text("")
    (root / "etc" / "hosts").write_text("changed")
    remove_stubs(str(root), points.stubs, points.parents)
    assert (root / "data" / "kept").exists()
    assert (root / "etc" / "hosts").read_text() == "changed"


def test_time_of_a_directory_that_the_program_changed(points, root):
    make(points, "/etc/hosts")
    os.utime(root / "etc", ns=(5, 7))
    remove_stubs(str(root), points.stubs, points.parents)
    assert os.stat(root / "etc").st_mtime_ns == 7
    assert os.listdir(root / "etc") == []


def test_directory_copied_up_for_a_stub_alone_goes_too(root, tmp_path):
    # what overlay does, by hand: the merged view has etc, the upper directory has not, until something is made in it
    upper = tmp_path / "upper"
    upper.mkdir()
    merged, below = (os.open(path, os.O_PATH | os.O_DIRECTORY) for path in (root, upper))
    points = MountPoints(merged, below)
    make(points, "/etc/hosts")
    (upper / "etc").mkdir(mode=(root / "etc").stat().st_mode & 0o7777)
    (upper / "etc" / "hosts").touch()
    after = os.stat(root / "etc").st_mtime_ns
    os.utime(upper / "etc", ns=(after, after))
    os.utime(upper, ns=(LONG_AGO, LONG_AGO))
    remove_stubs(str(upper), points.stubs, points.parents)
    assert os.listdir(upper) == []
    assert os.stat(upper).st_mtime_ns == LONG_AGO
    for descriptor in (merged, below):
        os.close(descriptor)


def test_copied_up_directory_whose_mode_was_changed_stays(root, tmp_path):
    upper = tmp_path / "upper"
    upper.mkdir()
    merged, below = (os.open(path, os.O_PATH | os.O_DIRECTORY) for path in (root, upper))
    points = MountPoints(merged, below)
    make(points, "/etc/hosts")
    (upper / "etc").mkdir()
    (upper / "etc").chmod(0o700)
    (upper / "etc" / "hosts").touch()
    after = os.stat(root / "etc").st_mtime_ns
    os.utime(upper / "etc", ns=(after, after))
    remove_stubs(str(upper), points.stubs, points.parents)
    assert os.listdir(upper) == ["etc"]
    assert os.stat(upper / "etc").st_mtime_ns == LONG_AGO
    for descriptor in (merged, below):
        os.close(descriptor)


def test_links_are_followed_inside(points, root):
    (root / "run").symlink_to("/etc")
    (root / "etc" / "resolv.conf").symlink_to("../somewhere/deep/resolv.conf")
    make(points, "/run/made", "/etc/resolv.conf")
    assert (root / "etc" / "made").exists()
    assert (root / "somewhere" / "deep" / "resolv.conf").exists()
    remove_stubs(str(root), points.stubs, points.parents)
    assert sorted(os.listdir(root)) == ["etc", "run"]


@pytest.mark.parametrize("link", ["/../../../../{outside}", "{outside}", "../../../../../..{outside}"])
def test_attack_link_that_leads_outside(points, root, tmp_path, link):
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "link").symlink_to(link.format(outside=outside))
    make(points, "/link/file", "/link/directory/")
    assert os.listdir(outside) == []
    remove_stubs(str(root), points.stubs, points.parents)
    assert sorted(os.listdir(root)) == ["etc", "link"]


def test_attack_stub_replaced_by_a_link(points, root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "hosts").touch()
    make(points, "/a/hosts")
    (root / "a" / "hosts").unlink()
    (root / "a").rmdir()
    (root / "a").symlink_to(outside)
    remove_stubs(str(root), points.stubs, points.parents)
    assert (outside / "hosts").exists()


def test_file_in_the_way(points, root):
    (root / "file").write_text("")
    with pytest.raises(SyscallFailed, match="not a directory"):
        points.directory("/file/x")
    with pytest.raises(SyscallFailed, match="not a directory"):
        points.directory("/file")


def test_link_loop(points, root):
    (root / "loop").symlink_to("loop")
    with pytest.raises(SyscallFailed, match="symbolic links"):
        points.file("/loop")
