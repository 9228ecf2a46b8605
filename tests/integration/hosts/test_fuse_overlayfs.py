"""Why layers are not laid over each other by fuse-overlayfs: the probe tells it of the program that is installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from contextkernel.host import probe_fuse, trying
from contextkernel.linux import mount, namespaces

DEVICE = "/dev/fuse"
# an ordinary user may open the device where udev has set its mode: that is a matter of the machine
pytestmark = pytest.mark.root


def opens() -> bool:
    """Whether there is a device for it."""
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def apart(action: Callable[[], bool]) -> bool:
    """Do it where mounts are nobody else's."""

    def act() -> bool:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mount.make_private()
        return action()

    return trying.in_child(act)


def test_the_kernel_s_overlay_leaves_what_a_layer_is_to_have(tmp_path: Path) -> None:
    lower, upper, work, merged = (tmp_path / name for name in ("lower", "upper", "work", "merged"))
    for path in (lower, upper, work, merged):
        path.mkdir()
    probe_fuse.fill(str(lower))

    def on_overlay() -> bool:
        mount.overlay(str(merged), lowers=(str(lower),), upper=str(upper), work=str(work))
        probe_fuse.change(str(merged))
        mount.umount(str(merged))
        return probe_fuse.differences(str(upper)) == ()

    assert apart(on_overlay)


@pytest.mark.may_skip
@pytest.mark.skipif(not opens(), reason=f"this host has no {DEVICE} that opens")
def test_fuse_overlayfs_leaves_other_changes(tmp_path: Path) -> None:
    """When this fails, look again: a version that leaves the same could stand in for the kernel's overlay."""
    program = shutil.which("fuse-overlayfs")
    assert program, "install fuse-overlayfs"
    said = tmp_path / "said"

    def on_fuse() -> bool:
        try:
            probe_fuse.try_fuse_overlayfs(str(tmp_path), program)
        except trying.Limited as limit:
            said.write_text(str(limit))
        return True

    assert apart(on_fuse)
    assert "is another name's" in said.read_text()
    assert "a directory's time changes" in said.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["said"]
