"""The index row of a file, from what the file system says of it."""

from __future__ import annotations

import os
import stat

from contextkernel.model.layers import Entry, EntryKind

KINDS: dict[int, EntryKind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}
"""What a type of stat(2) is called in an index; a socket is nothing without its process."""


def file_row(
    path: str,
    kind: EntryKind,
    info: os.stat_result,
    owner: tuple[int, int],
    *,
    link: str = "",
    xattrs: dict[str, bytes] | None = None,
) -> Entry:
    """The row of what ``info`` tells; without the digest of a file's content.

    Args:
        path: clean, relative.
        kind: what it counts as.
        info: has mode, size, time and device number.
        owner: ids of user and group that it counts as having.
        link: target of a link.
        xattrs: extended attributes that it keeps.
    """
    device = kind in {"char", "block"}
    return Entry(
        path=path,
        kind=kind,
        mode=stat.S_IMODE(info.st_mode),
        uid=owner[0],
        gid=owner[1],
        size=info.st_size if kind == "file" else 0,
        mtime=max(0, info.st_mtime_ns),
        link=link,
        xattrs=xattrs or {},
        major=os.major(info.st_rdev) if device else 0,
        minor=os.minor(info.st_rdev) if device else 0,
    )
