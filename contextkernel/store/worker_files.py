"""Files as COPY takes them: content inside of the kernel, holes as holes, attributes as far as they mean something."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from contextkernel.errors import InvalidInput, SyscallFailed
from contextkernel.linux.xattr import OWN_PREFIXES

_CHUNK = 1 << 30
_SHARED = 1 << 22  # below it, sharing blocks costs more than it saves
_SKIPPED_XATTRS = (*OWN_PREFIXES, "security.selinux")
#: copy_file_range(2) cannot do it between these two files: another way has to
_NOT_HERE = {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EIO}


def is_whiteout(info: os.stat_result) -> bool:
    """Whether this is a whiteout, seen in a layer that is not mounted as part of an overlay."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def new_file(parent: int, name: str) -> int:
    """A descriptor of a new file in the directory ``parent``, for writing."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=parent)


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Say which file of the source may not be read."""
    try:
        yield
    except (PermissionError, SyscallFailed) as problem:
        if isinstance(problem, SyscallFailed) and problem.number != errno.EACCES:
            raise
        raise InvalidInput(
            f"cannot read {path!r} of the source: permission denied",
            hint="make it readable, or leave it out with .dockerignore",
        ) from problem


def xattrs_of(descriptor: int) -> dict[str, bytes]:
    """The attributes of an open file that belong to it rather than to the machine."""
    try:
        found = os.listxattr(descriptor)
    except OSError:
        return {}
    return {name: os.getxattr(descriptor, name) for name in found if not name.startswith(_SKIPPED_XATTRS)}


def copy_bytes(source: int, target: int, info: os.stat_result) -> None:
    """Copy a file's content inside of the kernel, shared where the file system can; holes stay holes."""
    if info.st_blocks * 512 >= info.st_size:
        _send(source, target, 0, info.st_size)
        return
    at = 0
    while at < info.st_size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as problem:
            if problem.errno == errno.ENXIO:
                break  # nothing but a hole from here on
            raise
        at = os.lseek(source, start, os.SEEK_HOLE)
        _send(source, target, start, at - start)
    os.ftruncate(target, info.st_size)


def _send(source: int, target: int, start: int, count: int) -> None:
    at, end = start, start + count
    while count >= _SHARED and at < end:
        try:
            sent = os.copy_file_range(source, target, min(end - at, _CHUNK), at, at)
        except OSError as problem:
            if problem.errno not in _NOT_HERE:
                raise
            break
        if not sent:
            break
        at += sent
    os.lseek(target, at, os.SEEK_SET)
    while at < end:
        sent = os.sendfile(target, source, at, min(end - at, _CHUNK))
        if not sent:
            break
        at += sent
