"""Probes of the file system that the store is on: what it stores, what it copies cheaply, what may lie on top of it."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat

from contextkernel.errors import ContextKernelError
from contextkernel.host.trying import Limited, Refused
from contextkernel.linux import mount as mounts

_FICLONE = 0x4004_9409  # <linux/fs.h>


def try_user_xattrs(place: str) -> None:
    """Give a file an attribute of ours (xattr(7)): owners that programs set are kept in such, and overlay's marks."""
    path = os.path.join(place, "attributes")
    with open(path, "wb"):
        pass
    try:
        os.setxattr(path, "user.contextkernel.probe", b"y")
        if os.getxattr(path, "user.contextkernel.probe") != b"y":
            raise Refused("an attribute that was set is not there")
    finally:
        os.unlink(path)


def try_reflink(place: str) -> None:
    """Let a file share another one's blocks (ioctl_ficlone(2)): a copy of a tree costs no room and little time then."""
    paths = [os.path.join(place, name) for name in ("shared", "sharing")]
    try:
        with open(paths[0], "wb") as source:
            source.write(b"x" * 4096)
        with open(paths[0], "rb") as source, open(paths[1], "wb") as copy:
            fcntl.ioctl(copy.fileno(), _FICLONE, source.fileno())
        if os.stat(paths[1]).st_size != 4096:
            raise Refused("a file that shares another one's blocks is empty")
    finally:
        for path in paths:
            if os.path.exists(path):
                os.unlink(path)


def try_whiteout_node(place: str) -> str:
    """Make overlay's mark of a removed file, a character device 0:0, which needs no privilege (mknod(2), Linux 5.8)."""
    path = os.path.join(place, "mark")
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(0, 0))
    os.unlink(path)
    return "character devices 0:0"


def try_whiteout_xattr(place: str) -> str:
    """Have a mount honour the mark as an attribute of a file (overlayfs.rst, "Whiteouts"; Linux 6.7).

    For file systems where character devices cannot be made: another overlay.

    Raises:
        Limited: it does; device nodes would be better, since older kernels do not.
    """
    base, top, merged = (os.path.join(place, name) for name in ("marked", "marks", "seen"))
    try:
        for path in (base, top, merged):
            os.mkdir(path)
        for path in (base, top):
            with open(os.path.join(path, "file"), "wb"):
                pass
        os.setxattr(os.path.join(top, "file"), "user.overlay.whiteout", b"y")
        os.setxattr(top, "user.overlay.opaque", b"x")
        mounts.overlay(merged, lowers=(base, top), userxattr=True)
        try:
            if os.listdir(merged):
                raise Refused("the kernel does not honour attributes as marks of removed files")
        finally:
            mounts.umount(merged)
    finally:
        for path in (base, top, merged):
            shutil.rmtree(path, ignore_errors=True)
    raise Limited("attributes user.overlay.whiteout; character devices 0:0 cannot be made here")


def try_overlay(place: str, *, userxattr: bool) -> str:
    """Mount an overlay in ``place`` and change it as a build step does.

    Some hosts mount it and fail later, so a file and a directory of the lower layer are removed, and the marks that
    the kernel leaves for them are looked at: they are what makes the upper directory a layer.
    """
    lower, upper, work, merged = lower_and_rest(place)
    attribute = "user.overlay.opaque" if userxattr else "trusted.overlay.opaque"
    try:
        # volatile: unmounting would otherwise wait until the whole file system is synced
        mounts.overlay(merged, lowers=(lower,), upper=upper, work=work, userxattr=userxattr, volatile=True)
        try:
            remove_and_replace(merged)
        finally:
            mounts.umount(merged)
        mark = os.lstat(os.path.join(upper, "file"))
        if not stat.S_ISCHR(mark.st_mode) or mark.st_rdev:
            raise Refused(f"the mark of a removed file has mode {mark.st_mode:o}")
        if os.getxattr(os.path.join(upper, "directory"), attribute) != b"y":
            raise Refused(f"a replaced directory has no {attribute}")
    finally:
        # here, where the owner of overlay's work directory has power over it
        for path in (lower, upper, work, merged):
            shutil.rmtree(path, ignore_errors=True)
    return f"native, marks in {attribute.partition('.')[0]}.overlay"


def overlay_works(place: str, *, userxattr: bool) -> bool:
    """Whether :func:`try_overlay` works in ``place``."""
    try:
        try_overlay(place, userxattr=userxattr)
    except (ContextKernelError, OSError, Refused):
        return False
    return True


def lower_and_rest(place: str) -> tuple[str, ...]:
    """Paths of a lower directory with a file and a directory in it, of an upper, a work and a mount point; all made."""
    paths = tuple(os.path.join(place, name) for name in ("lower", "upper", "work", "merged"))
    for path in (*paths, os.path.join(paths[0], "directory")):
        os.mkdir(path)
    for name in ("file", "directory/file"):
        with open(os.path.join(paths[0], name), "w", encoding="ascii") as file:
            file.write("below")
    return paths


def remove_and_replace(merged: str) -> None:
    """Remove the file, and the directory for an empty one; look whether that is what is there now."""
    os.unlink(os.path.join(merged, "file"))
    shutil.rmtree(os.path.join(merged, "directory"))
    os.mkdir(os.path.join(merged, "directory"))
    if "file" in os.listdir(merged) or os.listdir(os.path.join(merged, "directory")):
        raise Refused("what was removed is still there")
