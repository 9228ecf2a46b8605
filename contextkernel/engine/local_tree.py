"""The host's side of ``cp``: which path a name means, packed and unpacked with the caller's own rights.

Docker's rules for paths (moby/go-archive, copy.go): ``/`` at the end asks for a directory, ``/.`` means what is in it.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from contextkernel.errors import InvalidInput
from contextkernel.layer import names
from contextkernel.layer.untar import read_members
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.store.tree_pack import Packer, writer
from contextkernel.store.tree_unpack import Peekable, Unpacker
from contextkernel.store.worker_extract import open_source

_LINKS = 10  # docker's limit for a destination


class Source(NamedTuple):
    """What is copied: ``base`` in ``directory``; called ``name``; ``.`` is what is in a directory."""

    directory: str
    base: str
    name: str
    is_directory: bool


class Place(NamedTuple):
    """Where something goes: into ``directory``, called ``name``; empty keeps its own."""

    directory: str
    name: str


def wanted_name(path: str) -> str:
    """What is copied is called after the path that was asked for; ``.`` for the content of a directory."""
    if path.endswith("/.") or path == "." or posixpath.normpath(path).strip("/") == "":
        return "."
    return posixpath.basename(posixpath.normpath(path))


def asserts_directory(path: str) -> bool:
    """Whether a path says that it is a directory."""
    return path.endswith("/") or posixpath.basename(path) == "." or path == ""


def absolute(path: str) -> str:
    """A local path made absolute; a ``/`` or ``/.`` at its end stays."""
    whole = os.path.abspath(path)
    if path.endswith("/.") or path == ".":
        return f"{whole.rstrip('/')}/."
    return f"{whole.rstrip('/')}/" if path.endswith("/") else whole


def local_source(path: str, *, follow: bool) -> Source:
    """Find what is to be copied.

    Args:
        path: as given.
        follow: if it is a link, what it leads to.

    Raises:
        InvalidInput: it does not exist, or is not the directory that was asked for.
    """
    whole = absolute(path)
    name = wanted_name(whole)
    head, tail = os.path.split(whole)
    try:
        if follow or tail in ("", "."):
            real = os.path.realpath(head if tail in ("", ".") else whole, strict=True)
        else:
            real = os.path.join(os.path.realpath(head, strict=True), tail)
        mode = os.lstat(real).st_mode
    except OSError as problem:
        text = f"lstat {problem.filename or whole}: {(problem.strerror or '').lower()}"
        raise InvalidInput(text, hint="what is to be copied must be there") from None
    directory = stat.S_ISDIR(mode)
    if tail in ("", ".") and not directory:
        raise InvalidInput(f"{path}: not a directory", hint="leave out the / at its end")
    if name == ".":
        return Source(real, ".", ".", is_directory=True)
    return Source(os.path.dirname(real), os.path.basename(real), name, directory)


def pack_local(source: Source, name: str, descriptor: int, idmap: IdMap) -> None:
    """Write a tar archive of a local file or tree.

    Args:
        source: what.
        name: what it is called in the archive.
        descriptor: to write to.
        idmap: owners are noted as a container sees them: in a user namespace the caller is root, as on a bind mount.

    Raises:
        InvalidInput: it cannot be read.
    """
    directory = os.open(source.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        packer = Packer(
            writer(descriptor),
            owner=lambda _, info: (
                (0, 0) if idmap.own else (_inside(info.st_uid, idmap.uids), _inside(info.st_gid, idmap.gids))
            ),
        )
        packer.add(directory, source.base, name)
        packer.end()
    except BrokenPipeError:
        pass  # the other side has given up, and says why
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise InvalidInput(f"cannot read {problem.filename or source.base}: {reason}") from None
    finally:
        os.close(directory)


def _inside(host: int, ranges: Sequence[IdRange]) -> int:
    """An id of this host in a container; root for one that has no like there."""
    for part in ranges:
        if part.host <= host < part.host + part.size:
            return part.container + host - part.host
    return 0 if ranges else host


def local_place(path: str, *, of_directory: bool) -> Place:
    """Where to put what comes out of a container.

    Args:
        path: as given.
        of_directory: a directory comes.

    Raises:
        InvalidInput: there is no such directory, or a file is where a directory should go.
    """
    whole = absolute(path)
    clean = os.path.normpath(whole)
    if not os.path.exists(os.path.dirname(clean)):
        raise InvalidInput(
            f'invalid output path: directory "{os.path.dirname(clean)}" does not exist', hint="make it first"
        )
    try:
        mode: int | None = os.stat(whole if os.path.isdir(clean) else clean).st_mode
    except OSError:
        mode = None
    if mode is not None and not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise InvalidInput(f'invalid output path: "{path}" must be a directory or a regular file')
    where = _through_links(clean)
    if os.path.isdir(where):
        return Place(where, "")
    parent, name = os.path.split(where)
    exists = os.path.lexists(where)
    if exists and of_directory:
        raise InvalidInput("cannot copy directory", hint=f"{where} is not a directory")
    if asserts_directory(whole) and not of_directory:
        raise InvalidInput("no such directory", hint=f"make {clean} first, or leave out the / at its end")
    if not os.path.isdir(parent):
        raise InvalidInput("not a directory", hint=parent)
    return Place(parent, name)


def _through_links(path: str) -> str:
    for _ in range(_LINKS):
        if not os.path.islink(path):
            return path
        path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
    raise InvalidInput(f"too many symlinks in {path}")


def unpack_local(descriptor: int, place: Place) -> tuple[str, ...]:
    """Unpack an archive below a local directory; nothing lands elsewhere, and all of it belongs to the caller.

    Args:
        descriptor: of the archive, to read.
        place: where; the archive has its entries under the name that they are to have.

    Returns:
        Paths of the archive that could not be made (devices).

    Raises:
        Conflict: a directory meets a file. InvalidInput: it cannot be written. InvalidArchive: refused content.
    """
    try:
        root = os.open(place.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as problem:
        raise InvalidInput(f"cannot write to {place.directory}: {(problem.strerror or '').lower()}") from None
    try:
        unpacker = Unpacker(root, ".", follow=False)
        source = open_source(cast("Any", Peekable(descriptor)), None)
        unpacker.run(read_members(source, names.contained))
        source.finish()
        return tuple(unpacker.skipped)
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise InvalidInput(f"cannot write to {place.directory}: {problem.filename or ''} {reason}") from None
    finally:
        os.close(root)
