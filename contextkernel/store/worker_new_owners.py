"""With a single id: whose the files of a program are, as far as the host cannot say it.

What a program makes belongs to the user it runs as, and to the group of a set-group-ID directory that it is in
(mkdir(2), open(2)). On the host all of it is 0:0. Whom the program was to run as, its launch has noted on the root of
its files (:class:`contextkernel.runtime.operations.NoteUser`); what chown has said, on the files themselves
(:mod:`contextkernel.store.worker_records`).

A program that rewrites a file (``sed -i``, ``useradd``) gives the new one the owner that it saw the old one have. With
a single id it saw root, whoever it is in truth: such a file keeps the owner of the one it replaces. What shadow's
programs keep as a copy beside the new file (``/etc/shadow-``) has the owner of that.
"""

from __future__ import annotations

import stat
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType

from msgspec.structs import replace

from contextkernel.layer import names
from contextkernel.linux import xattr
from contextkernel.model.layers import Entry
from contextkernel.model.recorded import RecordedOwner
from contextkernel.store.worker_owners import Owner
from contextkernel.store.worker_records import Marks

_MARKS = ("whiteout", "opaque")
#: shadow, lib/commonio.c create_backup: with the owner that the file has
_COPIES = {f"{path}-": path for path in ("etc/shadow", "etc/gshadow")}


def noted_user(diff: str) -> Owner:
    """Whom programs that write to a directory tree run as; root if nothing else was noted.

    Args:
        diff: path of its root.
    """
    value = xattr.get(diff, xattr.USER)
    with suppress(ValueError):
        uid, gid = (value or b"0:0").split(b":")
        return int(uid), int(gid)
    return 0, 0  # not what was noted: a program of the container's wrote it


def with_new_owners(
    rows: list[Entry], known: Sequence[Container[str]], user: Owner, noted: Mapping[str, Marks] = MappingProxyType({})
) -> list[Entry]:
    """Rows of a directory with the owners of what is new in it.

    Args:
        rows: all of it, in index order, with the owners that are known.
        known: paths of which somebody knows the owner: it was given, or (the last ones) they were there before.
        user: uid and gid of whoever made the others.
        noted: what is noted of each.

    Returns:
        The same rows; names of one file have one owner.
    """
    *given_to, below = known or ((),)
    rewritten = {
        row.path: marks.earlier or RecordedOwner()
        for row in rows
        if row.kind == "file"
        and (marks := noted.get(row.path))
        and marks.new
        and marks.root
        and (row.path in below or marks.earlier)
    }

    def is_new(path: str) -> bool:
        if any(path in paths for paths in given_to):
            return False
        marks = noted.get(path)
        return path not in below or bool(marks and marks.new and path not in rewritten)

    def said(path: str, owner: Owner) -> Owner:
        """What chown has said is true, unless it was for a file that is to replace another."""
        marks = noted.get(path)
        if marks is None or any(path in paths for paths in given_to):
            return owner
        if path not in rewritten and not marks.fresh and not is_new(path):
            return owner
        uid, gid = rewritten.get(path, marks.owner)
        return owner[0] if uid is None else uid, owner[1] if gid is None else gid

    given: dict[str, Owner] = {}  # by a further name of a file
    for row in rows:
        if row.kind == "hardlink" and is_new(row.link) and not is_new(row.path):
            given.setdefault(row.link, (row.uid, row.gid))
    groups: dict[str, int] = {}  # of set-group-ID directories
    owners: dict[str, Owner] = {}
    found: list[Entry] = []
    for row in rows:
        if row.kind in _MARKS:
            found.append(row)
            continue
        uid, gid = row.uid, row.gid
        if row.kind == "hardlink" and row.link in owners:
            uid, gid = owners[row.link]
        elif row.path in given:
            uid, gid = given[row.path]
        elif is_new(row.path):
            uid, gid = user[0], groups.get(names.split(row.path)[0], user[1])
        uid, gid = said(row.path, (uid, gid))
        if (uid, gid) == (0, 0) and _COPIES.get(row.path) in owners and is_new(row.path):
            uid, gid = owners[_COPIES[row.path]]
        if row.kind == "dir" and row.mode & stat.S_ISGID:
            groups[row.path] = gid
        owners[row.path] = uid, gid
        found.append(row if (uid, gid) == (row.uid, row.gid) else replace(row, uid=uid, gid=gid))
    return found
