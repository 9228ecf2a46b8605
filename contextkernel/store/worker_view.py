"""The files of a container that does not run, put together for a moment: layers and changes, volumes and binds."""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from contextkernel.errors import SyscallFailed
from contextkernel.linux import mount
from contextkernel.linux.fsops import DIRECTORY
from contextkernel.linux.openat2 import make_dirs_in_root, open_in_root
from contextkernel.model.backing import PrepareRequest, Root
from contextkernel.model.box import BoxMount, BoxView
from contextkernel.store.tree_record import has_tree, tree_of
from contextkernel.store.worker_stage import MOUNTING
from contextkernel.store.worker_tree import Ids
from contextkernel.store.worker_trees import prepare

Check = Callable[[], None]
_FLAGS = mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC


class OpenedView:
    """An open view.

    Args:
        root: descriptor of its root.
        changes: the directory that the container's changes are in.
        mounts: volumes and binds that could not be mounted, where this process may not mount.
    """

    def __init__(self, root: int, changes: str, mounts: Sequence[BoxMount] = ()) -> None:
        self.root = root
        self.changes = changes
        self._mounts = sorted(mounts, key=lambda one: len(one.target), reverse=True)

    @contextmanager
    def at(self, path: str) -> Iterator[tuple[int, str]]:
        """Where a path really is.

        Args:
            path: clean, relative, without links.

        Yields:
            A descriptor of a root, and the path in there: those of the view, but for what lies in a volume or bind that
            could not be mounted.
        """
        found = self._mount_of(path)
        if found is None:
            yield self.root, path
            return
        source = os.open(found.source, os.O_PATH | os.O_CLOEXEC)
        with ExitStack() as stack:
            stack.callback(os.close, source)
            if found.subpath:
                source = open_in_root(source, found.subpath)
                stack.callback(os.close, source)
            if stat.S_ISDIR(os.fstat(source).st_mode):
                yield source, path[len(found.target.strip("/")) :].strip("/") or "."
                return
            holder = os.open(os.path.dirname(found.source), DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, holder)
            yield holder, os.path.basename(found.source)

    def _mount_of(self, path: str) -> BoxMount | None:
        for one in self._mounts:
            target = one.target.strip("/")
            if path == target or path.startswith(f"{target}/"):
                return one
        return None

    def shown(self, path: str, inside: str) -> str:
        """The path in the view of ``inside``, which is a path in the mount that ``path`` lies in."""
        found = self._mount_of(path)
        if found is None or not os.path.isdir(found.source):
            return path
        target = found.target.strip("/")
        return target if inside == "." else f"{target}/{inside}"


@contextmanager
def open_view(view: BoxView, root: int, ids: Ids, check: Check, *, write: bool) -> Iterator[OpenedView]:
    """The root of a container's files, with its volumes and binds.

    Args:
        view: where they are.
        root: of a running container; else -1.
        ids: of the worker.
        check: raises when the client has given up.
        write: something is to be changed.
    """
    if root >= 0:
        directory = os.path.dirname(view.upper)
        yield OpenedView(root, tree_of(directory) if has_tree(directory) else view.upper)
        return
    files = Root(lowers=view.lowers, upper=view.upper, work=view.work)
    files = prepare(PrepareRequest(root=files), ids, check)
    if not ids.mounts:
        descriptor = os.open(files.upper, DIRECTORY | os.O_CLOEXEC)
        try:
            yield OpenedView(descriptor, files.upper, view.mounts)
        finally:
            os.close(descriptor)
        return
    token = os.urandom(6).hex()
    place, scratch = f"{view.room}/view-{token}", f"{view.room}/scratch-{token}"
    made: list[str] = []
    os.mkdir(place, 0o700)
    try:
        with ExitStack() as times:
            _mount_files(files, place, scratch, ids, write=write)
            try:
                descriptor = os.open(place, DIRECTORY | os.O_CLOEXEC)
                try:
                    for one in sorted(view.mounts, key=lambda one: one.target.count("/")):
                        if not files.lowers and not write:
                            times.enter_context(_time_kept(descriptor, one.target))
                        made += _mount_one(one, descriptor)
                    yield OpenedView(descriptor, files.upper)
                finally:
                    os.close(descriptor)
            finally:
                mount.umount(place, mount.MNT_DETACH)
                if write or not files.lowers:
                    _remove_points(files.upper, made)
    finally:
        os.rmdir(place)
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _time_kept(root: int, target: str) -> Iterator[None]:
    """The directory in which a place for ``target`` would be made gets its time back."""
    here = target.rstrip("/")
    holder = -1
    while holder < 0:
        here = posixpath.dirname(here)
        with suppress(SyscallFailed):
            holder = open_in_root(root, here, DIRECTORY)
    try:
        info = os.stat(".", dir_fd=holder)
        yield
        os.utime(".", ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=holder)
    finally:
        os.close(holder)


def _mount_files(files: Root, place: str, scratch: str, ids: Ids, *, write: bool) -> None:
    """Mount layers and changes; what is only read gets a writable layer that is thrown away, for mount points."""
    lowers, upper, work = files.lowers, files.upper, files.work
    if not lowers:
        with MOUNTING:
            mount.bind(upper, place)
        return
    if not write:
        os.mkdir(scratch, 0o700)
        upper, work = f"{scratch}/upper", f"{scratch}/work"
        info = os.stat(files.upper)
        for path in (upper, work):
            os.mkdir(path, 0o755)
        ids.chown(upper, *ids.owner(info), "/")
        os.chmod(upper, stat.S_IMODE(info.st_mode))
        lowers = (*lowers, files.upper)
    with MOUNTING:
        mount.overlay(place, lowers=lowers, upper=upper, work=work, userxattr=ids.userns, flags=_FLAGS)


def _mount_one(one: BoxMount, root: int) -> list[str]:
    """Bind one volume; returns what had to be made for its place, outermost first."""
    source = os.open(one.source, os.O_PATH | os.O_CLOEXEC)
    try:
        if one.subpath:
            whole, source = source, open_in_root(source, one.subpath)
            os.close(whole)
        here = f"/proc/self/fd/{source}"
        directory = os.path.isdir(here)
        place = one.target if directory else posixpath.dirname(one.target)
        point, made = make_dirs_in_root(root, place)
        try:
            if not directory:
                name = posixpath.basename(one.target)
                with suppress(FileExistsError):
                    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=point))
                    made = (*made, one.target.strip("/"))
                os.close(point)
                point = open_in_root(root, one.target)
            attributes = mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_RDONLY * one.read_only
            mount.bind_at(here, point, attributes)
        finally:
            os.close(point)
    finally:
        os.close(source)
    return list(made)


def _remove_points(upper: str, made: list[str]) -> None:
    for path in reversed(made):
        with suppress(OSError):
            if os.path.isdir(f"{upper}/{path}"):
                os.rmdir(f"{upper}/{path}")
            elif os.path.getsize(f"{upper}/{path}") == 0:
                os.unlink(f"{upper}/{path}")
