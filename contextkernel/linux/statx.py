"""statx(2): what a file is, with what os.stat does not tell: when it was made, and the mount it was found on."""

from __future__ import annotations

import ctypes
import os
from typing import NamedTuple

from contextkernel.linux.libc import AT_EMPTY_PATH, check, libc

_BASIC = 0x7FF  # STATX_BASIC_STATS
_BTIME = 0x800
_MNT_ID = 0x1000  # Linux 5.8
_WANTED = _BASIC | _BTIME | _MNT_ID
_AT_SYMLINK_NOFOLLOW = 0x100


class _Time(ctypes.Structure):
    _fields_ = (("sec", ctypes.c_int64), ("nsec", ctypes.c_uint32), ("_", ctypes.c_int32))


class _Statx(ctypes.Structure):
    _fields_ = (
        ("mask", ctypes.c_uint32),
        ("blksize", ctypes.c_uint32),
        ("attributes", ctypes.c_uint64),
        ("nlink", ctypes.c_uint32),
        ("uid", ctypes.c_uint32),
        ("gid", ctypes.c_uint32),
        ("mode", ctypes.c_uint16),
        ("_0", ctypes.c_uint16),
        ("ino", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("blocks", ctypes.c_uint64),
        ("attributes_mask", ctypes.c_uint64),
        ("atime", _Time),
        ("btime", _Time),
        ("ctime", _Time),
        ("mtime", _Time),
        ("rdev_major", ctypes.c_uint32),
        ("rdev_minor", ctypes.c_uint32),
        ("dev_major", ctypes.c_uint32),
        ("dev_minor", ctypes.c_uint32),
        ("mnt_id", ctypes.c_uint64),
        ("_1", ctypes.c_uint64 * 13),
    )


class Facts(NamedTuple):
    """What a file is.

    Attributes:
        mode: type and permission bits.
        device, inode: which file it is.
        made: nanoseconds since the epoch; 0 where the file system does not know.
        mount: id of the mount it was found on; 0 before Linux 5.8.
    """

    mode: int
    device: tuple[int, int]
    inode: int
    made: int
    mount: int

    @property
    def place(self) -> tuple[int, ...]:
        """The mount it was found on, or, where that is not known, its device."""
        return (self.mount,) if self.mount else self.device


def look(descriptor: int, name: bytes = b"") -> Facts:
    """What an open file is (``O_PATH`` will do), or what a name in an open directory is; links are not followed.

    Raises:
        SyscallFailed: it cannot be told.
    """
    found = _Statx()
    flags = AT_EMPTY_PATH | _AT_SYMLINK_NOFOLLOW
    check(
        libc.statx(ctypes.c_int(descriptor), name, ctypes.c_int(flags), ctypes.c_uint(_WANTED), ctypes.byref(found)),
        "statx",
        os.fsdecode(name),
    )
    return Facts(
        mode=found.mode,
        device=(found.dev_major, found.dev_minor),
        inode=found.ino,
        made=found.btime.sec * 1_000_000_000 + found.btime.nsec if found.mask & _BTIME else 0,
        mount=found.mnt_id if found.mask & _MNT_ID else 0,
    )
