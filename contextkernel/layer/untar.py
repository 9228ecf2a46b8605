"""Reading layer archives: a stream of bytes in, checked entries out.

Nothing here trusts the archive: names are cleaned and may not leave, counts and sizes are bounded, what is not
understood is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from contextkernel.errors import InvalidArchive
from contextkernel.layer import names
from contextkernel.layer.index import decode_name, encode_name
from contextkernel.layer.tree import LayerTree
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Entry, EntryKind

if TYPE_CHECKING:
    import tarfile
    from typing import BinaryIO

MAX_ENTRIES = 2_000_000
MAX_BYTES = 1 << 38  # 256 GiB unpacked, where the caller knows no better
_MAX_HEADER = 1 << 22  # one PAX or GNU long-name header
_MAX_HEADERS = 1 << 30  # all headers of an archive together: what an index may take in memory
_CHUNK = 1 << 20
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


class Source:
    """An uncompressed archive as a stream that is read once; hashes and counts everything.

    It looks enough like a file for ``tarfile``, but only goes forward.

    Args:
        read: returns at most the asked number of bytes, none at the end.
        limit: the most bytes to accept.

    Raises:
        InvalidArchive: from any method, past ``limit``.
    """

    def __init__(self, read: Callable[[int], bytes], limit: int | None = None) -> None:
        self._read = read
        self._limit = MAX_BYTES if limit is None else limit
        self._sha = hashlib.sha256()
        self._block = memoryview(b"")
        self._position = 0
        self._taken = 0
        self._headers = 0
        self.last = b""

    def _refill(self) -> bool:
        block = self._read(_CHUNK)
        if not block:
            return False
        self._taken += len(block)
        if self._taken > self._limit:
            raise InvalidArchive(f"archive is larger than {self._limit} bytes when unpacked")
        self._sha.update(block)
        self._block = memoryview(block)
        return True

    def take(self, count: int) -> memoryview:
        """Between 1 and ``count`` next bytes; none at the end."""
        if not self._block and not self._refill():
            return memoryview(b"")
        part = self._block[:count]
        self._block = self._block[count:]
        self._position += len(part)
        return part

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes, fewer only at the end; for headers, hence bounded."""
        self._headers += count
        if count > _MAX_HEADER or self._headers > _MAX_HEADERS:
            raise InvalidArchive(f"archive headers are too large at byte {self._position}")
        if len(self._block) >= count:
            self.last = bytes(self.take(count))
            return self.last
        parts = []
        while count > 0 and (part := self.take(count)):
            parts.append(part)
            count -= len(part)
        self.last = b"".join(parts)
        return self.last

    def tell(self) -> int:
        """Bytes gone by."""
        return self._position

    def seek(self, position: int) -> int:
        """Go forward to ``position``, or to the end."""
        if position < self._position:
            raise InvalidArchive(f"archive is damaged at byte {self._position}")
        while self._position < position and self.take(position - self._position):
            pass
        return self._position

    def finish(self) -> Digest:
        """Read what is left and return the digest of the whole stream."""
        self._block = memoryview(b"")
        while self._refill():
            pass
        return Digest.from_hex(self._sha.hexdigest())


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
    import tarfile

    try:
        archive = tarfile.TarFile(fileobj=cast("BinaryIO", source), encoding="utf-8", errors="surrogateescape")
        return archive.next() is not None
    except (tarfile.TarError, ValueError, OverflowError, RecursionError, IndexError, KeyError, TypeError):
        return False


