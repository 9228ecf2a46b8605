"""Directory trees as the layer worker handles them: by clean relative paths, below an open root.

Parents are opened with openat2 so that no symbolic link is ever followed; the last component is only used in ``*at``
calls that do not follow.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from contextkernel.errors import HostUnsupported, StoreProblem, SyscallFailed
from contextkernel.layer import names
from contextkernel.linux.fsops import DIRECTORY, open_strictly
from contextkernel.linux.openat2 import open_in_root
from contextkernel.model.backing import Backing
from contextkernel.model.ids import IdMap
from contextkernel.model.recorded import OWNER, RecordedOwner
from contextkernel.store.resolving import destination_in_root

_KEPT = 16  # parents that stay open
_DEEP = 100  # levels of directories that removal keeps open at once
_LOOKS = 100  # at a tree that somebody still writes to
_PAUSE = 0.01  # seconds between them


class Ids:
    """What the worker's ids allow.

    Args:
        idmap: what its ids are outside.
        backing: what file systems are made with.
        mounts: it has a mount namespace of its own.

    Attributes:
        userns: it works in a user namespace.
        single: the host can store one owner only.
        own: it works as an ordinary user, without a user namespace: nothing that a file's mode forbids its owner can be
            done, and there are no mounts.
        xattr: prefix of overlay's attributes.
    """

    def __init__(self, idmap: IdMap, *, backing: Backing = "overlay", mounts: bool = True) -> None:
        self.userns = not idmap.identity
        self.single = idmap.single
        self.own = idmap.own
        self.backing: Backing = backing
        self.mounts = mounts and not idmap.own
        self.xattr = "trusted.overlay." if idmap.root else "user.overlay."

    def owner(self, info: os.stat_result) -> tuple[int, int]:
        """The owner of a file of a container, as the container has it.

        Without a user namespace all files of the ordinary user that this is are root's.

        Args:
            info: of the file.
        """
        return (0, 0) if self.own else (info.st_uid, info.st_gid)

    def chown(self, target: int | str, uid: int, gid: int, path: str, *, dir_fd: int | None = None) -> None:
        """Set an owner, unless it is what a new file has anyway; never follows.

        Args:
            target: descriptor, or name in ``dir_fd``.
            uid, gid: as the image says.
            path: for the message.
            dir_fd: directory of a name.

        Raises:
            HostUnsupported: the id is not mapped here. With a single id that is so for all others, and no error:
                the layer index knows better. It is noted on regular files and directories, so that programs of a
                container take it along with what they move or copy as a whole.
        """
        if self.single:
            if isinstance(target, int) and (uid or gid):
                with suppress(OSError):  # no file system has to have such attributes, and no other kind of file
                    os.setxattr(target, OWNER, RecordedOwner(uid, gid).encode())
            return
        try:
            if isinstance(target, int):
                os.fchown(target, uid, gid)
            else:
                os.chown(target, uid, gid, dir_fd=dir_fd, follow_symlinks=False)
        except OSError as problem:
            if problem.errno == errno.EINVAL and self.userns:
                raise HostUnsupported(
                    f"{path!r} belongs to {uid}:{gid}, which is outside of the ids that are mapped here",
                    hint="give this user more ids in /etc/subuid and /etc/subgid",
                ) from problem
            raise


class Tree:
    """An open directory tree.

    Args:
        root: absolute path of its root, or an open descriptor that it takes over.
    """

    def __init__(self, root: str | int) -> None:
        self.root = os.open(root, DIRECTORY | os.O_CLOEXEC) if isinstance(root, str) else root
        self._open: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all descriptors."""
        self.forget()
        os.close(self.root)

    def forget(self) -> None:
        """Close the parents that were kept open: needed after directories were moved or removed."""
        while self._open:
            os.close(self._open.popitem()[1])

    def directory(self, path: str) -> int:
        """A descriptor (``O_PATH``) of a directory; it belongs to the tree.

        Raises:
            SyscallFailed: there is no such directory, or a link on the way to it.
        """
        if path == ".":
            return self.root
        found = self._open.pop(path, -1)
        if found < 0:
            found = open_strictly(self.root, path)
            if len(self._open) >= _KEPT:
                os.close(self._open.pop(next(iter(self._open))))
        self._open[path] = found  # last in order: the one used last is closed last
        return found

    def parent(self, path: str) -> tuple[int, str]:
        """Descriptor of the directory of ``path``, and the last component."""
        directory, name = names.split(path)
        return self.directory(directory), name

    def lstat(self, path: str) -> os.stat_result | None:
        """What is at ``path``, ``None`` if nothing is."""
        try:
            directory, name = self.parent(path)
            return os.stat(name or ".", dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except SyscallFailed as failure:
            if failure.number in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
                return None
            raise

    def open(self, path: str, flags: int = os.O_RDONLY) -> int:
        """Open a file or directory itself for reading; a link at the end is an error."""
        directory, name = self.parent(path)
        return os.open(name or ".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)

    def open_directory(self, path: str) -> int:
        """Open a directory to list it, also one that its mode closes to its owner (who then is not root)."""
        try:
            return self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except PermissionError:
            directory, name = self.parent(path)
            with opened_up(directory, name, 0o500):
                return self.open(path, os.O_RDONLY | os.O_DIRECTORY)

    def open_file(self, path: str) -> int:
        """Open a regular file to read it, also one that its mode closes to its owner (who then is not root)."""
        directory, name = self.parent(path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            return os.open(name, flags, dir_fd=directory)
        except PermissionError:
            with opened_up(directory, name, 0o400):
                return os.open(name, flags, dir_fd=directory)

    def link_path(self, path: str) -> str:
        """A name of the entry itself for calls that take no directory descriptor."""
        directory, name = self.parent(path)
        return f"/proc/self/fd/{directory}/{name}"

    def resolve(self, path: str) -> str:
        """The clean relative path that ``path`` leads to, all links followed inside (``resolving.destination``)."""
        return destination_in_root(self.root, path)

    def open_inside(self, path: str, flags: int) -> int:
        """Open what ``path`` leads to, all links followed inside.

        Raises:
            SyscallFailed: nothing is there, or it cannot be opened.
        """
        return open_in_root(self.root, path, flags)

    def inside(self, path: str) -> Tree:
        """The tree of a directory in here."""
        return Tree(self.open(path, os.O_RDONLY | os.O_DIRECTORY))

    def hold(self, path: str) -> None:
        """Make ready to change what is at ``path``, or to link to it."""

    def unlink(self, path: str) -> None:
        """Remove a file that something else takes the place of at once."""
        directory, name = self.parent(path)
        os.unlink(name, dir_fd=directory)

    def remove(self, path: str) -> None:
        """Remove whatever is at ``path``."""
        directory, name = self.parent(path)
        remove_at(directory, name)
        self.forget()


@contextmanager
def opened_up(directory: int, name: str, bits: int) -> Iterator[None]:
    """Give the owner of a file or directory more rights on it for a moment.

    Args:
        directory: descriptor of its parent.
        name: last component; no link.
        bits: what is added to its mode.
    """
    mode = stat.S_IMODE(_mode(directory, name or "."))
    os.chmod(name or ".", mode | bits, dir_fd=directory)
    try:
        yield
    finally:
        os.chmod(name or ".", mode, dir_fd=directory)


def _never() -> None:
    pass


def remove_at(directory: int, name: str, check: Callable[[], None] = _never) -> None:
    """Remove a file or a whole tree; nothing there is fine. Links are removed, never followed.

    Directories that forbid it are opened up first. A tree of any depth takes a bounded number of descriptors: what
    lies too deep is moved up to the top of the tree and removed from there. What a process that is just ending puts
    there meanwhile (overlay's work directories are the kernel's) is removed too; one that does not end is an error.

    Args:
        directory: descriptor of the parent.
        name: last component.
        check: called now and then; may raise to stop.
    """
    try:
        os.unlink(name, dir_fd=directory)
        return
    except FileNotFoundError:
        return
    except IsADirectoryError:
        pass
    except OSError as problem:
        # EPERM: what POSIX says of a directory, and some file systems do
        if problem.errno != errno.EPERM or not stat.S_ISDIR(_mode(directory, name)):
            raise
    try:
        top = _open_for_removal(directory, name)
    except FileNotFoundError:  # another process removes the same tree: here and below
        return
    try:
        for left in reversed(range(_LOOKS)):
            try:
                while _empty(top, top, 0, check):
                    pass  # what was too deep lies at the top now
                with suppress(FileNotFoundError):
                    os.rmdir(name, dir_fd=directory)
                return
            except OSError as problem:
                if problem.errno != errno.ENOTEMPTY or not left:
                    raise
            time.sleep(_PAUSE)
    finally:
        os.close(top)


def _mode(directory: int, name: str) -> int:
    return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode


def _open_for_removal(directory: int, name: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        here = os.open(name, flags, dir_fd=directory)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=directory)  # not a link: the open above would have said ELOOP
        return os.open(name, flags, dir_fd=directory)
    if os.geteuid() != 0 and os.fstat(here).st_mode & 0o700 != 0o700:
        os.fchmod(here, 0o700)
    return here


def _empty(here: int, top: int, depth: int, check: Callable[[], None]) -> bool:
    """Remove what is in ``here``; returns whether something was moved up to ``top`` instead."""
    moved = False
    with os.scandir(here) as listing:
        inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing]
    for name, is_directory in inside:
        check()
        if not is_directory:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=here)
            continue
        try:
            below = _open_for_removal(here, name)
        except FileNotFoundError:
            continue
        try:
            if depth >= _DEEP:
                os.rename(name, f".too-deep-{os.urandom(12).hex()}", src_dir_fd=here, dst_dir_fd=top)
                moved = True
                continue
            moved |= _empty(below, top, depth + 1, check)
        finally:
            os.close(below)
        with suppress(FileNotFoundError):
            os.rmdir(name, dir_fd=here)
    return moved


def write_file(path: str, data: bytes) -> None:
    """Replace a small file as a whole.

    Not synced to the disk: a killed process loses nothing by that, and after a power failure the unpacked tree
    beside it could not be trusted either.
    """
    temporary = f"{path}.new"
    try:
        with open(temporary, "wb") as stream:
            stream.write(data)
        os.replace(temporary, path)
    except OSError as problem:
        if problem.errno == errno.ENOSPC:
            raise
        raise StoreProblem(f"cannot write {path!r}: {problem.strerror}") from problem
