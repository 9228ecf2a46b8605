"""An archive unpacked over a tree of files that others may be changing at the same time.

Docker's rules (moby/go-archive, with ``NoOverwriteDirNonDir``): a file replaces whatever is no directory, a directory
joins one that is there and gives it its metadata, neither takes the place of the other. Every name is looked up anew,
from a root that no link leads out of.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress

from contextkernel.errors import Conflict, InvalidInput, SyscallFailed
from contextkernel.layer import names
from contextkernel.layer.untar import Member
from contextkernel.linux.openat2 import (
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    make_dirs_in_root,
    open_in_root,
    openat2,
)
from contextkernel.model.layers import Entry
from contextkernel.model.recorded import PREFIX
from contextkernel.store.worker_files import new_file

_PLACE = os.O_PATH | os.O_DIRECTORY
_STRICT = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DEVICES = {"char": stat.S_IFCHR, "block": stat.S_IFBLK}

#: sets an owner: descriptor or name, uid, gid, path for messages, directory of a name
Chown = Callable[[int | str, int, int, str, int | None], None]


class Unpacker:
    """Puts the entries of an archive below a directory.

    Args:
        root: descriptor of the root that absolute links count from, where they are followed.
        base: the directory, from there.
        follow: links among the parents are followed inside of ``root``, as in a container; else they are refused.
        chown: sets owners; ``None``: everything belongs to whoever unpacks.
        check: called for every entry; may raise to stop.
    """

    def __init__(
        self, root: int, base: str, *, follow: bool, chown: Chown | None = None, check: Callable[[], None] | None = None
    ) -> None:
        self._root = root
        self._base = base
        self._follow = follow
        self._chown = chown
        self._check = check
        self._times: dict[str, int] = {}
        self.skipped: list[str] = []

    def run(self, members: Iterable[Member]) -> None:
        """Unpack everything.

        Raises:
            Conflict: a directory would replace something else, or the other way round.
            InvalidInput: a link is in the way. OSError, SyscallFailed: refused by the file system.
        """
        for member in members:
            if self._check is not None:
                self._check()
            if member.entry.path != ".":
                self._put(member.entry, member)
        for path in sorted(self._times, reverse=True):
            with suppress(OSError, SyscallFailed):
                self._at(path, lambda parent, name, when=self._times[path]: _set_time(parent, name, when))  # type: ignore[misc]

    def _at(self, path: str, act: Callable[[int, str], None]) -> None:
        directory, name = names.split(path)
        parent = self._parent(directory)
        try:
            act(parent, name)
        finally:
            os.close(parent)

    def _parent(self, directory: str) -> int:
        """Descriptor of a directory that is in the archive, or implied by it."""
        if self._follow:
            path = f"{self._base}/{directory}"
            try:
                return open_in_root(self._root, path, _PLACE)
            except SyscallFailed as failure:
                if failure.number != errno.ENOENT:
                    raise
            return make_dirs_in_root(self._root, path)[0]
        here = openat2(self._root, ".", _PLACE, resolve=_STRICT)
        for part in [] if directory == "." else directory.split("/"):
            try:
                try:
                    below = openat2(here, part, _PLACE, resolve=_STRICT)
                except SyscallFailed as failure:
                    if failure.number != errno.ENOENT:
                        raise InvalidInput(
                            f"cannot write below {directory!r}: a link or file is in the way",
                            hint="remove it, or choose another destination",
                        ) from failure
                    os.mkdir(part, 0o755, dir_fd=here)
                    below = openat2(here, part, _PLACE, resolve=_STRICT)
            finally:
                os.close(here)
            here = below
        return here

    def _put(self, entry: Entry, member: Member) -> None:
        self._at(entry.path, lambda parent, name: self._place(entry, member, parent, name))

    def _place(self, entry: Entry, member: Member, parent: int, name: str) -> None:
        try:
            existing = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            existing = None
        if existing is not None:
            there = stat.S_ISDIR(existing.st_mode)
            shown = f"{self._base.rstrip('/')}/{entry.path}" if self._follow else entry.path
            if there and entry.kind != "dir":
                raise Conflict(f"cannot overwrite directory {shown!r} with non-directory {name!r}")
            if not there and entry.kind == "dir":
                raise Conflict(f"cannot overwrite non-directory {shown!r} with directory {name!r}")
            if not there:
                os.unlink(name, dir_fd=parent)
        match entry.kind:
            case "dir":
                self._directory(entry, parent, name, made=existing is None)
            case "file":
                self._file(entry, member, parent, name)
            case "symlink":
                os.symlink(entry.link, name, dir_fd=parent)
                self._finish(entry, name, parent)
            case "hardlink":
                self._at(
                    entry.link,
                    lambda source, first: os.link(
                        first, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False
                    ),
                )
            case "fifo":
                os.mkfifo(name, 0o600, dir_fd=parent)
                os.chmod(name, entry.mode & 0o7777, dir_fd=parent)
                self._finish(entry, name, parent)
            case "char" | "block":
                self._device(entry, parent, name)
            case _:
                self.skipped.append(entry.path)

    def _directory(self, entry: Entry, parent: int, name: str, *, made: bool) -> None:
        if made:
            os.mkdir(name, 0o700, dir_fd=parent)
        here = os.open(name, _DIRECTORY, dir_fd=parent)
        try:
            if self._chown is not None:
                self._chown(here, entry.uid, entry.gid, entry.path, None)
            os.fchmod(here, entry.mode & 0o7777)
        finally:
            os.close(here)
        self._times[entry.path] = entry.mtime

    def _file(self, entry: Entry, member: Member, parent: int, name: str) -> None:
        output = new_file(parent, name)
        try:
            end = 0
            for offset, part in member.content():
                done = 0
                while done < len(part):
                    done += os.pwrite(output, part[done:], offset + done)
                end = offset + done
            if end < entry.size:
                os.ftruncate(output, entry.size)
            if self._chown is not None:
                self._chown(output, entry.uid, entry.gid, entry.path, None)
            os.fchmod(output, entry.mode & 0o7777)
            if self._chown is not None:
                for key, value in entry.xattrs.items():
                    if key.startswith(PREFIX):
                        continue
                    with suppress(OSError):  # as far as the file system and this user's rights go
                        os.setxattr(output, key, value)
            os.utime(output, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(output)

    def _device(self, entry: Entry, parent: int, name: str) -> None:
        try:
            device = os.makedev(entry.major, entry.minor)
            os.mknod(name, _DEVICES[entry.kind] | 0o600, device, dir_fd=parent)
        except PermissionError:
            self.skipped.append(entry.path)  # as docker does where devices cannot be made
            return
        os.chmod(name, entry.mode & 0o7777, dir_fd=parent)
        self._finish(entry, name, parent)

    def _finish(self, entry: Entry, name: str, parent: int) -> None:
        if self._chown is not None:
            self._chown(name, entry.uid, entry.gid, entry.path, parent)
        _set_time(parent, name, entry.mtime)


def _set_time(parent: int, name: str, when: int) -> None:
    os.utime(name, ns=(when, when), dir_fd=parent, follow_symlinks=False)


class Peekable:
    """A stream that can only be read forward, but for its first bytes: enough to see how it is compressed.

    Args:
        descriptor: to read from; it stays the caller's.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._head = b""
        self._position = 0
        self._open = True

    def read(self, count: int = -1) -> bytes:
        """At most ``count`` bytes; none at the end."""
        if self._position < len(self._head):
            data = self._head[self._position :] if count < 0 else self._head[self._position : self._position + count]
            self._position += len(data)
            return data
        data = os.read(self._descriptor, 1 << 20 if count < 0 else count)
        if self._open:
            self._head += data
            self._position += len(data)
        return data

    def peek(self) -> bytes:
        """The first bytes; none if there is nothing."""
        if not self._head:
            self._head = os.read(self._descriptor, 1 << 16)
        return self._head

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """As ``io.RawIOBase``."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readable(self) -> bool:
        """It is."""
        return True

    def seek(self, position: int) -> int:
        """Back to the beginning, once."""
        if position or not self._open:
            raise OSError(errno.ESPIPE, "only the beginning of a stream can be read again")
        self._open, self._position = False, 0
        return 0
