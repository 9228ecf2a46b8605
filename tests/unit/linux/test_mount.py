"""What is asked of the kernel for an overlay, without asking it; mounting for real is in tests/integration."""

from __future__ import annotations

import errno
import os

import pytest

from contextkernel.errors import SyscallFailed
from contextkernel.linux import mount


@pytest.fixture
def asked(monkeypatch):
    calls: list[tuple[str, str, int, str, str]] = []

    def record(_source, target, fstype=None, flags=0, data=None):
        calls.append((target, os.getcwd(), flags, data, fstype))

    monkeypatch.setattr(mount, "mount", record)
    return calls


def layers(parent, count: int, name: str = "{}") -> list[str]:
    paths = [parent / name.format(number) / "diff" for number in range(count)]
    for path in paths:
        path.mkdir(parents=True)
    return [str(path) for path in paths]


def test_lowers_top_first_and_relative(asked, tmp_path):
    here = os.getcwd()
    mount.overlay("/target", lowers=layers(tmp_path, 3), upper="/u", work="/w", flags=mount.MS_NODEV)
    ((target, directory, flags, data, fstype),) = asked
    assert (target, directory, flags, fstype) == ("/target", str(tmp_path), mount.MS_NODEV, "overlay")
    assert data.startswith("lowerdir=2/diff:1/diff:0/diff,upperdir=/u,workdir=/w,")
    assert "userxattr" not in data
    assert "volatile" not in data
    assert os.getcwd() == here


def test_switches(asked, tmp_path):
    mount.overlay("/t", lowers=layers(tmp_path, 1), userxattr=True, volatile=True)
    words = asked[0][3].split(",")
    assert words[0] == "lowerdir=diff"
    assert {"userxattr", "volatile", "index=off"} <= set(words)
    assert not [word for word in words if word.startswith(("upperdir", "workdir"))]


def test_separators_in_names_are_quoted(asked, tmp_path):
    mount.overlay("/t", lowers=layers(tmp_path, 2, "a:b,c\\{}"), upper="/u,1", work="/w:1")
    assert asked[0][3].startswith("lowerdir=a\\:b\\,c\\\\1/diff:a\\:b\\,c\\\\0/diff,upperdir=/u\\,1,workdir=/w\\:1,")


def test_more_layers_than_fit_are_given_as_descriptors(asked, tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    here = os.getcwd()
    mount.overlay("/t", lowers=layers(tmp_path, 120, "x" * 60 + "{}"), upper="/u", work="/w")
    _, directory, _, data, _ = asked[0]
    assert directory == f"/proc/{os.getpid()}/fd"
    assert all(word.isdigit() for word in data.partition("=")[2].partition(",")[0].split(":"))
    assert len(data) < 4096
    assert len(os.listdir("/proc/self/fd")) == before
    assert os.getcwd() == here


def test_failure_says_what_it_means(monkeypatch, tmp_path):
    def refuse(*_args):
        raise SyscallFailed("mount overlay", errno.EINVAL, "/t")

    monkeypatch.setattr(mount, "mount", refuse)
    with pytest.raises(SyscallFailed) as caught:
        mount.overlay("/t", lowers=layers(tmp_path, 1), upper="/u", work="/w")
    assert "may not carry an overlay" in caught.value.hint
    assert caught.value.number == errno.EINVAL


def test_missing_layer_is_named():
    with pytest.raises(SyscallFailed, match="no such file or directory"):
        mount.overlay("/t", lowers=["/no/such/place/diff"])


def test_kernel_refusal_is_an_error_with_call_and_path(tmp_path):
    with pytest.raises(SyscallFailed) as caught:
        mount.mount("none", str(tmp_path / "missing"), "tmpfs")
    assert caught.value.call == "mount tmpfs"
    assert caught.value.number in (errno.ENOENT, errno.EPERM)
    with pytest.raises(SyscallFailed, match="umount"):
        mount.umount(str(tmp_path))
