"""Reading layer archives: a stream of bytes in, checked entries out.

Nothing here trusts the archive: names are cleaned and may not leave, counts and sizes are bounded, what is not
understood is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, cast

from msgspec.structs import replace

from contextkernel.errors import InvalidArchive
from contextkernel.layer import names
from contextkernel.layer.echo import Echo
from contextkernel.layer.headers import Headers, PlainHeader
from contextkernel.layer.index import decode_name, encode_name
from contextkernel.layer.source import MAX_BYTES, Source
from contextkernel.layer.tree import LayerTree, link_row
from contextkernel.model.layers import Entry, EntryKind

if TYPE_CHECKING:
    import tarfile

MAX_ENTRIES = 2_000_000
_MAX_ID = (1 << 32) - 2
_MAX_TIME = (1 << 63) - 1

_KINDS: dict[bytes, EntryKind] = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"S": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "char",
    b"4": "block",
    b"5": "dir",
    b"6": "fifo",
}
_XATTR = "SCHILY.xattr."


class Member:
    """One entry of an archive, with its content while it is the current one.

    Attributes:
        entry: what it is; a hard link's ``link`` is clean.
        replaces: an earlier entry of the archive has the same path.
    """

    __slots__ = ("_map", "_size", "_source", "entry", "replaces")

    def __init__(self, entry: Entry, source: Source, sparse: list[tuple[int, int]] | None, *, replaces: bool) -> None:
        self.entry = entry
        self.replaces = replaces
        self._source = source
        self._size = entry.size
        self._map = [(0, entry.size)] if sparse is None else sparse

    def content(self) -> Iterator[tuple[int, memoryview]]:
        """Offset and bytes of a regular file's content, in order; what lies between is zeros.

        Raises:
            InvalidArchive: the archive ends too early, or its map of holes is wrong.
        """
        at = 0
        for offset, size in self._map:
            if size == 0:
                continue  # marks the end of the file, or of the map
            if offset < at or size < 0 or offset + size > self._size:
                raise InvalidArchive(f"entry {self.entry.path!r} has a damaged map of holes")
            at, end = offset, offset + size
            while at < end:
                part = self._source.take(end - at)
                if not part:
                    raise InvalidArchive(f"archive ends in the middle of {self.entry.path!r}")
                yield at, part
                at += len(part)


def is_tar(source: Source) -> bool:
    """Whether an archive begins with a header that a tar archive may begin with; reads no further.

    Raises:
        InvalidArchive: the stream itself is damaged.
    """
    try:
        return Headers(source).next() is not None
    except _damages():
        return False


def read_members(source: Source, clean: Callable[[str, str], str] = names.clean) -> Iterator[Member]:
    """The entries of any tar archive, names cleaned; whiteouts have no meaning here.

    Args:
        source: the archive.
        clean: what to make of names, :func:`names.clean` or :func:`names.contained`.

    Raises:
        InvalidArchive: see the module.
    """
    headers = Headers(source)
    count = 0
    while True:
        holes: list[tuple[int, int]] | None = None
        try:
            header = headers.next()
            if header is None:
                break
            count += 1
            if count > MAX_ENTRIES:
                raise InvalidArchive(f"archive has more than {MAX_ENTRIES} entries")
            if isinstance(header, PlainHeader):
                entry = _plain_entry(header, clean)
            else:
                entry = _entry(header, clean)
                holes = cast("list[tuple[int, int]]", header.sparse) if header.issparse() else None
        except _damages() as problem:
            where = f"at byte {source.tell()}"
            raise InvalidArchive(f"not a tar archive, or a damaged one, {where}: {str(problem).lower()}") from problem
        yield Member(entry, source, holes, replaces=False)
    if source.last.strip(b"\0"):
        # tarfile takes a header with a wrong checksum for the end
        raise InvalidArchive(f"archive is damaged at byte {source.tell()}")


def read_layer(source: Source, tree: LayerTree, echo: Echo | None = None) -> Iterator[Member]:
    """The entries of a layer archive as they land on disk; ``tree`` gathers the layer.

    Directories that the archive uses without having them come as entries of their own. Whiteouts are only noted in
    ``tree``. After the content of a file has been read, ``tree.replace_content`` has to be told.

    Args:
        source: the archive.
        tree: an empty one.
        echo: is shown every entry, to tell at the end whether the layer renders to the same archive.

    Raises:
        InvalidArchive: see the module.
    """
    echo = Echo(source) if echo is None else echo
    for member in read_members(source):
        entry = member.entry
        if names.is_aufs_metadata(entry.path):
            echo.differs()
            continue
        directory, name = names.split(entry.path)
        if names.WHITEOUT in directory and any(part.startswith(names.WHITEOUT) for part in directory.split("/")):
            raise InvalidArchive(f"entry {entry.path!r} lies below a whiteout")
        hidden = names.whiteout_target(name)
        if len(tree) > MAX_ENTRIES:
            raise InvalidArchive(f"archive makes more than {MAX_ENTRIES} entries")
        wanted = entry.path
        if hidden is not None:
            wanted = names.join(directory, hidden) if hidden != "." else names.join(directory, "x")
        placed, made = tree.place(wanted, entry.mtime)
        for path in made:
            echo.differs()
            yield _implied(path, tree, source)
        if hidden == ".":
            opaque = names.split(placed)[0]
            tree.opaques.add(opaque)
            echo.see(Entry(path=opaque, kind="opaque", mode=0))
            continue
        if hidden is not None or (entry.kind == "char" and entry.major == entry.minor == 0):
            # a device 0:0 is overlay's own form of a whiteout: what it would do on disk is what it is
            tree.whiteouts.add(placed)
            echo.see(Entry(path=placed, kind="whiteout", mode=0))
            continue
        if entry.kind == "hardlink":
            target, made = tree.place(entry.link)
            if made:
                raise InvalidArchive(f"hard link {entry.path!r} names {entry.link!r}, which is not in the layer")
            member.replaces = tree.get(placed) is not None
            first = tree.link(placed, target)
            echo.see(link_row(placed, first, first.path))
            if placed == target:
                continue
            member.entry = replace(entry, path=placed, link=target)
            yield member
            continue
        if placed == "." and entry.kind != "dir":
            raise InvalidArchive(f"the root of the layer is a {entry.kind}")
        member.replaces = tree.get(placed) is not None
        member.entry = entry if placed == entry.path else replace(entry, path=placed)
        tree.put(member.entry)
        echo.see(member.entry)
        yield member


def _implied(path: str, tree: LayerTree, source: Source) -> Member:
    entry = tree.get(path)
    assert entry is not None  # noqa: S101  (place has just put it there)
    return Member(entry, source, [], replaces=False)


def _damages() -> tuple[type[Exception], ...]:
    """Whatever tarfile raises on bad input."""
    import tarfile

    return (tarfile.TarError, ValueError, OverflowError, RecursionError, IndexError, KeyError, TypeError)


def _plain_entry(header: PlainHeader, clean: Callable[[str, str], str]) -> Entry:
    """The row for a plain header; of its numbers only the time can be too large, with twelve digits."""
    kind = _KINDS[header.kind]
    path = clean(header.name, "entry")
    link = ""
    if kind == "hardlink":
        link = clean(header.link, "hard link target")
    elif kind == "symlink":
        link = _symlink_target(header.link, path)
    return Entry(
        path=path,
        kind=kind,
        mode=0o777 if kind == "symlink" else header.mode & 0o7777,
        uid=header.uid,
        gid=header.gid,
        size=header.size if kind == "file" else 0,
        mtime=_possible(header.seconds * 1_000_000_000),
        link=link,
    )


def _symlink_target(link: str, path: str) -> str:
    if not link or "\0" in link or len(encode_name(link)) > 4095:
        raise InvalidArchive(f"symbolic link {path!r} has an impossible target")
    return link


def _entry(member: tarfile.TarInfo, clean: Callable[[str, str], str]) -> Entry:
    """The row for a header."""
    kind = _KINDS.get(member.type)
    path = clean(member.name, "entry")
    if kind is None:
        raise InvalidArchive(f"entry {path!r} has the unknown type {member.type!r}")
    if not (0 <= member.uid <= _MAX_ID and 0 <= member.gid <= _MAX_ID):
        raise InvalidArchive(f"entry {path!r} has the impossible owner {member.uid}:{member.gid}")
    if member.size < 0:
        raise InvalidArchive(f"entry {path!r} has the impossible size {member.size}")
    link = ""
    if kind == "hardlink":
        link = clean(member.linkname, "hard link target")
    elif kind == "symlink":
        link = _symlink_target(member.linkname, path)
    device = kind in {"char", "block"}
    return Entry(
        path=path,
        kind=kind,
        mode=0o777 if kind == "symlink" else member.mode & 0o7777,  # as on every disk
        uid=member.uid,
        gid=member.gid,
        size=member.size if kind == "file" else 0,
        mtime=_time(member),
        link=link,
        xattrs=_xattrs(member.pax_headers) if kind != "hardlink" else {},
        major=member.devmajor if device else 0,
        minor=member.devminor if device else 0,
    )


def _time(member: tarfile.TarInfo) -> int:
    """Nanoseconds since the epoch; 0 for times that docker would not set either."""
    text = member.pax_headers.get("mtime")
    if text is None:
        nanoseconds = int(member.mtime) * 1_000_000_000
    else:
        whole, _, part = text.partition(".")
        nanoseconds = int(whole) * 1_000_000_000 + int((part + "000000000")[:9])
    return _possible(nanoseconds)


def _possible(nanoseconds: int) -> int:
    return nanoseconds if 0 <= nanoseconds <= _MAX_TIME else 0


def _xattrs(headers: Mapping[str, str]) -> dict[str, bytes]:
    """Extended attributes of a PAX header, by name; the ones that only mean something on the machine are dropped."""
    found = {
        key.removeprefix(_XATTR): encode_name(value)
        for key, value in headers.items()
        if key.startswith(_XATTR) and is_kept_xattr(key.removeprefix(_XATTR))
    }
    return dict(sorted(found.items()))


def is_kept_xattr(name: str) -> bool:
    """Whether an extended attribute belongs to the image: not overlay's own, not the machine's security labels."""
    if ".overlay." in name and name.startswith(("trusted.", "user.")):
        return False
    return bool(name) and name not in {"security.selinux", "security.ima", "security.evm", "system.nfs4_acl"}


__all__ = [
    "MAX_BYTES",
    "MAX_ENTRIES",
    "Member",
    "Source",
    "decode_name",
    "is_kept_xattr",
    "is_tar",
    "read_layer",
    "read_members",
]
