"""Single probes, each in a process that is thrown away."""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from contextkernel.host import probe_confinement as confinement
from contextkernel.host import probe_files as files
from contextkernel.host import probe_fuse, resources, trying
from contextkernel.host.findings import Outcome

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")


def tried(action: Callable[[], str | None], name: str = "x") -> Outcome:
    """What :func:`trying.attempt` says of an action in a fork."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(writer, 1)
            trying.attempt(name, action)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read()
    os.waitpid(pid, 0)
    return msgspec.json.decode(said, type=Outcome)


@linux
def test_a_supervisor_answers_a_call() -> None:
    assert tried(confinement.try_seccomp_notify).verdict == "works"


@linux
def test_landlock_keeps_a_signal_in_or_says_its_version() -> None:
    found = tried(confinement.try_landlock)
    if found.verdict == "refused":
        assert "no Landlock" in found.problem
    else:
        assert found.detail.startswith("ABI ")


@linux
def test_attributes_and_blocks(tmp_path: Path) -> None:
    assert tried(lambda: files.try_user_xattrs(str(tmp_path))).verdict == "works"
    shared = tried(lambda: files.try_reflink(str(tmp_path)))
    assert shared.verdict == "works" or shared.number in (errno.ENOTSUP, errno.EINVAL, errno.ENOTTY)
    assert os.listdir(tmp_path) == []


@linux
def test_marks(tmp_path: Path) -> None:
    found = tried(lambda: files.try_whiteout_node(str(tmp_path)))
    assert found.verdict == "works" or found.number == errno.EPERM
    assert os.listdir(tmp_path) == []


@linux
def test_fuse_overlayfs_needs_device_and_program(tmp_path: Path) -> None:
    found = tried(lambda: probe_fuse.try_fuse_overlayfs(str(tmp_path), None))
    assert found.verdict == "refused"
    assert found.number or "not installed" in found.problem


@linux
def test_what_an_overlay_leaves_of_a_change_is_held_against_what_it_should(tmp_path: Path) -> None:
    good, poor = tmp_path / "good", tmp_path / "poor"
    for upper in (good, poor):
        upper.mkdir()
        probe_fuse.fill(str(upper))
    kept = good / "kept"
    (kept / "two").unlink()  # an overlay copies each name up by itself
    (kept / "two").touch()
    os.utime(kept, (1_000_000_000, 1_000_000_000))
    probe_fuse.change(str(good))
    assert probe_fuse.differences(str(good)) == ()
    probe_fuse.change(str(poor))  # both names are one file
    (poor / "kept/pipe").unlink()
    (poor / "kept/pipe").touch()
    words = ("several names", "FIFO", "directory's time")
    found = probe_fuse.differences(str(poor))
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


def proot(tmp_path: Path) -> str:
    """A stand-in that wants what proot gets: a loader of its own that may be executed."""
    loader = b"\x7fELF\x02\x01\x01" + struct.pack("<33xQ10xHH2x", 64, 64, 0)
    path = tmp_path / "proot"
    path.write_bytes(b'#!/bin/sh\ntest -x "$PROOT_LOADER"\nexit\n' + loader)
    path.chmod(0o700)
    return str(path)


@linux
def test_proot_is_tried_with_a_loader_in_the_store_as_the_engine_runs_it(tmp_path: Path) -> None:
    place = tmp_path / "probe-x"
    place.mkdir()
    assert tried(lambda: confinement.try_proot(proot(tmp_path), str(place))).verdict == "works"
    assert [path.name for path in place.iterdir()] == ["loader"]


@linux
def test_proot_is_of_no_use_to_a_store_whose_programs_may_not_be_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = list(os.statvfs(tmp_path))
    facts[8] |= os.ST_NOEXEC
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(facts))
    found = tried(lambda: confinement.try_proot(proot(tmp_path), str(tmp_path)))
    assert (found.verdict, found.number) == ("refused", errno.EACCES)


@linux
def test_room_and_memory_and_processors(tmp_path: Path) -> None:
    total, free, _ = resources.memory()
    assert 0 < free <= total
    assert 0 < resources.processors() <= (os.cpu_count() or 1)
    assert " free of " in resources.try_disk(str(tmp_path))


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "overlay"), ("/home/x", "ext4"), ("/home", "ext4"), ("/homes", "overlay"), ("/a b/c", "tmpfs")],
)
def test_the_kind_of_a_file_system(path: str, kind: str) -> None:
    mounts = (
        "1 0 0:1 / / rw - overlay overlay rw\n"
        "2 1 0:2 / /home rw - nfs server rw\n"
        "3 1 0:3 / /home rw - ext4 /dev/sda rw\n"
        "4 1 0:4 / /a\\040b rw shared:1 - tmpfs tmpfs rw\n"
    )
    assert resources.kind_of(path, mounts) == kind


def test_what_is_not_wanted_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(trying.WITHOUT_VARIABLE, "user_namespace, overlay")

    def never() -> str:
        raise AssertionError

    for name in ("user_namespace", "id_range", "overlay"):
        found = tried(never, name)
        assert (found.verdict, found.problem) == ("refused", "not wanted: CONTEXTKERNEL_WITHOUT has it")
        assert found.unwanted
    assert tried(lambda: "yes", "seccomp").detail == "yes"
