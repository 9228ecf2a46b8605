"""Changes of owner and device nodes of a container with one id: carried out as far as they can be, and noted.

What is done to a file is what the kernel does for root: the owner is set to the one that there is, which brings the
file into the container's own layer, takes set-user-ID bits away, and fails where it has to. Then the owner that was
asked for is noted (:mod:`contextkernel.model.recorded`). Files of other mounts are left as they are.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from contextkernel.errors import SyscallFailed
from contextkernel.linux import statx
from contextkernel.linux.fsops import change_owner
from contextkernel.linux.libc import AT_EMPTY_PATH, AT_FDCWD
from contextkernel.linux.seccomp import OwnerCall
from contextkernel.linux.seccomp_notify import Call
from contextkernel.model.recorded import DEVICE, OWNER, Device, RecordedOwner, Row, decode_owner
from contextkernel.runtime.callers import Caller, CallFails, Names

_AT_SYMLINK_NOFOLLOW = 0x100
_WORD, _SHORT = 0xFFFF_FFFF, 0xFFFF
_LARGEST_TABLE = 64 << 20
_MARKED = {stat.S_IFREG, stat.S_IFDIR}
_NODES = {"mknod", "mknodat"}
_WHITEOUT = (stat.S_IFCHR, 0)


class Table:
    """Notes of what cannot carry any itself.

    Args:
        descriptor: of the file, for appending.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._known: dict[tuple[int, int], tuple[RecordedOwner, bytes]] = {}
        self._places: set[bytes] = set()

    def remember(self, facts: statx.Facts, file: int, wanted: RecordedOwner) -> None:
        """Note where a regular file was that is not root's: whoever rewrites it will take it for root's.

        It is as good as the memory for it: nothing fails when there are too many.
        """
        if wanted == (0, 0) and not self._places:
            return
        path = os.readlink(os.fsencode(str(file)))
        if wanted != (0, 0) or path in self._places:
            self._places.add(path)
            with suppress(CallFails):
                self.note(facts, path, wanted)

    def note(self, facts: statx.Facts, path: bytes, wanted: RecordedOwner) -> None:
        """Note what was said of a file.

        Raises:
            CallFails: ENOSPC, when there is more to note than any image has.
        """
        key = facts.inode, facts.made
        before = self._known.get(key, (RecordedOwner(), b""))
        owner = wanted.over(before[0])
        if before == (owner, path):
            return
        kind = stat.S_IFMT(facts.mode)
        line = msgspec.json.encode(Row(kind, facts.inode, facts.made, path.lstrip(b"/"), owner.uid, owner.gid)) + b"\n"
        if self._size + len(line) > _LARGEST_TABLE:
            raise CallFails(errno.ENOSPC)
        self._size += os.write(self._descriptor, line)
        self._known[key] = owner, path


