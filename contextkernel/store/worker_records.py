"""What was noted of owners and devices while a program ran, read from a directory of changes.

The notes (:mod:`contextkernel.model.recorded`) stay on the files of a layer: a later step's overlay copies them up
with the file. They are in no index and in no archive.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

import msgspec

from contextkernel.errors import SyscallFailed
from contextkernel.layer import names
from contextkernel.linux import statx
from contextkernel.linux.xattr import OVERLAY_PREFIXES
from contextkernel.model.recorded import (
    DEVICE,
    OWNER,
    PLACED,
    TABLE,
    Device,
    RecordedOwner,
    Row,
    Run,
    decode_device,
    decode_owner,
)
from contextkernel.store.worker_tree import Tree

_ORIGINS = tuple(f"{prefix}origin" for prefix in OVERLAY_PREFIXES)
_MARKED = {stat.S_IFREG, stat.S_IFDIR}


class Marks(NamedTuple):
    """What is noted of one file.

    Attributes:
        owner: what was said of its owner.
        device: the node that it stands for.
        new: nothing of it was there before; ``None``: that cannot be told.
        earlier: another file was there before in the same run, and this was said of its owner.
        fresh: this was said of it here; else it came up with the file from a layer below, whose index knows better.
    """

    owner: RecordedOwner = RecordedOwner()
    device: Device | None = None
    new: bool | None = None
    fresh: bool = False
    earlier: RecordedOwner | None = None

    @property
    def root(self) -> bool:
        """It was said to be root's."""
        return self.owner == (0, 0)


_UNMARKED = Marks()
_NOWHERE = (0, 0, RecordedOwner())


class Records:
    """The notes of one directory of changes.

    Args:
        directory: the one that the changes' directory and the table are in.

    Attributes:
        kept: notes were taken here: a file without any has the owner that it was made with.
        seen: what was found, by path.
    """

    def __init__(self, directory: str) -> None:
        self.kept = False
        self.seen: dict[str, Marks] = {}
        self._overlay = False
        self._runs: set[str] = {PLACED}
        self._files: dict[tuple[int, int], RecordedOwner] = {}
        self._places: dict[bytes, tuple[int, int, RecordedOwner]] = {}
        with suppress(FileNotFoundError), open(f"{directory}/{TABLE}", "rb") as lines:
            self.kept = True
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            if line.startswith(b'{"overlay"'):
                run = msgspec.json.decode(line, type=Run)
                self._overlay = run.overlay
                self._runs.add(run.run)
                return
            row = msgspec.json.decode(line, type=Row)
        except msgspec.MsgspecError:
            return  # cut off when its writer was killed
        key = row.inode, row.made
        owner = RecordedOwner(row.uid, row.gid).over(self._files.get(key, RecordedOwner()))
        self._files[key] = owner
        self._places[row.path] = row.kind, row.made, owner

    def look(self, directory: int, name: str, info: os.stat_result, path: str) -> Marks:
        """What is noted of anything but a directory; see :meth:`of`."""
        marks = self.seen[path] = self.of(directory, name, info, path)
        return marks

    def read(self, path: str, attributes: Mapping[str, bytes]) -> None:
        """Note what the attributes of a directory say."""
        self.seen[path] = self.told(attributes)

    def of(self, directory: int, name: str, info: os.stat_result, path: str) -> Marks:
        """What is noted of a file or directory.

        Args:
            directory: descriptor of the directory it is in.
            name: its name there.
            info: what it is.
            path: from the root.
        """
        if stat.S_IFMT(info.st_mode) in _MARKED:
            place = f"/proc/self/fd/{directory}/{name}"
            try:
                found = os.listxattr(place, follow_symlinks=False)
            except OSError:
                return _UNMARKED  # a file system without them
            marks = self.told(
                {
                    key: os.getxattr(place, key, follow_symlinks=False) if key in (OWNER, DEVICE) else b""
                    for key in found
                }
            )
            kind, _, earlier = self._places.get(os.fsencode(path), _NOWHERE)
            if kind == stat.S_IFREG == stat.S_IFMT(info.st_mode) and marks.root and marks.fresh and any(earlier):
                return marks._replace(earlier=earlier)
            return marks
        if not self._files:
            return _UNMARKED
        try:
            facts = statx.look(directory, os.fsencode(name))
        except SyscallFailed:
            return _UNMARKED
        return Marks(self._unmarkable(facts, path), fresh=True)

    def _unmarkable(self, facts: statx.Facts, path: str) -> RecordedOwner:
        owner = self._files.get((facts.inode, facts.made))
        if owner is None:
            # one of a layer below had that one's number when it was noted
            kind, made, there = self._places.get(os.fsencode(path), _NOWHERE)
            if kind == stat.S_IFMT(facts.mode) and made == facts.made:
                return there
        return owner or RecordedOwner()

    def told(self, attributes: Mapping[str, bytes]) -> Marks:
        """What the attributes of a regular file or directory say."""
        new = None
        if self.kept and self._overlay:
            new = not any(key in attributes for key in _ORIGINS)
        owner, run = decode_owner(attributes.get(OWNER))
        return Marks(owner, decode_device(attributes.get(DEVICE)), new, fresh=run in self._runs)

    def all(self, diff: str) -> Iterator[tuple[str, RecordedOwner]]:
        """What is noted of all that is in the directory, by path; nothing where no notes were taken."""
        if not self.kept:
            return
        with Tree(diff) as tree:
            todo = ["."]
            while todo:
                path = todo.pop()
                here = tree.open(path, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    with os.scandir(here) as listing:
                        for item in listing:
                            info = item.stat(follow_symlinks=False)
                            below = names.join(path, item.name)
                            if stat.S_ISDIR(info.st_mode):
                                todo.append(below)
                            yield below, self.of(here, item.name, info, below).owner
                finally:
                    os.close(here)


def stand_in(directory: int, name: str, device: Device) -> None:
    """Make a regular file that stands for a device node, which this host does not let be made."""
    made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        with suppress(OSError):  # a file system without attributes
            os.setxattr(made, DEVICE, device.encode())
    finally:
        os.close(made)
