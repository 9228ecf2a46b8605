"""The merged view of a stage: an overlay that only this worker sees, and that vanishes with its descriptor."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from contextkernel.errors import InvalidInput, SourceNotFound, SyscallFailed
from contextkernel.layer import names
from contextkernel.linux import mount
from contextkernel.linux.fsops import DIRECTORY
from contextkernel.model.layers import CopyRequest
from contextkernel.store.layer_stack import LayerStack
from contextkernel.store.worker_owners import Owner, OwnerTable, true_owners
from contextkernel.store.worker_tree import Ids, Tree

_FLAGS = mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC  # nothing in an image is for this process to use
Check = Callable[[], None]
MOUNTING = threading.Lock()  # mount.overlay changes the working directory of the whole process for a moment


class Stage:
    """A file system that is being changed.

    Attributes:
        tree: its merged view.
        ids: what owners the host can store.
        owners: with a single id, owners that only the side table can hold, by path.
    """

    def __init__(self, tree: Tree, upper: str, ids: Ids) -> None:
        self.tree = tree
        self.ids = ids
        self._table = OwnerTable(os.path.dirname(upper)) if ids.single else None
        self.owners: dict[str, Owner] = self._table.owners if self._table else {}
        self._touched: set[str] = set()

    def own(self, target: int | str, path: str, owner: Owner, *, dir_fd: int | None = None) -> None:
        """Set the owner of ``path``, given as a descriptor, or as a name in ``dir_fd``."""
        self.remember(path, owner)
        self.ids.chown(target, *owner, path, dir_fd=dir_fd)

    def remember(self, path: str, owner: Owner) -> None:
        """Note an owner, where the host cannot store it."""
        if self._table is not None:
            self.owners[path] = owner
            self._touched.add(names.split(path)[0])

    def kind(self, path: str) -> str:
        """``dir``, ``other``, or empty if nothing is there; ``path`` has no links in its parents."""
        info = self.tree.lstat(path)
        if info is None:
            return ""
        return "dir" if stat.S_ISDIR(info.st_mode) else "other"

    def make_dirs(self, path: str, mode: int, owner: Owner, *, mtime: int | None = None) -> None:
        """Make a directory and its missing parents; ``mtime``, in nanoseconds, is the time of those that are made.

        Raises:
            InvalidInput: something on the way is not a directory.
        """
        if path == "." or self.kind(path) == "dir":
            return
        here = "."
        made = []
        for part in path.split("/"):
            here = names.join(here, part)
            existing = self.kind(here)
            if existing == "dir":
                continue
            if existing:
                raise InvalidInput(
                    f"cannot make the directory {'/' + path!r}: {'/' + here!r} is not a directory",
                    hint="remove it in an earlier step, or choose another destination",
                )
            parent, name = self.tree.parent(here)
            os.mkdir(name, 0o700, dir_fd=parent)
            descriptor = self.tree.open(here, os.O_RDONLY | os.O_DIRECTORY)
            try:
                self.own(descriptor, here, owner)
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)
            made.append(here)
        for one in reversed(
            made if mtime is not None else ()
        ):  # a directory made inside changes the time of its parent
            parent, name = self.tree.parent(one)
            os.utime(name, ns=(mtime or 0, mtime or 0), dir_fd=parent, follow_symlinks=False)

    def finish(self, lowers: Sequence[str]) -> None:
        """Keep the owners that the host could not store, also those of directories that were only passed through."""
        if self._table is None or not self._touched:
            return
        below = true_owners(lowers) if lowers else {}
        for touched in self._touched:
            path = touched
            while path != ".":
                if path in below:
                    self.owners.setdefault(path, below[path])
                path = names.split(path)[0]
        self._table.save()


@contextmanager
def open_stage(lowers: Sequence[str], upper: str, work: str, ids: Ids, check: Check) -> Iterator[Stage]:
    """The merged view of ``lowers`` (base first) with changes going to ``upper``."""
    _inherit_root(lowers, upper, ids)
    if lowers and ids.backing == "copy":
        from contextkernel.store.worker_union import UnionTree

        with LayerStack(lowers, ids, check) as stack, UnionTree.over(upper, stack, ids, check) as union:
            yield Stage(union, upper, ids)
            union.finish()
        return
    root = _overlay(lowers, upper, work, ids) if lowers else os.open(upper, DIRECTORY | os.O_CLOEXEC)
    with Tree(root) as tree:
        yield Stage(tree, upper, ids)


@contextmanager
def open_source_root(request: CopyRequest, ids: Ids, check: Check) -> Iterator[int]:
    """A descriptor of the root that a copy's sources are in; ``-1`` where there is none."""
    if request.source_root is not None:
        try:
            root = os.open(request.source_root, DIRECTORY | os.O_CLOEXEC)
        except OSError as problem:
            if problem.errno in {errno.ENOENT, errno.ENOTDIR}:
                raise SourceNotFound(f"the build context {request.source_root!r} is not a directory") from problem
            raise InvalidInput(
                f"cannot read the build context {request.source_root!r}: {os.strerror(problem.errno or 0).lower()}"
            ) from problem
    elif request.source_lowers:
        room, wanted = os.path.dirname(request.upper), tuple(item.source for item in request.items if item.data is None)
        with open_merged(request.source_lowers, room, ids, check, wanted) as opened:
            yield opened
        return
    elif any(item.data is None for item in request.items):
        place = f"{os.path.dirname(request.upper)}/nothing-{os.urandom(6).hex()}"  # scratch, which is empty
        os.mkdir(place, 0o755)
        root = os.open(place, DIRECTORY | os.O_CLOEXEC)
        os.rmdir(place)
    else:
        yield -1
        return
    try:
        yield root
    finally:
        os.close(root)


