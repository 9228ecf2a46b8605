"""What has changed in a tree since it was made: by its record."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Literal

import msgspec

from contextkernel.layer import names
from contextkernel.store.tree_record import Row, Rows, walk
from contextkernel.store.worker_tree import Tree

Kind = Literal["new", "replaced", "changed", "same", "removed"]


class Difference(msgspec.Struct, frozen=True):
    """One path that differs.

    Attributes:
        path: of what.
        kind: ``new``: nothing was there; ``replaced``: something else was, of which nothing is left, below it neither;
            ``changed``: the inode is what it was, and a file may have other content; ``same``: a directory that did not
            change, but for what is in it; ``removed``: nothing is there any more, nor below it.
        info: of what is there now; ``None`` for what was removed.
    """

    path: str
    kind: Kind
    info: os.stat_result | None = None


class TreeChanges(msgspec.Struct, frozen=True):
    """Differences, directories before what is in them, each with all directories around it; and what is there now."""

    differences: dict[str, Difference]
    rows: Rows


def compare(tree: Tree, record: Rows, check: Callable[[], None]) -> TreeChanges:
    """Hold a tree against its record.

    Args:
        tree: as it is now.
        record: as it was made.
        check: raises when the client has given up.
    """
    return _Comparison(record).run(tree, check)


class _Comparison:
    def __init__(self, record: Rows) -> None:
        self._record = record
        self._rows: Rows = {}
        self._infos: dict[str, os.stat_result] = {}
        self._merged: set[str] = set()  # directories that are what they were
        self._found: dict[str, Difference] = {}

    def run(self, tree: Tree, check: Callable[[], None]) -> TreeChanges:
        for path, info in walk(tree, check):
            self._rows[path] = Row.of(info)
            self._look(path, info)
        for path, row in self._record.items():
            if path in self._rows:
                continue
            holder = names.split(path)[0]
            if holder not in self._merged:
                continue  # it went with what it was in
            if row.unmade:
                self._rows[path] = row  # it never was there
            else:
                self._note(Difference(path, "removed"))
        return TreeChanges(self._found, self._rows)

    def _look(self, path: str, info: os.stat_result) -> None:
        before = self._record.get(path)
        directory = stat.S_ISDIR(info.st_mode)
        if directory:
            self._infos[path] = info
        if path != "." and names.split(path)[0] not in self._merged:
            before = None  # of what is in a directory that was made since, nothing was there
        if before is None:
            self._note(Difference(path, "new", info))
            return
        if before.inode != info.st_ino or stat.S_IFMT(before.mode) != stat.S_IFMT(info.st_mode):
            self._note(Difference(path, "replaced", info))
            return
        if directory:
            self._merged.add(path)
        if before.ctime == info.st_ctime_ns:
            return
        if directory and (before.mode, before.uid, before.gid) == (info.st_mode, info.st_uid, info.st_gid):
            # something in it was made or removed, or an attribute set: whoever takes it over looks at those
            self._note(Difference(path, "same", info))
            return
        self._note(Difference(path, "changed", info))

    def _note(self, difference: Difference) -> None:
        """Take it over, after the directories that it lies in."""
        missing = []
        here = difference.path
        while here != ".":
            here = names.split(here)[0]
            if here in self._found:
                break
            missing.append(here)
        for path in reversed(missing):
            self._found[path] = Difference(path, "same", self._infos[path])
        if difference.kind != "same" or difference.path not in self._found:
            self._found[difference.path] = difference
