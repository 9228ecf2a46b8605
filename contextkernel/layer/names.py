"""Names in layer archives: cleaning, and the whiteout convention (OCI image-spec, layer.md, "Whiteouts")."""

from __future__ import annotations

import posixpath

from contextkernel.errors import InvalidArchive
from contextkernel.layer.index import encode_name

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
#: Names that aufs kept for itself at the root of a layer; they are not part of the image.
_AUFS = ".wh..wh."

_MAX_PATH = 4096  # PATH_MAX; longer names cannot be used by a program anyway
_MAX_NAME = 255  # NAME_MAX


def clean(name: str, what: str = "entry") -> str:
    """A name from an archive as a relative path inside of the layer.

    ``./a``, ``/a``, ``a/`` and ``a//b`` are written by well-known tools and mean what they look like.

    Args:
        name: as in the archive.
        what: what the name is of, for the message.

    Returns:
        The path, ``"."`` for the root.

    Raises:
        InvalidArchive: the name leaves the layer, or cannot be the name of a file.
    """
    if "\0" in name:
        raise InvalidArchive(f"{what} name {name!r} contains a NUL byte")
    path = posixpath.normpath(name).lstrip("/") or "."
    if path == ".." or path.startswith("../"):
        raise InvalidArchive(f"{what} name {name!r} leaves the layer")
    if len(path) > _MAX_NAME:
        data = encode_name(path)
        if len(data) > _MAX_PATH or any(len(part) > _MAX_NAME for part in data.split(b"/")):
            raise InvalidArchive(f"{what} name {name[:60]!r}... is longer than a file name can be")
    return path


def contained(name: str, what: str = "entry") -> str:
    """A name from an archive that is unpacked into a directory as if that were the root: ``..`` ends there.

    Args, returns and errors are those of :func:`clean`; nothing leaves.
    """
    return clean(posixpath.normpath("/" + name).lstrip("/") or ".", what)


def split(path: str) -> tuple[str, str]:
    """Directory (``"."`` for the root) and last component of a clean path."""
    head, _, tail = path.rpartition("/")
    return head or ".", tail


def join(directory: str, name: str) -> str:
    """The path of ``name`` in ``directory``, which may be ``"."``."""
    return name if directory == "." else f"{directory}/{name}"


def whiteout_target(name: str) -> str | None:
    """What the last component of a path removes: a name, ``"."`` for an opaque directory, ``None`` if nothing.

    Raises:
        InvalidArchive: a whiteout of nothing, of ``.`` or of ``..``.
    """
    if not name.startswith(WHITEOUT):
        return None
    if name == OPAQUE:
        return "."
    target = name[len(WHITEOUT) :]
    if target in {"", ".", ".."}:
        raise InvalidArchive(f"whiteout {name!r} does not name a file")
    return target


def is_aufs_metadata(path: str) -> bool:
    """The path belongs to the bookkeeping that aufs left at the root of old layers."""
    first = path.partition("/")[0]
    return first.startswith(_AUFS) and first != OPAQUE
