"""Names in an untrusted tree: nothing in it leads outside."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

import pytest

from contextkernel.errors import SyscallFailed
from contextkernel.linux.openat2 import make_dirs_in_root, open_beneath, open_in_root


@pytest.fixture
def root(tmp_path):
    """``tree/`` with links of all kinds, and ``secret`` beside it."""
    (tmp_path / "secret").write_text("outside")
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "secret").write_text("inside")
    (tree / "up").symlink_to("../secret")
    (tree / "absolute").symlink_to("/secret")
    (tree / "way-up").symlink_to("../../../../../../secret")
    (tree / "inner").symlink_to("etc/../secret")
    (tree / "jump").symlink_to("/proc/self/root")
    descriptor = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def read(descriptor: int) -> str:
    with os.fdopen(descriptor) as file:
        return file.read()


@pytest.mark.parametrize(
    "path", ["secret", "/secret", "../secret", "/../../secret", "up", "absolute", "way-up", "inner", "etc/../../secret"]
)
def test_attack_everything_stays_inside(root, path):
    assert read(open_in_root(root, path, os.O_RDONLY)) == "inside"


@pytest.mark.parametrize("path", ["../secret", "up", "absolute", "way-up", "/secret"])
def test_attack_leaving_is_an_error_beneath(root, path):
    with pytest.raises(SyscallFailed) as caught:
        open_beneath(root, path, os.O_RDONLY)
    assert caught.value.number == errno.EXDEV


def test_beneath_follows_links_that_stay(root):
    assert read(open_beneath(root, "inner", os.O_RDONLY)) == "inside"


def test_attack_jump_links_of_proc():
    slash = os.open("/", os.O_PATH | os.O_DIRECTORY)
    with pytest.raises(SyscallFailed) as caught:
        open_in_root(slash, "/proc/self/exe", os.O_RDONLY)
    assert caught.value.number == errno.ELOOP
    os.close(slash)


def test_missing_file_names_call_and_path(root):
    with pytest.raises(SyscallFailed) as caught:
        open_in_root(root, "/etc/none", os.O_RDONLY)
    assert caught.value.problem == "openat2 /etc/none: no such file or directory (errno 2)"
    assert (caught.value.call, caught.value.number, caught.value.path) == ("openat2", errno.ENOENT, "/etc/none")


def test_created_with_mode_and_close_on_exec(root, tmp_path):
    descriptor = open_in_root(root, "new", os.O_WRONLY | os.O_CREAT, 0o640)
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
    assert (tmp_path / "tree" / "new").stat().st_mode & 0o777 == 0o640


def test_directories_are_made_inside(root, tmp_path):
    (tmp_path / "tree" / "link").symlink_to("/etc")
    descriptor, made = make_dirs_in_root(root, "/link/a/./b//c")
    os.close(descriptor)
    assert made == ("link/a", "link/a/b", "link/a/b/c")
    assert (tmp_path / "tree" / "etc" / "a" / "b" / "c").is_dir()
    descriptor, made = make_dirs_in_root(root, "link/a/b")
    os.close(descriptor)
    assert made == ()


@pytest.mark.parametrize("path", ["../../x", "way/../../../x", "/../x"])
def test_attack_directories_above(root, tmp_path, path):
    before = set(os.listdir(tmp_path))
    with suppress(SyscallFailed):
        os.close(make_dirs_in_root(root, path)[0])
    assert set(os.listdir(tmp_path)) == before


def test_root_itself(root):
    descriptor, made = make_dirs_in_root(root, "/")
    assert made == ()
    assert os.path.samestat(os.fstat(descriptor), os.fstat(root))
    os.close(descriptor)


def test_file_in_the_way(root):
    with pytest.raises(SyscallFailed) as caught:
        make_dirs_in_root(root, "/secret/x")
    assert caught.value.number == errno.ENOTDIR
