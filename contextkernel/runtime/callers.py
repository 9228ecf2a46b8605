"""A process whose system call waits for an answer: its memory, its descriptors, and the names it gives.

All of it is the process's own, and changes while it is looked at: nothing here trusts it. Names are followed by the
kernel from the caller's own directories, with the caller's root directory as the root of this process, so that they
mean what they mean to the caller and lead nowhere else; links of /proc that jump are never followed by the kernel.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from contextkernel.errors import SyscallFailed
from contextkernel.linux.fsops import is_proc
from contextkernel.linux.libc import AT_FDCWD
from contextkernel.linux.openat2 import RESOLVE_NO_MAGICLINKS, openat2

_PATH_MAX = 4096  # with the zero at the end
_PAGE = 4096
_MAX_LINKS = 40  # path_resolution(7)
_HIGHEST = (1 << 63) - 1
#: the kernel says so where a jump link is in the way, and where /proc/self is this process, which is not in that /proc
_PERHAPS_JUMPS = {errno.ELOOP, errno.ENOENT}
_NOT_OURS = 0  # success: as for everything that is not on the container's own file system


class CallFails(Exception):
    """The call is to fail.

    Args:
        number: errno for the caller; 0: there is nothing to do, and it is told that it was done.
    """

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.number = number


class Caller:
    """One thread that waits.

    Args:
        proc: descriptor of a /proc that it is in.
        pid: its id there. It is the right one if the caller is still waiting after this has been made.

    Raises:
        OSError: there is no such thread.
    """

    def __init__(self, proc: int, pid: int) -> None:
        self._directory = os.open(str(pid), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._directory)

    def open(self, name: str) -> int:
        """What a link of its directory in /proc leads to (``root``, ``cwd``, ``fd/3``), as an ``O_PATH`` descriptor.

        Raises:
            OSError: there is none.
        """
        return os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=self._directory)

    def descriptor(self, number: int) -> int:
        """What one of its descriptors is.

        Raises:
            CallFails: EBADF.
        """
        if number < 0:
            raise CallFails(errno.EBADF)
        try:
            return self.open(f"fd/{number}")
        except FileNotFoundError:
            raise CallFails(errno.EBADF) from None

    def text(self, address: int) -> bytes:
        """A name in its memory, without the zero at its end.

        Raises:
            CallFails: EFAULT, ENAMETOOLONG.
        """
        if address > _HIGHEST - _PATH_MAX:
            raise CallFails(errno.EFAULT)
        memory = os.open("mem", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
        found = b""
        try:
            while len(found) < _PATH_MAX:
                at = address + len(found)
                # no further than its page goes: the next one may not be there
                piece = os.pread(memory, min(_PAGE - at % _PAGE, _PATH_MAX - len(found)), at)
                end = piece.find(0)
                if end >= 0:
                    return found + piece[:end]
                if not piece:
                    raise CallFails(errno.EFAULT)
                found += piece
        except OSError:  # EIO: nothing is mapped there
            raise CallFails(errno.EFAULT) from None
        finally:
            os.close(memory)
        raise CallFails(errno.ENAMETOOLONG)

    def status(self, name: str) -> str:
        """A line of its status file; empty if it has none."""
        with open(os.open("status", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory), encoding="utf-8") as lines:
            return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:")), "")

    def umask(self) -> int:
        """Permissions that what it makes does not get."""
        return int(self.status("Umask") or "022", 8)


class Names:
    """Follows names for callers; this process's root directory is the container's from here on.

    Its working directory is where its descriptors are found by their numbers, for calls that take no descriptor.

    Args:
        root: descriptor of the container's root directory.
        descriptors: of this process's ``/proc/self/fd``.

    Raises:
        OSError: the root directory cannot be changed.
    """

    def __init__(self, root: int, descriptors: int) -> None:
        self._root = root
        self._descriptors = descriptors
        info = os.fstat(root)
        self._identity = info.st_dev, info.st_ino
        self._settle(root)

    def _settle(self, root: int) -> None:
        os.fchdir(root)
        os.chroot(".")
        os.fchdir(self._descriptors)

    @contextmanager
    def _as(self, caller: Caller) -> Iterator[int]:
        """With the caller's root directory, which may not be the container's (chroot(2)); a descriptor of it."""
        root = caller.open("root")
        try:
            info = os.fstat(root)
            if (info.st_dev, info.st_ino) == self._identity:
                yield root
                return
            try:
                self._settle(root)
                yield root
            finally:
                self._settle(self._root)
        finally:
            os.close(root)

    def file(self, caller: Caller, directory: int, path: bytes, *, follow: bool, empty: bool = False) -> int:
        """What a name means to the caller.

        Args:
            caller: who gives it.
            directory: its descriptor that a relative name counts from; ``AT_FDCWD``.
            path: the name.
            follow: follow a link at its end.
            empty: an empty name means ``directory`` itself (AT_EMPTY_PATH).

        Returns:
            An ``O_PATH`` descriptor.

        Raises:
            CallFails, SyscallFailed, OSError: with the errno that the caller is to have.
        """
        if not path:
            if not empty:
                raise CallFails(errno.ENOENT)
            return _base(caller, directory)
        with self._as(caller) as root:
            base = root if path.startswith(b"/") else _base(caller, directory)
            try:
                try:
                    return _open(base, path, follow=follow)
                except SyscallFailed as failure:
                    if failure.number not in _PERHAPS_JUMPS:
                        raise
                return _Walk(caller, root, base).to(path, follow=follow)
            finally:
                if base != root:
                    os.close(base)

    def parent(self, caller: Caller, directory: int, path: bytes) -> tuple[int, bytes, bool]:
        """The directory that something is to be made in, its name there, and whether slashes follow the name.

        Raises:
            CallFails, SyscallFailed, OSError: with the errno that the caller is to have.
        """
        if not path:
            raise CallFails(errno.ENOENT)
        name = path.rstrip(b"/")
        head, slash, last = name.rpartition(b"/")
        if last in (b"", b".", b".."):
            raise CallFails(errno.EEXIST)
        found = self.file(caller, directory, head + slash + b".", follow=True)
        return found, last, len(name) < len(path)


def _base(caller: Caller, directory: int) -> int:
    return caller.open("cwd") if directory == AT_FDCWD else caller.descriptor(directory)


def _open(base: int, path: bytes, *, follow: bool) -> int:
    return openat2(base, path, os.O_PATH | os.O_NOFOLLOW * (not follow), resolve=RESOLVE_NO_MAGICLINKS)


class _Walk:
    """A name followed one component at a time, for those that lead through a caller's own /proc."""

    def __init__(self, caller: Caller, root: int, base: int) -> None:
        self._caller = caller
        self._root = root
        self._here = os.dup(base)
        self._links = 0
        self._own: tuple[bytes, ...] | None = None  # below the caller's own directory in /proc

    def to(self, path: bytes, *, follow: bool) -> int:
        """Go there."""
        try:
            self._walk(path, follow=follow)
        except BaseException:
            os.close(self._here)
            raise
        return self._here

    def _go(self, descriptor: int, own: tuple[bytes, ...] | None = None) -> None:
        os.close(self._here)
        self._here, self._own = descriptor, own

    def _walk(self, path: bytes, *, follow: bool) -> None:
        todo = self._parts(path)
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                if not stat.S_ISDIR(os.fstat(self._here).st_mode):
                    raise CallFails(errno.ENOTDIR)
                continue
            if part == b".." and self._own is not None:
                self._up()
                continue
            step = _open(self._here, part, follow=False)
            if not stat.S_ISLNK(os.fstat(step).st_mode):
                self._go(step, None if self._own is None else (*self._own, part))
                continue
            try:
                if not todo and not follow:
                    self._go(os.dup(step))
                    return
                self._links += 1
                if self._links > _MAX_LINKS:
                    raise CallFails(errno.ELOOP)
                if is_proc(step):
                    todo += self._through_proc(step, part)
                else:
                    todo += self._parts(os.readlink(b"", dir_fd=step))
            finally:
                os.close(step)

    def _up(self) -> None:
        """Within the caller's directory in /proc; what is above it is a /proc of the host's."""
        if not self._own:
            raise CallFails(_NOT_OURS)
        self._go(_open(self._here, b"..", follow=False), self._own[:-1])

    def _parts(self, path: bytes) -> list[bytes]:
        """Components, the last one first; an absolute name begins at the root."""
        if path.startswith(b"/"):
            self._go(os.dup(self._root))
        return path.lstrip(b"/").split(b"/")[::-1]

    def _through_proc(self, step: int, part: bytes) -> list[bytes]:
        """Follow a link of /proc: the caller's own directory, what that leads to, or an ordinary link's text.

        Raises:
            CallFails: what jumps belongs to others; it is no file of the container's in all but made-up cases.
        """
        if self._own is not None:
            own = (*self._own, part)
            if own in ((b"root",), (b"cwd",), (b"exe",)) or (len(own) == 2 and own[0] == b"fd" and part.isdigit()):
                self._go(self._caller.open(b"/".join(own).decode()))
                return []
        if part in (b"self", b"thread-self"):
            self._go(self._caller.open("."), ())
            return []
        try:
            text = os.readlink(b"", dir_fd=step)
        except OSError:
            raise CallFails(_NOT_OURS) from None
        # a text that jumps is no name: "pipe:[5]", or what it is called in another place
        if text.startswith(b"/") or b":" in text:
            raise CallFails(_NOT_OURS)
        return self._parts(text)
