"""Marks in a layer's directory for what it removes: overlay's own, in the form that the file system takes.

Linux has two forms (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories"): a character device
0:0, and, from 6.7, an empty file with an attribute in a directory that is marked too. Where not even attributes can be
set, what fuse-overlayfs and archives have is left: a file whose name says it. The layer's index says it in any case.
"""

from __future__ import annotations

import errno
import os
import stat

from contextkernel.layer import names
from contextkernel.store.worker_tree import Ids, Tree

_NO_DEVICES = {errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS}


def white_out(tree: Tree, path: str, ids: Ids, *, needless: bool = False) -> None:
    """Make overlay hide ``path`` of the layers below.

    Args:
        tree: of the layer.
        path: in it.
        ids: how marks are spelled.
        needless: its directory is opaque; then only a device is made, since overlay shows the other forms there.
    """
    directory, name = tree.parent(path)
    try:
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=directory)
        return
    except OSError as problem:
        # the store lies on an overlay, which keeps 0:0 devices to itself, or on a file system without devices
        if problem.errno not in _NO_DEVICES:
            raise
    if needless:
        return
    descriptor = _new(directory, name)
    try:
        marked = _set(descriptor, "whiteout", b"y", ids)
    finally:
        os.close(descriptor)
    if not marked or not _mark(tree, names.split(path)[0], ids, b"x"):
        os.rename(name, names.WHITEOUT + name, src_dir_fd=directory, dst_dir_fd=directory)


def make_opaque(tree: Tree, path: str, ids: Ids) -> None:
    """Make overlay hide everything below the directory ``path`` of lower layers."""
    if not _mark(tree, path, ids, b"y"):
        os.close(_new(tree.directory(path), names.OPAQUE))


def _new(directory: int, name: str) -> int:
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)


def _mark(tree: Tree, path: str, ids: Ids, value: bytes) -> bool:
    descriptor = tree.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if value == b"x":  # an opaque directory stays one
            for prefix in (ids.xattr, "user.overlay."):
                try:
                    if os.getxattr(descriptor, f"{prefix}opaque") == b"y":
                        return True
                except OSError:
                    continue
        return _set(descriptor, "opaque", value, ids)
    finally:
        os.close(descriptor)


def _set(descriptor: int, name: str, value: bytes, ids: Ids) -> bool:
    """Set an attribute of overlay; root of a container may only set those of users."""
    for prefix in dict.fromkeys((ids.xattr, "user.overlay.")):
        try:
            os.setxattr(descriptor, f"{prefix}{name}", value)
        except OSError as problem:
            if problem.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.EACCES}:
                raise
        else:
            return True
    return False
