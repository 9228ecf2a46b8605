"""Writing the entries of an archive to disk, so that nothing lands outside of the tree."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO

from contextkernel.errors import InvalidArchive, SyscallFailed
from contextkernel.layer.source import Source
from contextkernel.layer.untar import Member
from contextkernel.model.layers import Entry
from contextkernel.model.recorded import PREFIX
from contextkernel.store.decompression import HEAD, compression_of, decompressor, guarded
from contextkernel.store.worker_tree import Ids, Tree

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
#: what a file system says of names and numbers that cannot be
_IMPOSSIBLE = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ENOTDIR, errno.ELOOP, errno.EEXIST}
#: setxattr may fail for these reasons and the tree is still what this host can hold; the index keeps the attribute
_XATTR_REFUSED = {errno.EPERM, errno.ENOTSUP, errno.EINVAL, errno.ENOSPC, errno.ERANGE, errno.E2BIG}


def open_source(
    stream: BinaryIO, limit: int | None, step: int | None = None, *, check: Callable[[], None] | None = None
) -> Source:
    """The archive in ``stream``, decompressed by what its first bytes say: plain, gzip, zstd, bzip2 or xz.

    Args:
        stream: at its beginning.
        limit: the most bytes to accept.
        step: the most bytes to decompress ahead of what is needed: damage that comes later is not noticed early.
        check: called before every piece; may raise to stop.
    """
    head = stream.read(HEAD)
    stream.seek(0)
    plain = guarded(decompressor(compression_of(head), stream))

    def read(count: int) -> bytes:
        if check is not None:
            check()
        return plain(count)

    return Source(read if step is None else lambda count: read(min(count, step)), limit)


class Extractor:
    """Writes entries below a root.

    Directories get their owner, mode and time at the very end, by ``finish``.

    Args:
        tree: where.
        ids: what owners the host can store.
        owner: an owner for everything instead of the archive's.

    Attributes:
        unmade: paths of device nodes that this host does not let be made, and of further names of them.
    """

    def __init__(self, tree: Tree, ids: Ids, owner: tuple[int, int] | None = None) -> None:
        self._tree = tree
        self._ids = ids
        self._owner = owner
        self.unmade: list[str] = []

    def write(self, member: Member) -> tuple[int, str] | None:
        """Write one entry, whose parent exists; what was in its place is replaced, unless both are directories.

        Returns:
            Size and sha256 of a regular file's content.

        Raises:
            InvalidArchive: the content is damaged, or the name is not possible on this file system.
        """
        try:
            return self._write(member)
        except (OSError, SyscallFailed) as problem:
            raise _refusal(member.entry, problem) from problem

    def _write(self, member: Member) -> tuple[int, str] | None:
        entry = member.entry
        if entry.kind == "dir":
            self._make_directory(entry)
            return None
        if entry.kind == "hardlink":
            self._tree.hold(entry.link)
        directory, name = self._tree.parent(entry.path)
        if member.replaces:
            self._tree.remove(entry.path)
            directory, name = self._tree.parent(entry.path)
        if entry.kind == "file":
            return self._write_file(member, directory, name)
        self._make_other(entry, directory, name)
        return None

    def _make_directory(self, entry: Entry) -> None:
        if entry.path == ".":
            return
        directory, name = self._tree.parent(entry.path)
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                return
            self._tree.remove(entry.path)
            directory, name = self._tree.parent(entry.path)
            os.mkdir(name, 0o700, dir_fd=directory)

    def _write_file(self, member: Member, directory: int, name: str) -> tuple[int, str]:
        entry = member.entry
        content = hashlib.sha256()
        descriptor = os.open(name, _NEW_FILE, 0o600, dir_fd=directory)
        try:
            at = 0
            for offset, part in member.content():
                if offset > at:
                    _hash_zeros(content, offset - at)
                    os.lseek(descriptor, offset, os.SEEK_SET)
                content.update(part)
                at = offset + len(part)
                rest = part
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            if at < entry.size:
                _hash_zeros(content, entry.size - at)
                os.ftruncate(descriptor, entry.size)
            self._apply(descriptor, entry)
        finally:
            os.close(descriptor)
        return entry.size, content.hexdigest()

    def _apply(self, descriptor: int, entry: Entry) -> None:
        """Owner, then mode (a change of owner clears setuid), then attributes (and capabilities), then time."""
        uid, gid = self._owner or (entry.uid, entry.gid)
        self._ids.chown(descriptor, uid, gid, entry.path)
        os.fchmod(descriptor, entry.mode)
        set_xattrs(descriptor, entry.xattrs)
        os.utime(descriptor, ns=(entry.mtime, entry.mtime))

    def _make_other(self, entry: Entry, directory: int, name: str) -> None:
        if entry.kind == "hardlink":
            target_directory, target = self._tree.parent(entry.link)
            try:
                os.link(target, name, src_dir_fd=target_directory, dst_dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                if not self._skipped(entry):
                    raise
                self.unmade.append(entry.path)  # for links to the link
            return
        if entry.kind == "symlink":
            os.symlink(entry.link, name, dir_fd=directory)
        else:
            kind = {"char": stat.S_IFCHR, "block": stat.S_IFBLK}.get(entry.kind, stat.S_IFIFO)
            try:
                os.mknod(name, kind | 0o600, os.makedev(entry.major, entry.minor), dir_fd=directory)
            except PermissionError:
                # device nodes cannot be made in a user namespace: the index keeps them, the disk does without
                self.unmade.append(entry.path)
                return
        uid, gid = self._owner or (entry.uid, entry.gid)
        self._ids.chown(name, uid, gid, entry.path, dir_fd=directory)
        if entry.kind != "symlink":
            os.chmod(name, entry.mode, dir_fd=directory)
        set_xattrs(self._tree.link_path(entry.path), entry.xattrs)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=directory, follow_symlinks=False)

    def settle(self, entry: Entry) -> None:
        """Give the file behind a hard link the owner, mode and time of the link's own header."""
        info = self._tree.lstat(entry.path)
        if info is None:
            return  # to a device node that could not be made
        self._tree.hold(entry.path)
        directory, name = self._tree.parent(entry.path)
        self._ids.chown(name, *(self._owner or (entry.uid, entry.gid)), entry.path, dir_fd=directory)
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(name, entry.mode, dir_fd=directory)
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=directory, follow_symlinks=False)

    def _skipped(self, entry: Entry) -> bool:
        """Whether a hard link's target may be missing: it is a device node that could not be made."""
        return entry.link in self.unmade and self._tree.lstat(entry.link) is None

    def finish(self, directories: Iterator[Entry]) -> None:
        """Give directories their owner, mode, attributes and time; ``directories`` innermost first."""
        for entry in directories:
            descriptor = self._tree.open(entry.path, _DIRECTORY)
            try:
                self._apply(descriptor, entry)
            except (OSError, SyscallFailed) as problem:
                raise _refusal(entry, problem) from problem
            finally:
                os.close(descriptor)


def set_xattrs(target: int | str, attributes: Mapping[str, bytes]) -> None:
    """Set extended attributes as far as the file system and the namespace let us; links are not followed."""
    for name, value in attributes.items():
        if name.startswith(PREFIX):
            continue  # an image cannot say these things of its files
        try:
            if isinstance(target, int):
                os.setxattr(target, name, value)
            else:
                os.setxattr(target, name, value, follow_symlinks=False)
        except OSError as problem:
            if problem.errno not in _XATTR_REFUSED:
                raise


def _refusal(entry: Entry, problem: OSError | SyscallFailed) -> Exception:
    """What the file system says of a name or number that cannot be is a refusal of the archive; else the problem."""
    number = problem.number if isinstance(problem, SyscallFailed) else problem.errno
    if number in _IMPOSSIBLE:
        return InvalidArchive(f"entry {entry.path[:200]!r} cannot be made: {os.strerror(number or 0).lower()}")
    return problem


def _hash_zeros(content: hashlib._Hash, count: int) -> None:
    zeros = bytes(1 << 20)
    while count:
        part = min(count, len(zeros))
        content.update(zeros[:part])
        count -= part
