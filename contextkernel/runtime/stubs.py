"""Taking away, after the exit, the mount points that were made for a container: what is left is its own changes."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from contextkernel.errors import ContextKernelError
from contextkernel.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from contextkernel.linux.xattr import is_opaque
from contextkernel.runtime.messages import Stub, StubParent

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


def remove_stubs(upper: str, stubs: Sequence[Stub], parents: Sequence[StubParent]) -> None:
    """Remove the stubs that are still empty, and put the times of their directories back.

    A directory's time goes back to what it was unless the program changed the directory too. A directory that overlay
    copied up for the stub alone is removed as well. Nothing is raised: what cannot be removed stays.

    Args:
        upper: the writable directory; the container has ended.
        stubs: what was created, outermost first.
        parents: the directories in which that was.
    """
    try:
        root = os.open(upper, _DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        touched = {parent.path: _mtime(root, parent.path) for parent in parents}
        for stub in reversed(stubs):
            _remove(root, stub)
        # inner directories first, so that an outer one is seen without them
        for parent in sorted(parents, key=lambda parent: -parent.path.count("/")):
            _restore(root, parent, touched[parent.path])
    finally:
        os.close(root)


def _open(root: int, path: str) -> int:
    return openat2(root, path or ".", _DIRECTORY, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)


def _mtime(root: int, path: str) -> int:
    try:
        directory = _open(root, path)
    except ContextKernelError:
        return -1
    try:
        return os.fstat(directory).st_mtime_ns
    finally:
        os.close(directory)


def _remove(root: int, stub: Stub) -> None:
    parent, name = os.path.split(stub.path)
    try:
        directory = _open(root, parent)
    except ContextKernelError:
        return
    try:
        if stub.directory:
            os.rmdir(name, dir_fd=directory)
        else:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and found.st_size == 0:
                os.unlink(name, dir_fd=directory)
    except OSError:
        pass
    finally:
        os.close(directory)


def _restore(root: int, parent: StubParent, found: int) -> None:
    try:
        directory = _open(root, parent.path)
    except ContextKernelError:
        return
    try:
        status = os.fstat(directory)
        untouched = found == parent.after
        same = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (parent.mode, parent.uid, parent.gid)
        if (
            untouched
            and same
            and parent.ours
            and parent.path
            and not os.listdir(directory)
            and not is_opaque(directory)
        ):
            _remove_directory(root, parent.path)
            return
        os.utime(directory, ns=(status.st_atime_ns, parent.before if untouched else found))
    except OSError:
        pass
    finally:
        os.close(directory)


def _remove_directory(root: int, path: str) -> None:
    """Remove a directory and leave the time of the one around it as it is."""
    outer, name = os.path.split(path)
    try:
        directory = _open(root, outer)
    except ContextKernelError:
        return
    try:
        status = os.fstat(directory)
        os.rmdir(name, dir_fd=directory)
        os.utime(directory, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(directory)
