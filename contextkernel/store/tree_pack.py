"""A tree of files as a tar archive, read through descriptors: no link in it is followed.

Docker's rules (moby/go-archive): sockets are left out, hard links within the tree are kept, of extended attributes
``security.capability`` alone. A file that becomes shorter while it is read is filled up with zeros, as tar(1) does.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from msgspec.structs import replace

from contextkernel.layer import tar
from contextkernel.model.layers import Entry, EntryKind
from contextkernel.model.recorded import Device
from contextkernel.store.file_rows import KINDS, file_row

_CHUNK = 1 << 20
_CAPABILITY = "security.capability"
Owner = tuple[int, int]


def _nothing() -> None:
    pass


def _its_own(_path: str, info: os.stat_result) -> Owner:
    return info.st_uid, info.st_gid


def _no_node(_path: str) -> Device | None:
    return None


class Packer:
    """Writes trees into one archive.

    Args:
        write: takes the bytes of the archive.
        owner: the owner to note for what is at a path, by path and stat.
        node: the device node that a regular file at a path stands for.
        hidden: paths of directories whose content is left out.
        check: called for every entry; may raise to stop.
    """

    def __init__(
        self,
        write: Callable[[bytes | memoryview], object],
        *,
        owner: Callable[[str, os.stat_result], Owner] = _its_own,
        node: Callable[[str], Device | None] = _no_node,
        hidden: frozenset[str] = frozenset(),
        check: Callable[[], None] = _nothing,
    ) -> None:
        self._write = write
        self._owner = owner
        self._node = node
        self._hidden = hidden
        self._check = check
        self._links: dict[tuple[int, int], str] = {}
        self._buffer = memoryview(bytearray(_CHUNK))

    def add(self, directory: int, base: str, name: str, path: str = "") -> None:
        """Add what is at ``base``, with all that is below it.

        Args:
            directory: descriptor of the directory it is in.
            base: its name there; ``.`` for that directory itself.
            name: what it is called in the archive; empty: what is in the directory is added, without itself.
            path: what ``owner`` and ``hidden`` know it by.

        Raises:
            OSError: it cannot be read.
        """
        self._check()
        info = os.stat(base, dir_fd=directory, follow_symlinks=False)
        kind = KINDS.get(stat.S_IFMT(info.st_mode))
        if kind is None:
            return
        if kind == "dir":
            self._directory(directory, base, name, path, info)
            return
        key = (info.st_dev, info.st_ino)
        if kind == "file" and info.st_nlink > 1:
            first = self._links.setdefault(key, name)
            if first != name:
                self._write(tar.header(self._entry(name, "hardlink", path, info, link=first)))
                return
        device = self._node(path) if kind == "file" else None
        if device is not None:
            entry = replace(self._entry(name, "file", path, info), kind=device.kind, size=0)
            self._write(tar.header(replace(entry, major=device.major, minor=device.minor)))
            return
        if kind == "file":
            self._file(directory, base, name, path)
            return
        link = os.readlink(base, dir_fd=directory) if kind == "symlink" else ""
        self._write(tar.header(self._entry(name, kind, path, info, link=link)))

    def end(self) -> None:
        """Write the end of the archive."""
        self._write(tar.END)

    def _directory(self, directory: int, base: str, name: str, path: str, info: os.stat_result) -> None:
        if name:
            self._write(tar.header(self._entry(name, "dir", path, info)))
        if path in self._hidden:
            return
        here = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            for child in sorted(os.listdir(here)):
                below = f"{name}/{child}" if name else child
                try:
                    self.add(here, child, below, f"{path}/{child}" if path else child)
                except FileNotFoundError:
                    continue  # gone meanwhile: nobody stops a container's programs
        finally:
            os.close(here)

    def _file(self, directory: int, base: str, name: str, path: str) -> None:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        source = os.open(base, flags, dir_fd=directory)
        try:
            info = os.fstat(source)
            if not stat.S_ISREG(info.st_mode):
                return  # it has become something else
            try:
                attributes = {_CAPABILITY: os.getxattr(source, _CAPABILITY)}
            except OSError:
                attributes = {}
            self._write(tar.header(self._entry(name, "file", path, info, attributes)))
            left = info.st_size
            while left:
                count = os.readv(source, [self._buffer[: min(left, _CHUNK)]])
                if not count:
                    break
                self._write(self._buffer[:count])
                left -= count
            while left:
                zeros = bytes(min(left, _CHUNK))
                self._write(zeros)
                left -= len(zeros)
            self._write(tar.padding(info.st_size))
        finally:
            os.close(source)

    def _entry(
        self,
        name: str,
        kind: EntryKind,
        path: str,
        info: os.stat_result,
        xattrs: dict[str, bytes] | None = None,
        *,
        link: str = "",
    ) -> Entry:
        return file_row(name, kind, info, self._owner(path, info), link=link, xattrs=xattrs)


def writer(descriptor: int) -> Callable[[bytes | memoryview], object]:
    """A function that writes all it is given to a descriptor."""

    def write(data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    return write