@contextmanager
def open_merged(
    lowers: Sequence[str], room: str, ids: Ids, check: Check, paths: Sequence[str] | None = None
) -> Iterator[int]:
    """A descriptor of the merged view of layers, which nobody can change.

    Args:
        lowers: base first, at least one.
        room: directory in which a mount point, or a copy, can be made for a moment.
        ids: says where overlay keeps its marks.
        check: raises when the client has given up.
        paths: what is looked at, with all that is below; ``None``: everything.
    """
    if len(lowers) == 1:
        # overlay wants two lower directories; a single one is the merged view but for whiteouts, of nothing
        opened = os.open(lowers[0], DIRECTORY | os.O_CLOEXEC)
    elif ids.backing == "copy":
        from contextkernel.store.worker_union import read_only_tree

        with read_only_tree(lowers, room, ids, check, paths) as descriptor:
            yield descriptor
        return
    else:
        opened = _overlay(lowers, "", room, ids)
    try:
        yield opened
    finally:
        os.close(opened)


def _inherit_root(lowers: Sequence[str], upper: str, ids: Ids) -> None:
    """Give a fresh upper directory the mode and owner that the root directory has so far: the topmost layer's count."""
    with os.scandir(upper) as listing:
        if next(listing, None) is not None:
            return
    if not lowers:
        os.chmod(upper, 0o755)  # noqa: S103  (the root directory of an image)
        return
    info = os.stat(lowers[-1], follow_symlinks=False)
    ids.chown(upper, *ids.owner(info), "/")
    os.chmod(upper, stat.S_IMODE(info.st_mode))


def _overlay(lowers: Sequence[str], upper: str, work: str, ids: Ids) -> int:
    """Mount an overlay nowhere, and return a descriptor of its root, with which it ends.

    Args:
        lowers: base first.
        upper: empty for a read-only view.
        work: overlay's work directory; without ``upper`` any directory that a mount point can be made in.
        ids: says where overlay keeps its marks.
    """
    place = f"{os.path.dirname(work) if upper else work}/mount-{os.urandom(6).hex()}"
    os.mkdir(place, 0o700)
    try:
        with MOUNTING:
            _mount(place, lowers, upper, work if upper else "", ids)
            try:
                return os.open(place, DIRECTORY | os.O_CLOEXEC)
            finally:
                mount.umount(place, mount.MNT_DETACH)
    finally:
        os.rmdir(place)


def _mount(place: str, stack: Sequence[str], upper: str, work: str, ids: Ids) -> None:
    """Mount without overlay's sync at the end, which would write out all that any container has written lately."""
    if upper:
        # overlay's reminder that an earlier mount was not synced, left for those who reuse an upper directory
        # after a crash of the machine; here it is one COPY after another
        with contextlib.suppress(FileNotFoundError), Tree(f"{work}/work/incompat") as tree:
            tree.remove("volatile")
        with contextlib.suppress(SyscallFailed):  # before Linux 5.10
            mount.overlay(
                place, lowers=stack, upper=upper, work=work, userxattr=ids.userns, volatile=True, flags=_FLAGS
            )
            return
    mount.overlay(place, lowers=stack, upper=upper, work=work, userxattr=ids.userns, flags=_FLAGS)
