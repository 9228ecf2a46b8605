"""Owners and devices that a host with one id cannot store, as they are noted while a container runs.

On regular files and directories they are extended attributes, so that they follow renames and hard links. What cannot
have any (symbolic links, FIFOs) is noted in a table beside the container's files, one JSON line for each change.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

#: what all of them begin with: never part of a layer or an archive
PREFIX = "user.contextkernel."
OWNER = "user.contextkernel.owner"
DEVICE = "user.contextkernel.device"
#: the run of what the engine itself puts into a container
PLACED = "placed"
#: name of the table, beside the directory that the changes are in
TABLE = "recorded"

_MAX_ID = (1 << 32) - 2


class RecordedOwner(NamedTuple):
    """What was said of an owner; ``None``: nothing, it is what it was before."""

    uid: int | None = None
    gid: int | None = None

    def over(self, before: RecordedOwner) -> RecordedOwner:
        """This, said after ``before``."""
        return RecordedOwner(before.uid if self.uid is None else self.uid, before.gid if self.gid is None else self.gid)

    def encode(self, run: str = "") -> bytes:
        """As the attribute has it: ``uid:gid``, each may be empty, and in which run it was said; empty: in none."""
        return f"{':'.join('' if one is None else str(one) for one in self)} {run}".rstrip().encode()


def decode_owner(data: bytes | None) -> tuple[RecordedOwner, str]:
    """What an attribute says, and in which run; nothing where it is missing, or was written by somebody else."""
    ids, _, run = (data or b"").partition(b" ")
    uid, colon, gid = ids.partition(b":")
    if not colon:
        return RecordedOwner(), ""
    return RecordedOwner(_id(uid), _id(gid)), run.decode("ascii", "replace")


def _id(text: bytes) -> int | None:
    if not (text.isdigit() and len(text) <= 10):
        return None
    value = int(text)
    return value if value <= _MAX_ID else None


class Device(NamedTuple):
    """A device node that a regular file stands for."""

    kind: Literal["char", "block"]
    major: int
    minor: int

    def encode(self) -> bytes:
        """As the attribute has it: ``c 1:3``."""
        return f"{self.kind[0]} {self.major}:{self.minor}".encode()


def decode_device(data: bytes | None) -> Device | None:
    """What an attribute says; ``None`` where it is missing, or was written by somebody else."""
    kind, blank, numbers = (data or b"").partition(b" ")
    major, colon, minor = numbers.partition(b":")
    if not blank or not colon or kind not in (b"c", b"b"):
        return None
    values = _id(major), _id(minor)
    if values[0] is None or values[1] is None or values[0] >= 1 << 12 or values[1] >= 1 << 20:
        return None
    return Device("char" if kind == b"c" else "block", values[0], values[1])


class Row(msgspec.Struct, frozen=True, omit_defaults=True, rename={"kind": "k", "inode": "i", "made": "b"}):
    """One line of the table.

    Attributes:
        kind: type bits of the mode.
        inode, made: which file it is: its number, and when it was made in nanoseconds since the epoch (0: not known).
        path: where it was then, from the root, without the first slash.
        uid, gid: what was said of its owner.
    """

    kind: int
    inode: int
    made: int
    path: bytes = b""
    uid: int | None = None
    gid: int | None = None


class Run(msgspec.Struct, frozen=True):
    """The first line of each run.

    Attributes:
        overlay: the container's root is the kernel's overlay, whose upper directory says of each file whether it was
            below before.
        run: tells what was said in it from what came up with files of layers below.
    """

    overlay: bool
    run: str
