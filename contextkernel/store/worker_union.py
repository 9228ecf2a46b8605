"""The merged view of a stage without overlay: layers that are read by their index, and a directory for changes.

For COPY, ADD and WORKDIR, which only make and replace: what they change is brought up into the directory for changes
first, as overlay does it ("copy up", Documentation/filesystems/overlayfs.rst), so that a copy of one file costs one
file, whatever the image weighs.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

from contextkernel.errors import SyscallFailed
from contextkernel.layer import names
from contextkernel.layer.reach import needed
from contextkernel.linux.fsops import DIRECTORY, open_strictly
from contextkernel.model.layers import Entry
from contextkernel.store.layer_stack import LayerStack, Located
from contextkernel.store.resolving import destination
from contextkernel.store.worker_marks import make_opaque, white_out
from contextkernel.store.worker_tree import Ids, Tree, remove_at
from contextkernel.store.worker_trees import TreeMaker

Check = Callable[[], None]
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_TYPES = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO, "dir": stat.S_IFDIR}


class _Below:
    """What the layers show, without what was removed since."""

    def __init__(self, stack: LayerStack, ids: Ids, check: Check) -> None:
        self.stack = stack
        self.ids = ids
        self.check = check
        self.rows: Mapping[str, Located] = stack.merged()
        self.gone: set[str] = set()
        self.raised: list[tuple[str, int]] = []

    def get(self, path: str) -> Located | None:
        """The row at a path, that of the file for a further name of it."""
        found = self.rows.get(path)
        if found is None or self._hidden(path):
            return None
        entry, place = found
        if entry.kind == "hardlink":
            entry = replace(self.rows[entry.link][0], path=path)
        return entry, place

    def _hidden(self, path: str) -> bool:
        if not self.gone:
            return False
        here = path
        while here != ".":
            if here in self.gone:
                return True
            here = names.split(here)[0]
        return False

    def lstat(self, path: str) -> os.stat_result | None:
        """What is at a path."""
        found = self.get(path)
        if found is None:
            return None
        entry, place = found
        info = None if place is None else self.stack.layer(place[0]).lstat(place[1])
        # a directory that no layer has as an entry, or a device node that could not be made
        return info or os.stat_result((_TYPES[entry.kind] | entry.mode, 0, 0, 1, entry.uid, entry.gid, 0, 0, 0, 0))

    def open(self, path: str, flags: int) -> int:
        """Open a file of a layer itself."""
        found = self.get(path)
        if found is None or found[1] is None:
            raise SyscallFailed("open", errno.ENOENT, path)
        number, place = found[1]
        return open_strictly(self.stack.layer(number).root, place, flags)


class UnionTree(Tree):
    """A :class:`Tree` of a directory for changes on top of layers; what is opened or changed is brought up first.

    Call :meth:`finish` when all is done: only then is marked what was removed.

    Args:
        root: descriptor of the directory for changes; it belongs to the tree.
        below: the layers.
        prefix: what directory of them this one stands for.
    """

    def __init__(self, root: int, below: _Below, prefix: str = ".") -> None:
        super().__init__(root)
        self._below = below
        self._prefix = prefix

    @classmethod
    def over(cls, upper: str, stack: LayerStack, ids: Ids, check: Check) -> UnionTree:
        """The whole of a stage.

        Args:
            upper: the directory for changes.
            stack: what is below.
            ids: of the worker.
            check: raises when the client has given up.
        """
        tree = cls(os.open(upper, DIRECTORY | os.O_CLOEXEC), _Below(stack, ids, check))
        tree._open_up(".", stat.S_IMODE(os.fstat(tree.root).st_mode))
        return tree

    def _key(self, path: str) -> str:
        """The path in the layers."""
        if self._prefix == ".":
            return path
        return self._prefix if path == "." else f"{self._prefix}/{path}"

    def _upper(self, path: str) -> os.stat_result | None:
        """What is at a path among the changes."""
        directory, name = names.split(path)
        try:
            return os.stat(name or ".", dir_fd=super().directory(directory), follow_symlinks=False)
        except FileNotFoundError:
            return None
        except SyscallFailed as failure:
            if failure.number in _ABSENT:
                return None
            raise

    def lstat(self, path: str) -> os.stat_result | None:
        """What is at ``path``, ``None`` if nothing is."""
        return self._upper(path) or self._below.lstat(self._key(path))

    def directory(self, path: str) -> int:
        """A descriptor (``O_PATH``) of a directory among the changes; it belongs to the tree."""
        try:
            return super().directory(path)
        except SyscallFailed as failure:
            if failure.number != errno.ENOENT:
                raise
            found = self._below.get(self._key(path))
            if found is None or found[0].kind != "dir":
                raise
        self._bring_up(path, found)
        return super().directory(path)

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Open a directory, which is brought up, or a file for reading."""
        if self._upper(path) is None:
            found = self._below.get(self._key(path))
            if found is not None and found[0].kind == "dir":
                self.directory(path)
            elif found is not None:
                return self._below.open(self._key(path), flags | os.O_NOFOLLOW)
        return super().open(path, flags)

    def resolve(self, path: str) -> str:
        """The clean relative path that ``path`` leads to, all links followed inside."""
        return destination(self._readlink, path)

    def _readlink(self, path: str) -> str:
        try:
            return os.readlink(path, dir_fd=self.root)
        except FileNotFoundError:
            found = self._below.get(self._key(path))
            if found is None or found[0].kind != "symlink":
                raise
            return found[0].link

    def open_inside(self, path: str, flags: int) -> int:
        """Open what ``path`` leads to, all links followed inside."""
        clean = self.resolve(path)
        if self._upper(clean) is None:
            return self._below.open(self._key(clean), flags)
        return open_strictly(self.root, clean, flags)

    def inside(self, path: str) -> Tree:
        """The tree of a directory in here."""
        return UnionTree(self.open(path, os.O_RDONLY | os.O_DIRECTORY), self._below, self._key(path))

    def hold(self, path: str) -> None:
        """Bring up what is at ``path``."""
        if self._upper(path) is None:
            found = self._below.get(self._key(path))
            if found is not None:
                self._bring_up(path, found)

    def unlink(self, path: str) -> None:
        """Remove a file that something else takes the place of at once: it hides what is below."""
        if self._upper(path) is not None:
            super().unlink(path)

    def remove(self, path: str) -> None:
        """Remove whatever is at ``path``."""
        if self._upper(path) is not None:
            super().remove(path)
        if self._below.get(self._key(path)) is not None:
            directory, _ = self.parent(path)
            os.utime(".", dir_fd=directory, follow_symlinks=False)
            self._below.gone.add(self._key(path))

    def _bring_up(self, path: str, found: Located) -> None:
        """Copy one entry to where changes go; the directory that it is in keeps its time."""
        below, (entry, place) = self._below, found
        parent, _ = self.parent(path)
        before = os.stat(".", dir_fd=parent)
        maker = TreeMaker(self, below.stack, below.ids, below.check)
        maker.put_all([(replace(entry, path=path), place)])
        parent, _ = self.parent(path)
        os.utime(".", ns=(before.st_atime_ns, before.st_mtime_ns), dir_fd=parent, follow_symlinks=False)
        if entry.kind == "dir":
            self._open_up(path, entry.mode)

    def _open_up(self, path: str, mode: int) -> None:
        """Where this process obeys modes, work on with one that lets it; ``finish`` gives the directory its own."""
        if self._below.ids.own and mode & 0o700 != 0o700:
            self._below.raised.append((self._key(path), mode))
            os.chmod(f"/proc/self/fd/{super().directory(path)}", mode | 0o700)

    def finish(self) -> None:
        """Mark what was removed of the layers, and give directories their own modes; of the whole stage only."""
        for path in sorted(self._below.gone, key=lambda path: path.count("/")):
            info = self._upper(path)
            if info is not None:
                if stat.S_ISDIR(info.st_mode):
                    make_opaque(self, path, self._below.ids)
                continue
            holder = names.split(path)[0]
            if holder in self._below.gone or self._below.get(holder) is None:
                continue  # nothing of it is left anyway
            parent, _ = self.parent(path)
            before = os.stat(".", dir_fd=parent)
            white_out(self, path, self._below.ids)
            os.utime(".", ns=(before.st_atime_ns, before.st_mtime_ns), dir_fd=parent, follow_symlinks=False)
        for path, mode in reversed(self._below.raised):
            info = self._upper(path)
            if info is not None and stat.S_ISDIR(info.st_mode) and stat.S_IMODE(info.st_mode) == mode | 0o700:
                os.chmod(f"/proc/self/fd/{super().directory(path)}", mode)


