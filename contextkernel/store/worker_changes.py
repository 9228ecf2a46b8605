"""What a container has changed of its image: docker's ``diff``, from overlay's upper directory.

The comparison is docker's (moby, pkg/archive/changes.go): directories count by mode and owner, everything else by size
and time as well, and a directory with a change in it counts as changed. What the engine makes to mount its own files
at is no change; docker keeps such places in a layer of their own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Container, Iterable

from contextkernel.model.box import BoxView, Change
from contextkernel.model.layers import Entry
from contextkernel.store import tree_record
from contextkernel.store.tree_changes import compare, row_changes
from contextkernel.store.tree_record import Row
from contextkernel.store.worker_files import is_whiteout
from contextkernel.store.worker_stage import open_merged
from contextkernel.store.worker_tree import Ids, Tree

Check = Callable[[], None]
#: where the engine mounts something in every container
POINTS = frozenset(("dev", "proc", "sys", "etc/hosts", "etc/hostname", "etc/resolv.conf"))
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


def changes(view: BoxView, ids: Ids, check: Check, reowned: Container[str] = frozenset[str]()) -> tuple[Change, ...]:
    """See ports.LayerWorker.

    Args:
        view: where the container's files are.
        ids: of the worker.
        check: raises when the client has given up.
        reowned: paths of another owner than before, where the host cannot store it.
    """
    directory = os.path.dirname(view.upper)
    if tree_record.has_tree(directory):
        record = tree_record.load(directory)
        with Tree(tree_record.tree_of(directory)) as tree:
            return row_changes(compare(tree, record, check).rows, record, POINTS, reowned)
    with Tree(view.upper) as upper:
        if not view.lowers:
            return _Comparison(upper, None, check, reowned).run()
        with open_merged(view.lowers, view.room, ids, check) as opened, Tree(os.dup(opened)) as lower:
            return _Comparison(upper, lower, check, reowned).run()


class _Comparison:
    """An upper directory beside what is below it."""

    def __init__(self, upper: Tree, lower: Tree | None, check: Check, reowned: Container[str]) -> None:
        self._upper = upper
        self._lower = lower
        self._check = check
        self._reowned = reowned
        self._found: dict[str, Change] = {}

    def run(self) -> tuple[Change, ...]:
        """All changes, by path."""
        self._directory("", fresh=False)
        return tuple(self._found[path] for path in sorted(self._found, key=lambda path: path.split("/")))

    def _note(self, kind: str, path: str) -> None:
        self._found[path] = Change(kind, f"/{path}")  # type: ignore[arg-type]

    def _below(self, path: str) -> os.stat_result | None:
        if self._lower is None:
            return None
        info = self._lower.lstat(path or ".")
        return None if info is None or is_whiteout(info) else info

    def _directory(self, path: str, *, fresh: bool) -> bool:
        """Compare what is in a directory; ``fresh``: nothing of it was there before. Whether there is any change."""
        self._check()
        here = self._upper.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            names = sorted(os.listdir(here))
            opaque = _is_opaque(here)
            facts = [(name, os.stat(name, dir_fd=here, follow_symlinks=False)) for name in names]
        finally:
            os.close(here)
        changed = False
        for name, info in facts:
            changed |= self._entry(f"{path}/{name}" if path else name, info, fresh=fresh)
        if opaque and not fresh and self._lower is not None:
            for name in self._names_below(path):
                if name not in names:
                    self._note("D", f"{path}/{name}" if path else name)
                    changed = True
        return changed

    def _names_below(self, path: str) -> list[str]:
        before = self._below(path)
        if self._lower is None or before is None or not stat.S_ISDIR(before.st_mode):
            return []
        here = self._lower.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sorted(os.listdir(here))
        finally:
            os.close(here)

    def _entry(self, path: str, info: os.stat_result, *, fresh: bool) -> bool:
        before = None if fresh else self._below(path)
        directory = stat.S_ISDIR(info.st_mode)
        if is_whiteout(info):
            if before is not None:
                self._note("D", path)
            return before is not None
        if before is None:
            if path in POINTS and self._is_point(path, info):
                return False
            self._note("A", path)
            inside = self._directory(path, fresh=True) if directory else False
            if directory and not inside and self._only_points(path):
                del self._found[path]
                return False
            return True
        if directory and stat.S_ISDIR(before.st_mode):
            inside = self._directory(path, fresh=False)
            if inside or Row.of(info).owned != Row.of(before).owned or path in self._reowned:
                self._note("C", path)
                return True
            return False
        if directory:
            self._directory(path, fresh=True)
        if directory or Row.of(info).differs(Row.of(before)) or path in self._reowned:
            self._note("C", path)
            return True
        return False

    def _is_point(self, path: str, info: os.stat_result) -> bool:
        if not stat.S_ISDIR(info.st_mode):
            return stat.S_ISREG(info.st_mode) and info.st_size == 0
        here = self._upper.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return not os.listdir(here)
        finally:
            os.close(here)

    def _only_points(self, path: str) -> bool:
        """Whether a new directory is there for nothing but the engine's own mounts in it."""
        if not any(point.startswith(f"{path}/") for point in POINTS):
            return False
        here = self._upper.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            inside = os.listdir(here)
        finally:
            os.close(here)
        return bool(inside) and all(f"{path}/{name}" in POINTS for name in inside)


def _is_opaque(directory: int) -> bool:
    for name in _OPAQUE:
        try:
            if os.getxattr(directory, name) in (b"y", b"x"):
                return os.getxattr(directory, name) == b"y"
        except OSError:
            continue
    return False


def without_points(entries: list[Entry], lowers: Iterable[str]) -> list[Entry]:
    """Rows of an upper directory without the places that the engine made for its own mounts and that are empty."""
    kept = tuple(lowers)
    filled = {entry.path.rpartition("/")[0] for entry in entries}

    def is_point(entry: Entry) -> bool:
        if entry.path not in POINTS or entry.path in filled:
            return False
        empty = entry.kind == "dir" or (entry.kind == "file" and entry.size == 0)
        return empty and not any(os.path.lexists(f"{lower}/{entry.path}") for lower in kept)

    return [entry for entry in entries if not is_point(entry)]