class Recorder:
    """Answers calls.

    Args:
        names: of the container's.
        mount: what the container's root directory is.
        table: for files without attributes.
        calls: what numbers mean.
        capabilities: the container's bounding set.
        run: what notes on files say of when they were made.
    """

    def __init__(
        self,
        names: Names,
        mount: statx.Facts,
        table: Table,
        calls: Mapping[tuple[int, int], OwnerCall],
        capabilities: frozenset[str],
        run: str,
    ) -> None:
        self._names = names
        self._mount = mount
        self._table = table
        self._calls = calls
        self._capabilities = capabilities
        self._run = run

    def perform(self, caller: Caller, call: Call, *, noted: bool) -> int:
        """Do what a call asks for.

        Args:
            caller: who makes it.
            call: the call.
            noted: else it is only looked at, and told that it was done.

        Returns:
            The errno it fails with; 0 for success.
        """
        found = self._calls.get((call.audit, call.number))
        if found is None:
            return errno.ENOSYS
        try:
            self._perform(caller, found, call.arguments, noted=noted)
        except (CallFails, SyscallFailed) as failure:
            return failure.number
        except OSError as problem:
            return problem.errno or errno.EIO
        return 0

    def _perform(self, caller: Caller, call: OwnerCall, words: tuple[int, ...], *, noted: bool) -> None:
        if call.name in _NODES and (not noted or "CAP_MKNOD" not in self._capabilities):
            raise CallFails(errno.EPERM)
        match call.name:
            case "fchown":
                self._own(caller.descriptor(_signed(words[0])), _owner(words[1:3], call), noted=noted)
            case "chown" | "lchown":
                path, follow = caller.text(words[0]), call.name == "chown"
                self._own(
                    self._names.file(caller, AT_FDCWD, path, follow=follow), _owner(words[1:3], call), noted=noted
                )
            case "fchownat":
                flags = words[4] & _WORD
                if flags & ~(_AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
                    raise CallFails(errno.EINVAL)
                path, follow, empty = caller.text(words[1]), not flags & _AT_SYMLINK_NOFOLLOW, flags & AT_EMPTY_PATH
                found = self._names.file(caller, _signed(words[0]), path, follow=follow, empty=bool(empty))
                self._own(found, _owner(words[2:4], call), noted=noted)
            case "mknod":
                self._make(caller, AT_FDCWD, caller.text(words[0]), words[1] & _WORD, words[2] & _WORD)
            case "mknodat":
                self._make(caller, _signed(words[0]), caller.text(words[1]), words[2] & _WORD, words[3] & _WORD)
            case _:
                raise CallFails(errno.ENOSYS)

    def _is_own(self, facts: statx.Facts) -> bool:
        """Whether it is on the container's own file system."""
        return facts.place == self._mount.place

    def _own(self, file: int, wanted: RecordedOwner, *, noted: bool) -> None:
        """Change the owner of an open file, and close it."""
        try:
            facts = statx.look(file)
            if not self._is_own(facts):
                _refuse_read_only(file)
                return
            if not noted:
                return
            if "CAP_CHOWN" not in self._capabilities and any(wanted):
                raise CallFails(errno.EPERM)
            change_owner(file, *(-1 if one is None else 0 for one in wanted))
            if wanted != RecordedOwner():
                self._note(file, facts, wanted)
        finally:
            os.close(file)

    def _note(self, file: int, facts: statx.Facts, wanted: RecordedOwner) -> None:
        if stat.S_IFMT(facts.mode) in _MARKED:
            place = str(file)  # in the working directory
            try:
                if None in wanted:
                    before, run = decode_owner(_attribute(place))
                    wanted = wanted.over(before) if run == self._run else wanted
                os.setxattr(place, OWNER, wanted.encode(self._run))
            except OSError as problem:
                if problem.errno != errno.ENOTSUP:
                    raise
            else:
                if stat.S_ISREG(facts.mode):
                    self._table.remember(facts, file, wanted)
                return
        self._table.note(statx.look(file), os.readlink(os.fsencode(str(file))), wanted)

    def _make(self, caller: Caller, directory: int, path: bytes, mode: int, number: int) -> None:
        """Make a regular file that stands for a device node."""
        parent, name, slashes = self._names.parent(caller, directory, path)
        try:
            if slashes or not self._is_own(statx.look(parent)):
                _refuse_existing(parent, name)
                if slashes:
                    raise CallFails(errno.ENOENT)
                _refuse_read_only(parent)
                return
            if (stat.S_IFMT(mode), number) == _WHITEOUT:
                raise CallFails(errno.EPERM)  # overlay keeps it to itself
            kind = Device("char" if stat.S_ISCHR(mode) else "block", os.major(number), os.minor(number))
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            made = os.open(name, flags, stat.S_IMODE(mode) & ~caller.umask(), dir_fd=parent)
            try:
                os.setxattr(made, DEVICE, kind.encode())
            except BaseException:
                with suppress(OSError):
                    os.unlink(name, dir_fd=parent)
                raise
            finally:
                os.close(made)
        finally:
            os.close(parent)


def _signed(word: int) -> int:
    """A descriptor: the kernel takes 32 bits, with a sign."""
    low = word & _WORD
    return low - (1 << 32) if low >> 31 else low


def _owner(words: tuple[int, ...], call: OwnerCall) -> RecordedOwner:
    """User and group; all bits set: as it is."""
    mask = _SHORT if call.short else _WORD
    uid, gid = (None if word & mask == mask else word & mask for word in words)
    return RecordedOwner(uid, gid)


def _attribute(place: str) -> bytes | None:
    try:
        return os.getxattr(place, OWNER)
    except OSError as problem:
        if problem.errno != errno.ENODATA:
            raise
        return None


def _refuse_read_only(file: int) -> None:
    if os.fstatvfs(file).f_flag & os.ST_RDONLY:
        raise CallFails(errno.EROFS)


def _refuse_existing(parent: int, name: bytes) -> None:
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=parent, follow_symlinks=False)
        raise CallFails(errno.EEXIST)
