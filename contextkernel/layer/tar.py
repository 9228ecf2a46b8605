"""Layers as tar archives: rendering, with bytes that depend on nothing but the entries.

The form is ustar, with a PAX header (POSIX.1-2001) only where ustar cannot hold a value: long or non-ASCII names,
big numbers, extended attributes (``SCHILY.xattr.``). Times are cut to whole seconds as docker does, user and group
names are empty, whiteouts are as the OCI image-spec has them (layer.md). Written here and not with ``tarfile``, so that
a layer has the same digest under every version of Python.
"""

from __future__ import annotations

import struct
import zlib

from contextkernel.layer import names
from contextkernel.layer.index import encode_name
from contextkernel.model.layers import Entry

BLOCK = 512
#: Two zero blocks end an archive; the digest of an empty layer is that of this.
END = bytes(2 * BLOCK)

_TYPES = {
    "file": b"0",
    "hardlink": b"1",
    "symlink": b"2",
    "char": b"3",
    "block": b"4",
    "dir": b"5",
    "fifo": b"6",
    "whiteout": b"0",
    "opaque": b"0",
}
_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_MAX_OCTAL_7 = 0o7777777  # uid, gid and device fields
_MAX_OCTAL_11 = 0o77777777777  # size and time fields
_SECOND = 1_000_000_000


def archive_name(entry: Entry) -> str:
    """The name of an entry in an archive: directories end in a slash, whiteouts have their prefix."""
    if entry.kind == "dir":
        return "./" if entry.path == "." else entry.path + "/"
    if entry.kind == "opaque":
        return names.join(entry.path, names.OPAQUE)
    if entry.kind == "whiteout":
        directory, name = names.split(entry.path)
        return names.join(directory, names.WHITEOUT + name)
    return entry.path


def header(entry: Entry) -> bytes:
    """All blocks of an entry that come before its content."""
    records: list[tuple[bytes, bytes]] = []
    name = encode_name(archive_name(entry))
    link = encode_name(entry.link) if entry.kind in {"symlink", "hardlink"} else b""
    prefix, short = _split_name(name)
    if not short:
        records.append((b"path", name))
        short = _plain(name)
    if len(link) > 100 or not link.isascii():
        records.append((b"linkpath", link))
        link = _plain(link)
    size = _number(records, b"size", entry.size if entry.kind == "file" else 0, _MAX_OCTAL_11)
    seconds = _number(records, b"mtime", entry.mtime // _SECOND, _MAX_OCTAL_11)
    uid = _number(records, b"uid", entry.uid, _MAX_OCTAL_7)
    gid = _number(records, b"gid", entry.gid, _MAX_OCTAL_7)
    if entry.kind != "hardlink":
        for key, value in entry.xattrs.items():
            records.append((b"SCHILY.xattr." + encode_name(key), value))
    block = _block(
        short,
        entry.mode & 0o7777,
        (uid, gid),
        size,
        seconds,
        _TYPES[entry.kind],
        link,
        (entry.major, entry.minor),
        prefix,
    )
    if not records:
        return block
    records.sort()
    body = b"".join(_record(key, value) for key, value in records)
    base = _plain(name.rstrip(b"/").rpartition(b"/")[2])
    extended = _block((b"PaxHeaders.0/" + base)[:100], 0, (0, 0), len(body), 0, b"x", b"", (0, 0), b"")
    return extended + body + padding(len(body)) + block


def padding(size: int) -> bytes:
    """The zeros that fill the last block of ``size`` bytes of content."""
    return bytes(-size % BLOCK)


def _split_name(name: bytes) -> tuple[bytes, bytes]:
    """The ustar prefix and name fields; an empty name when they cannot hold it."""
    if not name.isascii():
        return b"", b""
    if len(name) <= 100:
        return b"", name
    cut = name.rstrip(b"/").rfind(b"/", 0, 156)
    if cut <= 0 or len(name) - cut - 1 > 100:
        return b"", b""
    return name[:cut], name[cut + 1 :]


def _plain(name: bytes) -> bytes:
    """What programs that do not read PAX headers see of a name."""
    return bytes(byte if byte < 128 else 0x3F for byte in name[:100])


def _number(records: list[tuple[bytes, bytes]], key: bytes, value: int, most: int) -> int:
    """The value for a ustar field; 0, and a PAX record, when it does not fit."""
    if 0 <= value <= most:
        return value
    records.append((key, b"%d" % value))
    return 0


def _record(key: bytes, value: bytes) -> bytes:
    """One PAX record; its length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _block(
    name: bytes,
    mode: int,
    owner: tuple[int, int],
    size: int,
    seconds: int,
    kind: bytes,
    link: bytes,
    device: tuple[int, int],
    prefix: bytes,
) -> bytes:
    fields = [
        name,
        b"%07o\0" % mode,
        b"%07o\0" % owner[0],
        b"%07o\0" % owner[1],
        b"%011o\0" % size,
        b"%011o\0" % seconds,
        b"        ",
        kind,
        link,
        b"ustar\00000",
        b"",
        b"",
        b"%07o\0" % device[0],
        b"%07o\0" % device[1],
        prefix,
    ]
    # the low half of this checksum is one more than the sum of the bytes, as all of these are ASCII: 512 * 127 < 65521
    fields[6] = b"%06o\0 " % ((zlib.adler32(_HEADER.pack(*fields)) & 0xFFFF) - 1)
    return _HEADER.pack(*fields)
