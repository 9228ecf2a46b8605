"""Mount points inside a container's root: found without leaving it, created where missing, and remembered."""

from __future__ import annotations

import errno
import os
import stat

from contextkernel.errors import LaunchFailed, SyscallFailed
from contextkernel.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_in_root, openat2
from contextkernel.runtime.messages import Stub, StubParent

#: what the engine itself mounts, and masks and protects by these names: no link may lead any of it elsewhere
OWN = ("/proc", "/sys", "/dev")


class MountPoints:
    """The tree of one container while it is set up.

    Args:
        root: descriptor of the container's root, mounted.
        upper: descriptor of its writable directory, to tell what was there before.
        keep_own: what has to be made of :data:`OWN` is no stub.
        keep_points: nor are places of mounts that the user asked for: docker leaves them in the container's files.

    Attributes:
        made: how many places were created, stubs or not.
    """

    def __init__(self, root: int, upper: int, *, keep_own: bool = False, keep_points: bool = False) -> None:
        self.root = root
        self.made = 0
        self._keep_own = keep_own
        self._keep_points = keep_points
        self._keep = False  # right now
        self._upper = upper
        self._prefix = os.readlink(f"/proc/self/fd/{root}").rstrip("/")
        self._root_device = os.fstat(root).st_dev
        self._stubs: list[Stub] = []
        self._parents: dict[str, StubParent] = {}

    @property
    def stubs(self) -> tuple[Stub, ...]:
        """What was created, outermost first."""
        return tuple(self._stubs)

    @property
    def parents(self) -> tuple[StubParent, ...]:
        """The directories in which something was created."""
        return tuple(self._parents.values())

    def own(self, path: str) -> int:
        """An ``O_PATH`` descriptor of one of :data:`OWN`, an ordinary directory of the image; created if missing.

        A link there is refused, as runc does. What is mounted over the root by way of ``/proc -> .`` would be out of
        reach of the names that are masked afterwards, and in reach of ``/..``.

        Raises:
            LaunchFailed: the image has something else there.
        """
        limits = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
        try:
            return openat2(self.root, path.lstrip("/"), os.O_PATH | os.O_DIRECTORY, resolve=limits)
        except SyscallFailed as failure:
            if failure.number in (errno.ELOOP, errno.ENOTDIR):
                raise LaunchFailed(
                    f"the image's {path} is not a directory", hint="a container needs it as an ordinary directory"
                ) from failure
            if failure.number != errno.ENOENT:
                raise
        if self._keep_own:
            name = path.lstrip("/")
            os.mkdir(name, 0o755, dir_fd=self.root)
            return openat2(self.root, name, os.O_PATH | os.O_DIRECTORY, resolve=limits)
        return self.directory(path)

    def wanted(self, path: str, *, directory: bool) -> int:
        """An ``O_PATH`` descriptor of the place for a mount that the user asked for; created if missing.

        Raises:
            LaunchFailed: links of the image lead it to the root itself, or into /proc.
            SyscallFailed: it cannot be opened or made.
        """
        self._keep = self._keep_points
        try:
            point = self.directory(path) if directory else self.file(path)
        finally:
            self._keep = False
        where = self.inside(point)
        if where and where.split("/")[0] != "proc":
            return point
        os.close(point)
        raise LaunchFailed(
            f"mount target {path!r} leads to /{where} in this image", hint="choose one without links to there"
        )

    def at(self, path: str, *, directory: bool = True) -> int:
        """An ``O_PATH`` descriptor of the mount point ``path``: :meth:`own` or :meth:`wanted`."""
        return self.own(path) if path in OWN else self.wanted(path, directory=directory)

    def directory(self, path: str) -> int:
        """An ``O_PATH`` descriptor of directory ``path``; it and its parents are created if missing.

        Raises:
            SyscallFailed: something on the way is no directory, or cannot be made.
        """
        try:
            return open_in_root(self.root, path, os.O_PATH | os.O_DIRECTORY)
        except SyscallFailed as failure:
            if failure.number != errno.ENOENT:
                raise
        if path.strip("/") == "":
            raise SyscallFailed("open", errno.ENOENT, path)
        parent = self.directory(os.path.dirname(path.rstrip("/")))
        try:
            self._create(parent, os.path.basename(path.rstrip("/")), directory=True)
        finally:
            os.close(parent)
        return open_in_root(self.root, path, os.O_PATH | os.O_DIRECTORY)

    def file(self, path: str) -> int:
        """An ``O_PATH`` descriptor of ``path``, a file of any kind; an empty one is created if it is missing.

        Raises:
            SyscallFailed: it cannot be opened or made.
        """
        try:
            return open_in_root(self.root, path, os.O_PATH)
        except SyscallFailed as failure:
            if failure.number != errno.ENOENT:
                raise
        parent = self.directory(os.path.dirname(path))
        try:
            self._create(parent, os.path.basename(path), directory=False)
        finally:
            os.close(parent)
        return open_in_root(self.root, path, os.O_PATH)

    def _create(self, parent: int, name: str, *, directory: bool) -> None:
        """Make a stub in ``parent``; a dangling link of that name is followed, as the lookup before did."""
        try:
            link = os.readlink(name, dir_fd=parent)
        except OSError:
            link = ""
        if link:
            where = link if link.startswith("/") else f"{self.inside(parent)}/{link}"
            os.close(self.directory(where) if directory else self.file(where))
            return
        before = os.fstat(parent)
        own = before.st_dev == self._root_device  # else it lies on a tmpfs or bind, which is none of the image
        inside = self.inside(parent)
        ours = own and inside not in self._parents and not self._in_upper(inside)
        try:
            if directory:
                os.mkdir(name, 0o755, dir_fd=parent)
            else:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
                os.close(os.open(name, flags, 0o644, dir_fd=parent))
        except OSError as problem:
            raise SyscallFailed("create", problem.errno or 0, f"{inside}/{name}") from problem
        self.made += 1
        if not own or self._keep:
            return
        self._stubs.append(Stub(f"{inside}/{name}".lstrip("/"), directory))
        after = os.fstat(parent).st_mtime_ns
        known = self._parents.get(inside)
        self._parents[inside] = StubParent(
            path=inside,
            mode=stat.S_IMODE(before.st_mode),
            uid=before.st_uid,
            gid=before.st_gid,
            before=known.before if known else before.st_mtime_ns,
            after=after,
            ours=known.ours if known else ours,
        )

    def inside(self, descriptor: int) -> str:
        """Where ``descriptor`` is, counted from the container's root, without leading slash; empty for the root."""
        return os.readlink(f"/proc/self/fd/{descriptor}")[len(self._prefix) :].strip("/")

    def _in_upper(self, path: str) -> bool:
        try:
            if path:
                os.lstat(path, dir_fd=self._upper)
        except OSError:
            return False
        return True
