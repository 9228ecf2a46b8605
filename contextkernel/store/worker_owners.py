"""Owners: names in an image's passwd and group files, and the owners that the host cannot store.

Where only one id is mapped every file on disk is 0:0. What a COPY --chown wanted is then kept in ``owners`` beside the
layer's ``diff`` until the layer is committed; after that the layer index says it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping, Sequence

import msgspec

from contextkernel.dockerfile.suggest import nearest
from contextkernel.errors import InvalidInput, StoreProblem, SyscallFailed
from contextkernel.layer.index import decode_name, encode_name, unpack_index
from contextkernel.layer.merge import merge
from contextkernel.model.layers import Entry
from contextkernel.store.worker_records import Records
from contextkernel.store.worker_tree import write_file

_MAX_FILE = 10 << 20  # as BuildKit bounds passwd and group
_MAX_ID = (1 << 32) - 2

Owner = tuple[int, int]
Opener = Callable[[str, int], int]


class OwnerTable:
    """The side table of one layer directory: path to owner."""

    def __init__(self, directory: str) -> None:
        self._path = f"{directory}/owners"
        self.owners: dict[str, Owner] = {}
        try:
            with open(self._path, "rb") as stream:
                rows = msgspec.msgpack.decode(stream.read(), type=list[tuple[bytes, int, int]])
        except FileNotFoundError:
            return
        except msgspec.MsgspecError as problem:
            raise StoreProblem(f"damaged table of owners {self._path!r}") from problem
        self.owners = {decode_name(name): (uid, gid) for name, uid, gid in rows}

    def save(self) -> None:
        """Write the table."""
        rows = [(encode_name(name), *owner) for name, owner in sorted(self.owners.items())]
        write_file(self._path, msgspec.msgpack.encode(rows))


def index_of(diff: str) -> list[Entry]:
    """Rows of the index that lies beside a ``diff`` directory.

    Raises:
        StoreProblem: there is none, or it is damaged.
    """
    path = f"{os.path.dirname(diff)}/index"
    try:
        with open(path, "rb") as stream:
            return unpack_index(stream.read())
    except OSError as problem:
        raise StoreProblem(f"cannot read the layer index {path!r}: {problem.strerror}") from problem


def true_owners(lowers: Sequence[str]) -> dict[str, Owner]:
    """What is known of every path in a stack of ``diff`` directories that is not 0:0.

    A layer whose commit is still under way has no index yet; then its side tables and notes speak for it.
    """
    return {path: owner for path, owner in owners_below(lowers).items() if owner != (0, 0)}


def owners_below(lowers: Sequence[str]) -> dict[str, Owner]:
    """Like :func:`true_owners`, of every path."""
    merged = merge(_rows_or_owners(lower) for lower in lowers)
    return {path: (entry.uid, entry.gid) for path, entry in merged.items()}


def _rows_or_owners(diff: str) -> list[Entry]:
    directory = os.path.dirname(diff)
    if os.path.exists(f"{directory}/index"):
        return index_of(diff)
    owners = dict(OwnerTable(directory).owners)
    owners.update((path, (said.uid or 0, said.gid or 0)) for path, said in Records(directory).all(diff) if any(said))
    # as directories, which hide nothing: only owners are asked for
    return [Entry(path=path, kind="dir", uid=uid, gid=gid) for path, (uid, gid) in owners.items()]


class Notes:
    """What looking up names brought to light.

    Args:
        strict: an unknown name is an error, because there is no image to look it up in.

    Attributes:
        texts: what the user should know.
    """

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self.texts: tuple[str, ...] = ()

    def unknown(self, problem: str, instead: str, hint: str) -> None:
        """A name that the image does not have stands for something else, as with BuildKit, which does not say so.

        Raises:
            InvalidInput: strict.
        """
        if self._strict:
            raise InvalidInput(problem, hint=hint)
        self.texts = (*self.texts, f"{problem}: {instead} is taken; {hint}")


def resolve_owner(text: str, opener: Opener, notes: Notes) -> Owner:
    """The ids that ``user[:group]`` means in an image.

    A number stands for itself, and without a group it is the group too; a name without a group brings its own. What
    is left empty beside a colon is root, and so is a user that the image does not have; for such a group it stays
    with the user's own (BuildKit, ``solver/llbsolver/ops/user_linux.go``; only where there is no image at all a name
    is an error).

    Args:
        text: not empty.
        opener: opens a path of the image for reading, links followed inside of it; ``SyscallFailed`` where it cannot.
        notes: of what is unknown.

    Raises:
        InvalidInput: a number that is no id; a name, where ``notes`` is strict.
    """
    user, colon, group = text.partition(":")
    uid, gid = _user(user, opener, notes) if user else (0, 0)
    if colon:
        gid = _group(group, opener, gid, notes) if group else 0
    return uid, gid


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()):
        return None
    value = int(text)
    if value > _MAX_ID:
        raise InvalidInput(f"id {text} is too large", hint=f"ids go up to {_MAX_ID}")
    return value


def _user(name: str, opener: Opener, notes: Notes) -> Owner:
    number = _number(name)
    if number is not None:
        return number, number
    if name == "root":
        return 0, 0
    known: list[str] = []
    found = _look_up(opener, "etc/passwd", name, lambda fields: (_id(fields[2]), _id(fields[3])), known)
    if found is None:
        notes.unknown(f"the image has no user {name!r}", "root", _near(name, known, "/etc/passwd"))
        return 0, 0
    return found


def _group(name: str, opener: Opener, instead: int, notes: Notes) -> int:
    number = _number(name)
    if number is not None:
        return number
    if name == "root":
        return 0
    known: list[str] = []
    found = _look_up(opener, "etc/group", name, lambda fields: (_id(fields[2]), 0), known)
    if found is None:
        notes.unknown(f"the image has no group {name!r}", f"group {instead}", _near(name, known, "/etc/group"))
        return instead
    return found[0]


def _near(name: str, known: Sequence[str], path: str) -> str:
    found = nearest(name, known)
    if found is not None:
        return f"did you mean {found!r}?"
    if not known:
        return f"the image has no names in {path}: give a number"
    return f"create it in an earlier RUN, or give a number; names are looked up in the image's {path}"


def _id(text: str) -> int:
    number = int(text)
    if not 0 <= number <= _MAX_ID:
        raise ValueError(text)
    return number


def _look_up(opener: Opener, path: str, name: str, ids: Callable[[list[str]], Owner], known: list[str]) -> Owner | None:
    """The ids of a name in a passwd or group file; all its names are added to ``known`` on the way."""
    try:
        # looked at before it is opened: opening a device node of an untrusted image can do things
        descriptor = opener(path, os.O_PATH)
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        if not regular:
            return None
        descriptor = opener(path, os.O_RDONLY | os.O_NONBLOCK)
    except SyscallFailed as failure:
        if failure.number in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            return None
        raise
    with open(descriptor, "rb") as stream:
        data = stream.read(_MAX_FILE + 1)
    if len(data) > _MAX_FILE:
        raise InvalidInput(f"/{path} of the image is larger than {_MAX_FILE} bytes")
    for line in decode_name(data).splitlines():
        fields = line.strip().split(":")
        if fields[0] and len(fields) > 1:
            known.append(fields[0])
        if fields[0] == name:
            try:
                return ids(fields)
            except (ValueError, IndexError):
                continue
    return None


def owner_for(path: str, sources: Sequence[Mapping[str, Owner]]) -> Owner:
    """The first owner that a source has for ``path``, else 0:0."""
    for source in sources:
        if path in source:
            return source[path]
    return 0, 0
