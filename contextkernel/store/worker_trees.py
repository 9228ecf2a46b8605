"""Complete trees from layers, for hosts where overlay cannot be mounted on the store's file system.

A tree is made by the indexes of its layers: owners that the host cannot store and devices that it does not let be made
are in those alone. Files share their blocks with the layers' where the file system can do that; they are never hard
links of them, since whoever writes to the tree would write to the layer.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from contextkernel.errors import StoreProblem, SyscallFailed
from contextkernel.layer import names
from contextkernel.linux.fsops import clone
from contextkernel.model.backing import PrepareRequest, Root
from contextkernel.model.layers import Entry
from contextkernel.model.recorded import Device
from contextkernel.store import tree_record
from contextkernel.store.layer_stack import LayerStack, Located, Place
from contextkernel.store.tree_record import Row, Rows
from contextkernel.store.worker_commit import Check
from contextkernel.store.worker_extract import set_xattrs
from contextkernel.store.worker_files import copy_bytes, new_file, xattrs_of
from contextkernel.store.worker_noting import copy_device
from contextkernel.store.worker_records import stand_in
from contextkernel.store.worker_tree import Ids, Tree, remove_at

_SMALL = 1 << 20  # read and written at once
_TYPES = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}


class TreeMaker:
    """Writes entries of layers into a tree; parents come before what is in them.

    Args:
        target: the tree.
        stack: where contents are.
        ids: what owners the host can store.
        check: raises when the client has given up.
        fresh: nothing is there yet.
        share: files may be hard links of those of the layers: nobody writes to the tree.

    Attributes:
        unmade: device nodes, and links to them, that this host does not let be made.
    """

    def __init__(
        self, target: Tree, stack: LayerStack, ids: Ids, check: Check, *, fresh: bool = True, share: bool = False
    ) -> None:
        self._target = target
        self._stack = stack
        self._ids = ids
        self._check = check
        self._fresh = fresh
        self._share = share
        self._clones = True
        self._directories: list[Located] = []
        self.unmade: dict[str, Entry] = {}

    def put_all(self, rows: Iterable[Located]) -> None:
        """Write rows in order, then what directories are to look like in the end."""
        for entry, place in rows:
            self._check()
            if entry.path != ".":
                self._put(entry, place)
        self._finish()

    def _put(self, entry: Entry, place: Place | None) -> None:
        directory, name = self._target.parent(entry.path)
        if not self._fresh:
            existing = self._target.lstat(entry.path)
            if existing is not None and not (entry.kind == "dir" and stat.S_ISDIR(existing.st_mode)):
                self._target.remove(entry.path)
                directory, name = self._target.parent(entry.path)
        match entry.kind:
            case "file":
                self._file(directory, name, entry, place)
            case "dir":
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=directory)
                self._directories.append((entry, place))
            case "symlink":
                os.symlink(entry.link, name, dir_fd=directory)
                self._ids.chown(name, entry.uid, entry.gid, entry.path, dir_fd=directory)
                os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=directory, follow_symlinks=False)
            case "hardlink":
                self._link(directory, name, entry)
            case "char" | "block" | "fifo":
                self._node(directory, name, entry)
            case kind:
                raise StoreProblem(f"{entry.path!r} is a {kind}, which no tree has")

    def _link(self, directory: int, name: str, entry: Entry) -> None:
        if entry.link in self.unmade:
            self.unmade[entry.path] = self.unmade[entry.link]
            return
        source, first = self._target.parent(entry.link)
        directory, name = self._target.parent(entry.path)
        os.link(first, name, src_dir_fd=source, dst_dir_fd=directory, follow_symlinks=False)

    def _node(self, directory: int, name: str, entry: Entry) -> None:
        try:
            device = os.makedev(entry.major, entry.minor)
            os.mknod(name, _TYPES[entry.kind] | 0o600, device, dir_fd=directory)
        except PermissionError:
            if entry.kind == "fifo":
                raise
            if not self._ids.single:
                self.unmade[entry.path] = entry
                return
            stand_in(directory, name, Device("char" if entry.kind == "char" else "block", entry.major, entry.minor))
        self._ids.chown(name, entry.uid, entry.gid, entry.path, dir_fd=directory)
        os.chmod(name, entry.mode, dir_fd=directory)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=directory)

    def _file(self, directory: int, name: str, entry: Entry, place: Place | None) -> None:
        if place is None:
            raise StoreProblem(f"{entry.path!r} is in no layer")
        layer, path = self._stack.layer(place[0]), place[1]
        if self._share and self._linked(layer, path, directory, name):
            return
        source = layer.open_file(path)
        try:
            target = new_file(directory, name)
            try:
                self._content(source, target)
                # owner, then mode (a change of owner clears setuid), then attributes, then time
                self._ids.chown(target, entry.uid, entry.gid, entry.path)
                os.fchmod(target, entry.mode)
                set_xattrs(target, xattrs_of(source))
                if self._ids.single:
                    copy_device(source, target)
                os.utime(target, ns=(entry.mtime, entry.mtime))
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _linked(self, layer: Tree, path: str, directory: int, name: str) -> bool:
        holder, base = layer.parent(path)
        try:
            os.link(base, name, src_dir_fd=holder, dst_dir_fd=directory, follow_symlinks=False)
        except OSError as problem:
            if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise
            return False
        return True

    def _content(self, source: int, target: int) -> None:
        info = os.fstat(source)
        if not info.st_size:
            return
        if self._clones:
            self._clones = clone(source, target)
            if self._clones:
                return
        if info.st_size > _SMALL or info.st_blocks * 512 < info.st_size:
            copy_bytes(source, target, info)
            return
        data = memoryview(os.read(source, info.st_size))
        while data:
            data = data[os.write(target, data) :]

    def _finish(self) -> None:
        """Directories get their owner, mode, attributes and time, innermost first."""
        for entry, place in reversed(self._directories):
            here = self._target.open(entry.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                attributes = entry.xattrs
                if place is not None:
                    source = self._stack.layer(place[0]).open_directory(place[1])
                    try:
                        attributes = xattrs_of(source)
                    finally:
                        os.close(source)
                self._ids.chown(here, entry.uid, entry.gid, entry.path)
                os.fchmod(here, entry.mode)
                set_xattrs(here, attributes)
                os.utime(here, ns=(entry.mtime, entry.mtime))
            finally:
                os.close(here)
        self._directories.clear()


def prepare(request: PrepareRequest, ids: Ids, check: Check) -> Root:
    """See ports.LayerWorker."""
    root = request.root
    directory = os.path.dirname(root.upper)
    made = Root(lowers=(), upper=tree_record.tree_of(directory), work="")
    if tree_record.has_tree(directory):
        return made
    if ids.backing == "overlay" or not root.lowers:
        return root
    if request.read_only and len(root.lowers) == 1 and ids.mounts:
        return Root(lowers=(), upper=root.lowers[0], work="")
    with _alone(directory):
        if not tree_record.has_tree(directory):  # by somebody else meanwhile
            _make(request, directory, ids, check)
    return made


@contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Nobody else makes a tree here meanwhile: two kernels may look at one container."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _make(request: PrepareRequest, directory: str, ids: Ids, check: Check) -> None:
    root = request.root
    discard(directory)  # what a killed process left
    try:
        if request.parked and tree_record.has_tree(request.parked):
            rows = _taken(request, directory, ids, check)
        else:
            rows = _made(root, directory, ids, check)
        with os.scandir(root.upper) as listing:
            changed = next(listing, None) is not None
        tree_record.await_tick(directory, rows)
        if changed:  # from a time when the host had overlay
            _apply((root.upper,), directory, ids, check)
        tree_record.save(directory, rows)
    except BaseException:
        with suppress(OSError):  # the disk may be full, of just this
            discard(directory)
        raise


def discard(directory: str) -> None:
    """Remove the tree in a directory, complete or not."""
    with suppress(FileNotFoundError):
        os.unlink(tree_record.record_of(directory))
    parent = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove_at(parent, os.path.basename(tree_record.tree_of(directory)))
    finally:
        os.close(parent)


def move_tree(source: str, target: str) -> None:
    """Move the tree from one directory to another; its record stays behind."""
    old, new = tree_record.tree_of(source), tree_record.tree_of(target)
    try:
        os.rename(old, new)
    except PermissionError:  # ``..`` in it changes, which its mode forbids its owner
        mode = stat.S_IMODE(os.lstat(old).st_mode)
        os.chmod(old, mode | 0o700)
        os.rename(old, new)
        os.chmod(new, mode)


def _made(root: Root, directory: str, ids: Ids, check: Check) -> Rows:
    """Copy all layers; the record of what was made."""
    path = tree_record.tree_of(directory)
    os.mkdir(path, 0o700)
    with Tree(path) as tree, LayerStack(root.lowers, ids, check) as stack:
        maker = TreeMaker(tree, stack, ids, check)
        maker.put_all(stack.merged().values())
        # as overlay has it: of the root the topmost layer counts
        info = os.stat(root.lowers[-1], follow_symlinks=False)
        ids.chown(path, *ids.owner(info), "/")
        os.chmod(path, stat.S_IMODE(info.st_mode))
        return recorded(tree, maker.unmade.items(), ids, check)


def _taken(request: PrepareRequest, directory: str, ids: Ids, check: Check) -> Rows:
    """Take over a parked tree and put more layers on top of it."""
    rows = tree_record.load(request.parked)
    os.unlink(tree_record.record_of(request.parked))
    move_tree(request.parked, directory)
    if not request.above:
        return rows
    unmade, removed = _apply(request.above, directory, ids, check)
    with Tree(tree_record.tree_of(directory)) as tree:
        found = recorded(tree, unmade.items(), ids, check)
    for path, row in rows.items():
        if row.unmade and path not in found and path not in removed and names.split(path)[0] in found:
            found[path] = row
    return found


def _apply(lowers: Sequence[str], directory: str, ids: Ids, check: Check) -> tuple[dict[str, Entry], set[str]]:
    """Put layers on top of a tree; the device nodes that could not be made, and what was removed."""
    unmade: dict[str, Entry] = {}
    removed: set[str] = set()
    with Tree(tree_record.tree_of(directory)) as tree, LayerStack(lowers, ids, check) as stack:
        for number in range(len(lowers)):
            rows = stack.rows(number)
            for row in rows:
                # what a layer removes is below it, whatever the order of its rows
                if row.kind == "whiteout":
                    removed.add(row.path)
                    with suppress(FileNotFoundError, SyscallFailed):
                        tree.remove(row.path)
                elif row.kind == "opaque":
                    _clear(tree, row.path)
            maker = TreeMaker(tree, stack, ids, check, fresh=False)
            maker.put_all((row, (number, row.path)) for row in rows if row.kind not in {"whiteout", "opaque"})
            unmade |= maker.unmade
    return unmade, removed


def _clear(tree: Tree, path: str) -> None:
    """Remove all that is in a directory."""
    info = tree.lstat(path)
    if info is None or not stat.S_ISDIR(info.st_mode):
        return
    here = tree.open_directory(path)
    try:
        for name in os.listdir(here):
            remove_at(here, name)
    finally:
        os.close(here)
    tree.forget()


def recorded(tree: Tree, unmade: Iterable[tuple[str, Entry]], ids: Ids, check: Check) -> Rows:
    """The record of a tree as it is now."""
    # of files the number tells enough, but for whom a new one belongs to where the host cannot say it
    rows = {
        found.path: Row.of(found.info, found.made() if ids.single or stat.S_ISDIR(found.info.st_mode) else 0)
        for found in tree_record.walk(tree, check)
    }
    for path, entry in unmade:
        if path not in rows:
            mode = _TYPES[entry.kind] | entry.mode
            rows[path] = Row(0, 0, mode, entry.uid, entry.gid, 0, entry.mtime, os.makedev(entry.major, entry.minor))
    return rows