def read_members(source: Source, clean: Callable[[str, str], str] = names.clean) -> Iterator[Member]:
    """The entries of any tar archive, names cleaned; whiteouts have no meaning here.

    Args:
        source: the archive.
        clean: what to make of names, :func:`names.clean` or :func:`names.contained`.

    Raises:
        InvalidArchive: see the module.
    """
    import tarfile  # slow to import, and needed by the layer worker only

    count = 0
    with _damage(source):
        archive = tarfile.TarFile(
            fileobj=cast("BinaryIO", source), mode="r", encoding="utf-8", errors="surrogateescape"
        )
        member = archive.next()
    while member is not None:
        count += 1
        if count > MAX_ENTRIES:
            raise InvalidArchive(f"archive has more than {MAX_ENTRIES} entries")
        with _damage(source):
            entry = _entry(member, clean)
            holes = cast("list[tuple[int, int]]", member.sparse) if member.issparse() else None
        yield Member(entry, source, holes, replaces=False)
        # nobody looks names up: what tarfile remembers would only grow
        archive.members = []  # type: ignore[attr-defined]
        archive.pax_headers = {}  # global headers are comments of git and the like; docker ignores them too
        with _damage(source):
            member = archive.next()
    if source.last.strip(b"\0"):
        # tarfile takes a header with a wrong checksum for the end
        raise InvalidArchive(f"archive is damaged at byte {source.tell()}")


def read_layer(source: Source, tree: LayerTree) -> Iterator[Member]:
    """The entries of a layer archive as they land on disk; ``tree`` gathers the layer.

    Directories that the archive uses without having them come as entries of their own. Whiteouts are only noted in
    ``tree``. After the content of a file has been read, ``tree.replace_content`` has to be told.

    Raises:
        InvalidArchive: see the module.
    """
    for member in read_members(source):
        entry = member.entry
        if names.is_aufs_metadata(entry.path):
            continue
        directory, name = names.split(entry.path)
        if names.WHITEOUT in directory and any(part.startswith(names.WHITEOUT) for part in directory.split("/")):
            raise InvalidArchive(f"entry {entry.path!r} lies below a whiteout")
        hidden = names.whiteout_target(name)
        if len(tree) > MAX_ENTRIES:
            raise InvalidArchive(f"archive makes more than {MAX_ENTRIES} entries")
        if hidden is not None:
            wanted = names.join(directory, hidden) if hidden != "." else names.join(directory, "x")
            placed, made = tree.place(wanted, entry.mtime)
            for path in made:
                yield _implied(path, tree, source)
            if hidden == ".":
                tree.opaques.add(names.split(placed)[0])
            else:
                tree.whiteouts.add(placed)
            continue
        placed, made = tree.place(entry.path, entry.mtime)
        for path in made:
            yield _implied(path, tree, source)
        if entry.kind == "char" and entry.major == entry.minor == 0:
            # overlay's own form of a whiteout: that is what it would do on disk, so that is what it is
            tree.whiteouts.add(placed)
            continue
        if entry.kind == "hardlink":
            target, made = tree.place(entry.link)
            if made:
                raise InvalidArchive(f"hard link {entry.path!r} names {entry.link!r}, which is not in the layer")
            member.replaces = tree.get(placed) is not None
            tree.link(placed, target)
            if placed == target:
                continue
            member.entry = _with(entry, placed, target)
            yield member
            continue
        if placed == "." and entry.kind != "dir":
            raise InvalidArchive(f"the root of the layer is a {entry.kind}")
        member.replaces = tree.get(placed) is not None
        member.entry = entry if placed == entry.path else _with(entry, placed, entry.link)
        tree.put(member.entry)
        yield member


def _implied(path: str, tree: LayerTree, source: Source) -> Member:
    entry = tree.get(path)
    assert entry is not None  # noqa: S101  (place has just put it there)
    return Member(entry, source, [], replaces=False)


@contextmanager
def _damage(source: Source) -> Iterator[None]:
    """Turn whatever tarfile raises on bad input into one error."""
    import tarfile

    try:
        yield
    except (tarfile.TarError, ValueError, OverflowError, RecursionError, IndexError, KeyError, TypeError) as problem:
        where = f"at byte {source.tell()}"
        raise InvalidArchive(f"not a tar archive, or a damaged one, {where}: {str(problem).lower()}") from problem


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
        link = member.linkname
        if not link or "\0" in link or len(encode_name(link)) > 4095:
            raise InvalidArchive(f"symbolic link {path!r} has an impossible target")
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


def _with(entry: Entry, path: str, link: str) -> Entry:
    return Entry(
        path=path,
        kind=entry.kind,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        mtime=entry.mtime,
        link=link,
        xattrs=entry.xattrs,
        major=entry.major,
        minor=entry.minor,
    )


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
