"""The layer index: one row per entry of a layer, in a fixed order, packed into one file.

The file is MessagePack: ``[kind, version, text, rows]``. Paths, link targets and the names of extended
attributes may hold any bytes; in memory they are text with surrogate escapes (PEP 383). MessagePack text
must be UTF-8, so an index with such names says ``text = "latin-1"`` and carries every byte as one character.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from contextkernel.errors import StoreProblem, StoreTooNew
from contextkernel.model.layers import Entry

_KIND = "contextkernel/layer-index"
VERSION = 1

#: Order of rows that share a path: what is removed below comes before what is there now.
_RANK = {"whiteout": 0, "opaque": 2}


class _Head(msgspec.Struct, frozen=True, array_like=True):
    kind: str
    version: int
    text: str
    rows: msgspec.Raw


_ENCODER = msgspec.msgpack.Encoder()
_HEAD = msgspec.msgpack.Decoder(_Head)
_ROWS = msgspec.msgpack.Decoder(list[Entry])


def encode_name(name: str) -> bytes:
    """The bytes of a name, whatever they are."""
    return name.encode("utf-8", "surrogateescape")


def decode_name(data: bytes) -> str:
    """A name from its bytes; bytes that are not UTF-8 become surrogate escapes."""
    return data.decode("utf-8", "surrogateescape")


def sort_key(entry: Entry) -> tuple[bytes, int]:
    """Order of an index and of a rendered tar: depth first, directories before what is in them, names by bytes."""
    path = "" if entry.path == "." else entry.path
    return encode_name(path).replace(b"/", b"\0"), _RANK.get(entry.kind, 1)


def layer_size(entries: Iterable[Entry]) -> int:
    """Bytes of a layer as docker counts them: contents of files and length of symlinks, hard links once."""
    total = 0
    for entry in entries:
        if entry.kind == "file":
            total += entry.size
        elif entry.kind == "symlink":
            total += len(encode_name(entry.link))
    return total


def pack_index(entries: Iterable[Entry]) -> bytes:
    """Pack rows, in the order given (see ``sort_key``), into the bytes of an index file."""
    rows: Sequence[Entry] = list(entries)
    text = "utf-8"
    try:
        packed = _ENCODER.encode(rows)
    except UnicodeEncodeError:
        text = "latin-1"
        packed = _ENCODER.encode([_renamed(row, lambda name: encode_name(name).decode("latin-1")) for row in rows])
    return _ENCODER.encode(_Head(kind=_KIND, version=VERSION, text=text, rows=msgspec.Raw(packed)))


def unpack_index(data: bytes) -> list[Entry]:
    """Rows of an index file.

    Raises:
        StoreTooNew: a later version of this package wrote it.
        StoreProblem: it is not an index, or damaged.
    """
    try:
        head = _HEAD.decode(data)
        if head.kind != _KIND:
            raise StoreProblem(f"not a layer index: it calls itself {head.kind!r}")
        if head.version > VERSION:
            raise StoreTooNew(
                f"the layer index has version {head.version}, this package knows up to {VERSION}",
                hint="use the newer contextkernel that made this store",
            )
        rows = _ROWS.decode(head.rows)
    except msgspec.MsgspecError as problem:
        raise StoreProblem(f"damaged layer index: {str(problem).lower()}") from problem
    if head.text == "latin-1":
        return [_renamed(row, lambda name: decode_name(name.encode("latin-1"))) for row in rows]
    return rows


def _renamed(row: Entry, change: Callable[[str], str]) -> Entry:
    return Entry(
        path=change(row.path),
        kind=row.kind,
        mode=row.mode,
        uid=row.uid,
        gid=row.gid,
        size=row.size,
        mtime=row.mtime,
        link=change(row.link),
        digest=row.digest,
        xattrs={change(name): value for name, value in row.xattrs.items()},
        major=row.major,
        minor=row.minor,
    )


def links_resolved(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The rows with every hard link replaced by a full row of its file under its own path."""
    first: dict[str, Entry] = {}
    for entry in entries:
        if entry.kind == "hardlink":
            yield moved(first[entry.link], entry.path)
        else:
            first[entry.path] = entry
            yield entry


def moved(entry: Entry, path: str) -> Entry:
    """The same row under another path."""
    return msgspec.structs.replace(entry, path=path)
