"""What has changed in a tree since it was made: by its record."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Container
from typing import Literal

import msgspec

from contextkernel.layer import names
from contextkernel.model.box import Change, ChangeKind
from contextkernel.store.tree_record import Found, Row, Rows, walk
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
        for found in walk(tree, check):
            self._look(found)
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

    def _look(self, found: Found) -> None:
        path, info = found.path, found.info
        before = self._record.get(path)
        still = before is not None and (before.inode, before.ctime) == (info.st_ino, info.st_ctime_ns)
        made = before.made if before is not None and still else found.made()
        self._rows[path] = Row.of(info, made)
        directory = stat.S_ISDIR(info.st_mode)
        if directory:
            self._infos[path] = info
        if path != "." and names.split(path)[0] not in self._merged:
            before = None  # of what is in a directory that was made since, nothing was there
        if before is None:
            self._note(Difference(path, "new", info))
            return
        another = before.inode != info.st_ino or (before.made and before.made != made)
        if another or stat.S_IFMT(before.mode) != stat.S_IFMT(info.st_mode):
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


def row_changes(
    now: Rows, before: Rows, points: frozenset[str], reowned: Container[str] = frozenset[str]()
) -> tuple[Change, ...]:
    """Docker's ``diff``: see ``worker_changes``.

    Args:
        now: what is there.
        before: what was there.
        points: places that the engine makes for its own mounts: new and empty ones are no change.
        reowned: paths of another owner than before, where the host cannot store it.
    """
    found: dict[str, Change] = {}
    holders: set[str] = set()  # directories with a change in them

    def note(kind: ChangeKind, path: str) -> None:
        found[path] = Change(kind, f"/{path}")
        here = names.split(path)[0]
        while here not in holders:
            holders.add(here)
            here = names.split(here)[0]

    filled = {names.split(path)[0] for path in now if path != "."}
    for path, row in now.items():
        old = before.get(path)
        if path == ".":
            continue
        if old is None:
            if path not in points or path in filled or (not row.directory and row.size):
                note("A", path)
        elif row.directory and old.directory:
            if row.owned != old.owned or path in reowned:
                note("C", path)
        elif row.differs(old) or path in reowned:
            note("C", path)
    for path in before:
        if path not in now and names.split(path)[0] in now and now[names.split(path)[0]].directory:
            note("D", path)
    for path in _only_for(points, now, before):
        found.pop(path, None)
    for path in holders:
        if path != "." and path in before and path not in found:
            found[path] = Change("C", f"/{path}")
    return tuple(found[path] for path in sorted(found, key=lambda path: path.split("/")))


def _only_for(points: frozenset[str], now: Rows, before: Rows) -> set[str]:
    """New directories that are there for nothing but the engine's own mounts in them."""
    inside: dict[str, list[str]] = {}
    for path in now:
        if path != ".":
            inside.setdefault(names.split(path)[0], []).append(path)
    holders = {names.split(point)[0] for point in points} - {"."}
    return {
        path
        for path in holders
        if path in now and path not in before and inside.get(path) and all(one in points for one in inside[path])
    }


def written(changes: TreeChanges) -> int:
    """Bytes of the files that have changed, each once however many names it has."""
    sizes = {
        one.info.st_ino: one.info.st_size
        for one in changes.differences.values()
        if one.info is not None and not stat.S_ISDIR(one.info.st_mode)
    }
    return sum(sizes.values())
