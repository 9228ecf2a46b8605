"""What a tree looked like when it was made of layers: how changes in it are found later.

The inode number and the time of the last change of the inode (ctime) tell whether a path is still what it was: every
change of content, mode, owner, attributes or links sets that time, and no program can set it back (stat(2), inode(7)).
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from contextkernel.errors import StoreProblem, SyscallFailed
from contextkernel.layer import names
from contextkernel.layer.index import decode_name, encode_name
from contextkernel.linux import statx
from contextkernel.model.backing import TREE
from contextkernel.store.worker_tree import Tree, write_file

_SUFFIX = ".rows"
_PAUSE = 0.001  # seconds; the clock of inodes ticks every 1 to 10 ms
_LOOKS = 100
_SECOND = 1_000_000_000


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One path of a tree, as stat(2) told of it.

    Attributes:
        inode: 0: a device node that this host did not let be made.
        ctime, mtime: nanoseconds since the epoch.
        made: when the inode was made, by which it is told from a later one that got its number; 0: not known.
    """

    inode: int
    ctime: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    device: int
    made: int = 0

    @classmethod
    def of(cls, info: os.stat_result, made: int = 0) -> Row:
        """The row for a file."""
        return cls(
            info.st_ino,
            info.st_ctime_ns,
            info.st_mode,
            info.st_uid,
            info.st_gid,
            info.st_size,
            info.st_mtime_ns,
            info.st_rdev,
            made,
        )

    @property
    def owned(self) -> tuple[int, int, int]:
        """By what docker tells directories apart."""
        return self.mode, self.uid, self.gid

    def differs(self, other: Row) -> bool:
        """Whether docker takes a file for changed (moby, pkg/archive/changes_unix.go): what it says is not compared."""
        if (*self.owned, self.device, self.size) != (*other.owned, other.device, other.size):
            return True
        if self.mtime // _SECOND != other.mtime // _SECOND:
            return True
        fractions = (self.mtime % _SECOND, other.mtime % _SECOND)
        return 0 not in fractions and fractions[0] != fractions[1]

    @property
    def directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def unmade(self) -> bool:
        """It is in the index of a layer only."""
        return self.inode == 0


Rows = dict[str, Row]


def tree_of(directory: str) -> str:
    """Path of the tree in the directory of a container or step."""
    return f"{directory}/{TREE}"


def has_tree(directory: str) -> bool:
    """Whether there is a complete tree: the record is written last."""
    return os.path.exists(tree_of(directory) + _SUFFIX)


def record_of(directory: str) -> str:
    """Path of the tree's record."""
    return tree_of(directory) + _SUFFIX


def save(directory: str, rows: Rows) -> None:
    """Write the record, which makes the tree complete."""
    write_file(record_of(directory), msgspec.msgpack.encode([(encode_name(path), row) for path, row in rows.items()]))


def load(directory: str) -> Rows:
    """Read the record.

    Raises:
        StoreProblem: there is none, or it is damaged.
    """
    path = record_of(directory)
    try:
        with open(path, "rb") as stream:
            rows = msgspec.msgpack.decode(stream.read(), type=list[tuple[bytes, Row]])
    except OSError as problem:
        raise StoreProblem(f"cannot read the record {path!r} of a tree: {problem.strerror}") from problem
    except msgspec.MsgspecError as problem:
        raise StoreProblem(f"damaged record {path!r} of a tree") from problem
    return {decode_name(name): row for name, row in rows}


class Found(NamedTuple):
    """One path that :func:`walk` comes by; ``holder`` is a descriptor of the directory, open for the moment."""

    path: str
    info: os.stat_result
    holder: int
    name: str

    def made(self) -> int:
        """When its inode was made, in nanoseconds since the epoch; 0: not known."""
        try:
            return statx.look(self.holder, os.fsencode(self.name)).made
        except SyscallFailed:
            return 0


def walk(tree: Tree, check: Callable[[], None]) -> Iterator[Found]:
    """Everything in a tree, ``"."`` first, directories before what is in them.

    Args:
        tree: may be changed meanwhile by others: what vanishes is left out.
        check: raises when the client has given up.
    """
    yield Found(".", os.fstat(tree.root), tree.root, "")
    todo = ["."]
    while todo:
        path = todo.pop()
        check()
        try:
            descriptor = tree.open_directory(path)
        except FileNotFoundError:
            continue
        try:
            with os.scandir(descriptor) as listing:
                for item in listing:
                    try:
                        info = item.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    below = names.join(path, item.name)
                    yield Found(below, info, descriptor, item.name)
                    if stat.S_ISDIR(info.st_mode):
                        todo.append(below)
        finally:
            os.close(descriptor)


def await_tick(directory: str, rows: Rows) -> None:
    """Wait until a change that is made from now on has a later time than all that is recorded.

    Args:
        directory: on the same file system, to ask its clock.
        rows: the record.
    """
    latest = max((row.ctime for row in rows.values()), default=0)
    probe = f"{directory}/tick-{os.urandom(6).hex()}"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.unlink(probe)
        for _ in range(_LOOKS):
            os.fchmod(descriptor, 0o600)
            if os.fstat(descriptor).st_ctime_ns > latest:
                return
            time.sleep(_PAUSE)
    finally:
        os.close(descriptor)