@contextmanager
def read_only_tree(
    lowers: Sequence[str], room: str, ids: Ids, check: Check, paths: Sequence[str] | None
) -> Iterator[int]:
    """A descriptor of a tree of what layers show, made for a moment; its files are those of the layers.

    Args:
        lowers: ``diff`` directories, base first.
        room: directory on the same file system to make it in.
        ids: of the worker.
        check: raises when the client has given up.
        paths: what is looked at, with all that is below; ``None``: everything.
    """
    place = f"{room}/view-{os.urandom(6).hex()}"
    os.mkdir(place, 0o755)
    try:
        with LayerStack(lowers, ids, check) as stack, Tree(place) as tree:
            rows = stack.merged()
            if paths is not None:
                wanted = needed({path: entry for path, (entry, _) in rows.items()}, paths)
                rows = _selected(rows, wanted)
            TreeMaker(tree, stack, ids, check, share=True).put_all(rows.values())
            yield tree.root
    finally:
        parent = os.open(room, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_at(parent, os.path.basename(place))
        finally:
            os.close(parent)


def _selected(rows: Mapping[str, Located], wanted: set[str]) -> dict[str, Located]:
    """Some of the rows; a file whose first name is not among them goes by the next."""
    out: dict[str, Located] = {}
    first: dict[str, str] = {}
    for path, (entry, place) in rows.items():
        if path not in wanted:
            continue
        row: Entry = entry
        if entry.kind == "hardlink" and entry.link not in wanted:
            leader = first.setdefault(entry.link, path)
            row = replace(rows[entry.link][0], path=path) if leader == path else replace(entry, link=leader)
        out[path] = (row, place)
    return out
