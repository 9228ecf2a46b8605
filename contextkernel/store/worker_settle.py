"""Turning the changes of a tree into what overlay's upper directory would be: the next layer."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import msgspec
from msgspec.structs import replace

from contextkernel.layer import names
from contextkernel.linux import xattr
from contextkernel.model.backing import TREE, SettleRequest
from contextkernel.model.box import BoxView
from contextkernel.model.recorded import DEVICE, OWNER, TABLE, Run
from contextkernel.store import tree_record
from contextkernel.store.measuring import measure
from contextkernel.store.tree_changes import Difference, TreeChanges, compare, written
from contextkernel.store.worker_commit import Check
from contextkernel.store.worker_extract import set_xattrs
from contextkernel.store.worker_files import copy_bytes, is_whiteout, new_file, xattrs_of
from contextkernel.store.worker_marks import make_opaque, white_out
from contextkernel.store.worker_tree import Ids, Tree, remove_at, write_file
from contextkernel.store.worker_trees import discard, move_tree

_THERE = ("changed", "same")


def settle(request: SettleRequest, ids: Ids, check: Check) -> None:
    """See ports.LayerWorker."""
    directory = os.path.dirname(request.upper)
    if not tree_record.has_tree(directory):
        return
    record = tree_record.load(directory)
    with Tree(tree_record.tree_of(directory)) as tree:
        changes = compare(tree, record, check)
        write_upper(tree, changes, request.upper, ids, check, keep=request.keep)
        if ids.single:
            _note_origins(directory, directory)
    if not request.park:
        discard(directory)
        return
    os.unlink(tree_record.record_of(directory))
    move_tree(directory, request.park)
    if request.keep:
        tree_record.save(request.park, changes.rows)


def measured(path: str, check: Check) -> int:
    """Bytes of the files below ``path``; of a tree, those that have changed since it was made."""
    directory, name = os.path.split(path.rstrip("/"))
    if name != TREE or not tree_record.has_tree(directory):
        return measure(path)
    with Tree(path) as tree:
        return written(compare(tree, tree_record.load(directory), check))


@contextmanager
def as_upper(view: BoxView, ids: Ids, check: Check) -> Iterator[BoxView]:
    """The view with its changes where overlay would have them; of a tree, they are copied for a moment."""
    directory = os.path.dirname(view.upper)
    if not tree_record.has_tree(directory):
        yield view
        return
    place = f"{view.room}/changes-{os.urandom(6).hex()}"
    upper = f"{place}/upper"
    os.mkdir(place, 0o755)
    os.mkdir(upper, 0o755)
    try:
        with Tree(tree_record.tree_of(directory)) as tree:
            changes = compare(tree, tree_record.load(directory), check)
            write_upper(tree, changes, upper, ids, check, keep=True)
        if ids.single:
            _note_origins(directory, place)
        yield replace(view, upper=upper)
    finally:
        parent = os.open(view.room, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_at(parent, os.path.basename(place))
        finally:
            os.close(parent)


def _note_origins(source: str, target: str) -> None:
    """Say in the table of notes that marks tell what was there before, as on an overlay.

    Args:
        source: directory of the table that was written while the program ran.
        target: directory in which it is read with the changes.
    """
    try:
        with open(f"{source}/{TABLE}", "rb") as stream:
            lines = stream.read()
    except FileNotFoundError:
        return  # nothing was noted
    run = msgspec.json.encode(Run(overlay=True, run=f"settled-{os.urandom(6).hex()}"))
    write_file(f"{target}/{TABLE}", lines + run + b"\n")


def write_upper(tree: Tree, changes: TreeChanges, upper: str, ids: Ids, check: Check, *, keep: bool) -> None:
    """Put what has changed into an empty directory, with the marks of overlay for what is gone.

    Args:
        tree: that changed.
        changes: of it.
        upper: the directory.
        ids: what owners the host can store, and how marks are spelled.
        check: raises when the client has given up.
        keep: files are copied; else they are moved out of the tree, which is of no use afterwards.
    """
    with Tree(upper) as target:
        _Upper(tree, target, ids, keep=keep).write(changes, check)


class _Upper:
    def __init__(self, tree: Tree, target: Tree, ids: Ids, *, keep: bool) -> None:
        self._tree = tree
        self._target = target
        self._ids = ids
        self._keep = keep
        self._links: dict[int, str] = {}
        self._directories: list[tuple[str, os.stat_result]] = []
        self._there: set[str] = set()
        self._marks: list[Callable[[], None]] = []
        self._origin = f"{ids.xattr}origin" if ids.single else ""

    def write(self, changes: TreeChanges, check: Check) -> None:
        """Write everything; directories get what they are to look like in the end, innermost first."""
        wanted = self._wanted(changes)
        for path, difference in changes.differences.items():
            check()
            if path not in wanted:
                continue
            if difference.info is None:
                self._marks.append(lambda path=path: white_out(self._target, path, self._ids))  # type: ignore[misc]
            elif stat.S_ISDIR(difference.info.st_mode):
                self._directory(path, difference)
            else:
                self._other(path, difference.info, there=difference.kind in _THERE)
        for mark in self._marks:
            mark()
        for path, info in reversed(self._directories):
            self._dress(path, info)

    def _wanted(self, changes: TreeChanges) -> set[str]:
        """Paths to write: what has changed, and the directories around it."""
        wanted: set[str] = set()
        for path, difference in changes.differences.items():
            if difference.kind == "same" and not self._marked(path):
                continue
            here = path
            while here not in wanted:
                wanted.add(here)
                here = names.split(here)[0]
        return wanted

    def _marked(self, path: str) -> bool:
        """Whether a directory has attributes that a layer may have."""
        descriptor = self._tree.open_directory(path)
        try:
            return bool(xattrs_of(descriptor))
        finally:
            os.close(descriptor)

    def _directory(self, path: str, difference: Difference) -> None:
        assert difference.info is not None  # noqa: S101 - the caller looked
        if path != ".":
            directory, name = self._target.parent(path)
            os.mkdir(name, 0o700, dir_fd=directory)
            if difference.kind == "replaced":
                self._marks.append(lambda: make_opaque(self._target, path, self._ids))
        self._directories.append((path, difference.info))
        if difference.kind in _THERE:
            self._there.add(path)

    def _dress(self, path: str, info: os.stat_result) -> None:
        descriptor = self._target.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            source = self._tree.open_directory(path)
            try:
                self._ids.chown(descriptor, *self._ids.owner(info), path)
                os.fchmod(descriptor, stat.S_IMODE(info.st_mode))
                self._attributes(source, descriptor, there=path in self._there)
            finally:
                os.close(source)
            os.utime(descriptor, ns=(info.st_atime_ns, info.st_mtime_ns))
        finally:
            os.close(descriptor)

    def _attributes(self, source: int, target: int, *, there: bool) -> None:
        """Copy extended attributes, with what was noted of owners; mark what was there before, as overlay does."""
        set_xattrs(target, xattrs_of(source))
        if not self._origin:
            return
        for name in (OWNER, DEVICE, xattr.USER):
            value = xattr.get(source, name)
            if value is not None:
                os.setxattr(target, name, value)
        if there:
            with suppress(OSError):  # a file system without attributes: there are no notes either
                os.setxattr(target, self._origin, b"")

    def _other(self, path: str, info: os.stat_result, *, there: bool) -> None:
        if stat.S_ISSOCK(info.st_mode) or is_whiteout(info):
            return  # no layer has a socket; and the device that overlay would not have let be made
        directory, name = self._target.parent(path)
        leader = self._links.setdefault(info.st_ino, path) if info.st_nlink > 1 else path
        if not self._keep and self._moved(path, directory, name, info, there=there):
            return
        if leader != path:
            holder, first = self._target.parent(leader)
            directory, name = self._target.parent(path)
            os.link(first, name, src_dir_fd=holder, dst_dir_fd=directory, follow_symlinks=False)
            return
        if self._origin and not stat.S_ISREG(info.st_mode):
            # notes tell such a file by its number; nobody can write to it, so that one file may do for both
            holder, base = self._tree.parent(path)
            directory, name = self._target.parent(path)
            os.link(base, name, src_dir_fd=holder, dst_dir_fd=directory, follow_symlinks=False)
            return
        self._copy(path, directory, name, info, there=there)

    def _moved(self, path: str, directory: int, name: str, info: os.stat_result, *, there: bool) -> bool:
        holder, base = self._tree.parent(path)
        if stat.S_ISREG(info.st_mode):
            self._clean(path)
            if there and self._origin:
                with suppress(OSError):
                    os.setxattr(self._tree.link_path(path), self._origin, b"", follow_symlinks=False)
        try:
            os.rename(base, name, src_dir_fd=holder, dst_dir_fd=directory)
        except OSError as problem:
            if problem.errno in {errno.EACCES, errno.EPERM}:  # out of a directory that its owner may not write to
                return False
            raise
        return True

    def _clean(self, path: str) -> None:
        """Take away marks that mean something to overlay alone; no program could have made them there."""
        target = self._tree.link_path(path)
        try:
            found = os.listxattr(target, follow_symlinks=False)
        except OSError:
            return
        for attribute in found:
            if attribute.startswith(xattr.OVERLAY_PREFIXES):
                os.removexattr(target, attribute, follow_symlinks=False)

    def _copy(self, path: str, directory: int, name: str, info: os.stat_result, *, there: bool) -> None:
        if stat.S_ISREG(info.st_mode):
            source = self._tree.open_file(path)
            try:
                target = new_file(directory, name)
                try:
                    copy_bytes(source, target, info)
                    self._ids.chown(target, *self._ids.owner(info), path)
                    os.fchmod(target, stat.S_IMODE(info.st_mode))
                    self._attributes(source, target, there=there)
                    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
                finally:
                    os.close(target)
            finally:
                os.close(source)
            return
        if stat.S_ISLNK(info.st_mode):
            holder, base = self._tree.parent(path)
            os.symlink(os.readlink(base, dir_fd=holder), name, dir_fd=directory)
        else:
            os.mknod(name, stat.S_IFMT(info.st_mode) | 0o600, info.st_rdev, dir_fd=directory)
        self._ids.chown(name, *self._ids.owner(info), path, dir_fd=directory)
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(name, stat.S_IMODE(info.st_mode), dir_fd=directory)
        os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=directory, follow_symlinks=False)
