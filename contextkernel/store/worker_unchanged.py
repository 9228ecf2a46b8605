"""Entries of an overlay upper directory that are what lies below: a layer does not have them.

A program that sets an owner, a mode or a link to what it was makes overlay copy the file up; containerd's differ
(``continuity/fs/diff.go``, ``sameDirent``) leaves such files out, so that ``RUN chown -R root /srv`` that changes
nothing makes an empty layer. Directories count by owner, mode and capability alone and stay where something in them
stays; files by their time, too. Where containerd trusts equal size and time, the content is compared here.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack

from msgspec.structs import replace

from contextkernel.errors import SyscallFailed
from contextkernel.layer import names
from contextkernel.layer.merge import merge
from contextkernel.model.layers import Entry
from contextkernel.store.worker_owners import index_of
from contextkernel.store.worker_tree import Tree

Attributes = Callable[[int, str], Mapping[str, bytes]]


def without_unchanged(
    rows: list[Entry], tree: Tree, lowers: Iterable[str], attributes: Attributes, carried: str
) -> list[Entry]:
    """Rows of an upper directory without those that are the same below.

    Args:
        rows: all of it, in index order; contents and attributes of files still to be read.
        tree: the directory.
        lowers: ``diff`` directories below, base first, each with its index beside it.
        attributes: reads the extended attributes of an open file.
        carried: the attribute that layers have.

    Returns:
        The rows that are left; the first name of a hard link that is left becomes the file.
    """
    lowers = tuple(lowers)
    if not lowers:
        return rows
    rows = _without_needless(rows, lowers)
    if not _worth_a_look(rows, lowers):
        return rows
    return _Comparison(rows, tree, merge(map(index_of, lowers)), attributes, carried).left()


def _without_needless(rows: list[Entry], lowers: tuple[str, ...]) -> list[Entry]:
    """Rows without those for opaque directories that no layer has anything at (BuildKit, ``util/overlay``).

    Overlay marks a new directory when it is moved to its place. What is made without overlay has no such marks, and
    they would make another layer of the same files.
    """
    opaque = [row.path for row in rows if row.kind == "opaque"]
    if not opaque:
        return rows
    with ExitStack() as stack:
        trees = [stack.enter_context(Tree(lower)) for lower in lowers]
        needless = {path for path in opaque if all(tree.lstat(path) is None for tree in trees)}
    return [row for row in rows if row.kind != "opaque" or row.path not in needless]


def _worth_a_look(rows: list[Entry], lowers: tuple[str, ...]) -> bool:
    """Whether any row could be unchanged: making the merged view of a large image costs a tenth of a second."""
    holders = {names.split(row.path)[0] for row in rows} | {row.path for row in rows if row.kind == "opaque"}
    with ExitStack() as stack:
        trees = [stack.enter_context(Tree(lower)) for lower in reversed(lowers)]
        return any(
            _perhaps_in(tree, row)
            for row in rows
            if row.kind not in {"whiteout", "opaque"} and not (row.kind == "dir" and row.path in holders)
            for tree in trees
        )


def _perhaps_in(tree: Tree, row: Entry) -> bool:
    try:
        directory, name = tree.parent(row.path)
        info = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except (OSError, SyscallFailed):
        return False
    if row.kind == "dir":
        return stat.S_ISDIR(info.st_mode)
    return info.st_mtime_ns == row.mtime and not stat.S_ISDIR(info.st_mode)


def _need(path: str, needed: set[str]) -> None:
    """Take ``path`` and the directories above it into ``needed``."""
    while path not in needed:
        needed.add(path)
        path = names.split(path)[0]


class _Comparison:
    """An upper directory held against what is below."""

    def __init__(
        self, rows: list[Entry], tree: Tree, below: Mapping[str, Entry], attributes: Attributes, carried: str
    ) -> None:
        self._rows = rows
        self._tree = tree
        self._below = below
        self._attributes = attributes
        self._carried = carried
        self._files = {row.path: row for row in rows if row.kind == "file"}

    def left(self) -> list[Entry]:
        """The rows that are not the same below."""
        things = [row for row in self._rows if row.kind not in {"whiteout", "opaque"}]
        marks = [row.path for row in self._rows if row.kind in {"whiteout", "opaque"}]
        dropped = {row.path for row in things if row.kind != "dir" and self._same(row)}
        needed: set[str] = set()
        for path in [*marks, *(row.path for row in things if row.kind != "dir" and row.path not in dropped)]:
            _need(path, needed)
        # deepest first: a directory that stays keeps those above it
        for row in reversed([row for row in things if row.kind == "dir"]):
            if row.path not in needed and self._same_directory(row):
                dropped.add(row.path)
            else:
                _need(row.path, needed)
        return self._led_again(
            [row for row in self._rows if row.kind in {"whiteout", "opaque"} or row.path not in dropped]
        )

    def _led_again(self, rows: list[Entry]) -> list[Entry]:
        """Hard links whose first name is gone get another."""
        present = {row.path for row in rows}
        leaders: dict[str, str] = {}
        out: list[Entry] = []
        for row in rows:
            if row.kind != "hardlink" or row.link in present:
                out.append(row)
            elif (leader := leaders.get(row.link)) is None:
                leaders[row.link] = row.path
                first = self._files.get(row.link)
                out.append(replace(row, kind="file", link="", size=first.size if first else 0))
            else:
                out.append(replace(row, link=leader))
        return out

    def _lower(self, path: str) -> Entry | None:
        found = self._below.get(path)
        if found is not None and found.kind == "hardlink":
            found = self._below.get(found.link)
        return found

    def _same(self, row: Entry) -> bool:
        mine = self._files.get(row.link, row) if row.kind == "hardlink" else row
        lower = self._lower(row.path)
        if (
            lower is None
            or (mine.kind, mine.mode, mine.uid, mine.gid) != (lower.kind, lower.mode, lower.uid, lower.gid)
            or (mine.size, mine.mtime, mine.major, mine.minor) != (lower.size, lower.mtime, lower.major, lower.minor)
        ):
            return False
        if mine.kind == "symlink":
            return mine.link == lower.link
        return mine.kind != "file" or self._same_file(mine, lower)

    def _same_file(self, row: Entry, lower: Entry) -> bool:
        directory, name = self._tree.parent(row.path)
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
        with open(descriptor, "rb") as stream:
            found = self._attributes(descriptor, row.path)
            if any(key.endswith(".overlay.whiteout") for key in found):
                return False
            if found.get(self._carried) != lower.xattrs.get(self._carried):
                return False
            return hashlib.file_digest(stream, "sha256").hexdigest() == lower.digest

    def _same_directory(self, row: Entry) -> bool:
        lower = self._lower(row.path)
        return (
            lower is not None
            and lower.kind == "dir"
            and (row.mode, row.uid, row.gid) == (lower.mode, lower.uid, lower.gid)
            and row.xattrs.get(self._carried) == lower.xattrs.get(self._carried)
        )
