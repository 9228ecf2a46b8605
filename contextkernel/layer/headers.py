"""Headers of tar archives, one after the other.

Nearly every header of an image is a plain ustar block of a file, directory or link. Those are read here, in a fraction
of the time; whatever is anything else (long names, PAX records, sparse files, devices, numbers in base 256, damage, the
end) is ``tarfile``'s to understand.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, cast

from contextkernel.errors import InvalidArchive
from contextkernel.layer.index import decode_name
from contextkernel.layer.source import Source

if TYPE_CHECKING:
    import tarfile
    from typing import BinaryIO

_BLOCK = 512
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")  # POSIX.1-2001, pax, "ustar Interchange Format"
_MAGIC = (b"ustar\x0000", b"ustar  \0")  # the second is GNU's, which keeps other things where ustar has the prefix


class PlainHeader:
    """What a plain ustar header says.

    Attributes:
        kind: its type byte: ``0`` file, ``1`` hard link, ``2`` symbolic link, ``5`` directory.
        name, link: as text with surrogate escapes; no slash at the end of a directory's.
        mode, uid, gid, size, seconds: its numbers, not negative.
    """

    __slots__ = ("gid", "kind", "link", "mode", "name", "seconds", "size", "uid")

    def __init__(
        self, name: str, kind: bytes, link: str, mode: int, uid: int, gid: int, size: int, seconds: int
    ) -> None:
        self.name = name
        self.kind = kind
        self.link = link
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.seconds = seconds


class Headers:
    """Reads header after header of an archive; between two, the caller may take content.

    Args:
        source: the archive, where its first header is.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._end = source.tell()
        self._slow: tarfile.TarFile | None = None

    def next(self) -> PlainHeader | tarfile.TarInfo | None:
        """The next header, ``None`` at the end; what is left of the content before it is skipped.

        ``source.header`` holds its bytes, with those of the records that belong to it.

        Raises:
            InvalidArchive: the archive ends in the middle of content.
            Exception: what ``tarfile`` raises on damage, of many kinds.
        """
        source = self._source
        if source.tell() != self._end and source.seek(self._end) != self._end:
            raise InvalidArchive(f"archive ends in the middle of an entry, at byte {source.tell()}")
        block = source.peek(_BLOCK)
        found = plain_header(block)
        if found is None:
            source.header = bytearray()
            return self._other()
        source.skip(block)
        self._end += _BLOCK
        if found.kind == b"0":
            self._end += found.size + -found.size % _BLOCK
        return found

    def _other(self) -> tarfile.TarInfo | None:
        import tarfile  # slow to import, and needed by few archives

        if self._slow is None:
            self._slow = tarfile.TarFile(
                fileobj=cast("BinaryIO", self._source), mode="r", encoding="utf-8", errors="surrogateescape"
            )
            # it has read one header, and reads another one if asked after the end
            found = self._slow.next() if self._slow.firstmember is not None else None  # type: ignore[attr-defined]
        else:
            self._slow.offset = self._end
            found = self._slow.next()
        self._end = self._slow.offset
        # nobody looks names up: what tarfile remembers would only grow
        self._slow.members = []  # type: ignore[attr-defined]
        self._slow.pax_headers = {}  # global headers are comments of git and the like; docker ignores them too
        return found


def plain_header(block: bytes) -> PlainHeader | None:
    """The header in ``block``, or ``None`` if it is not a sound plain one of a file, directory or link.

    Args:
        block: 512 bytes, fewer at the end of an archive.
    """
    if len(block) != _BLOCK:
        return None
    name, mode, uid, gid, size, seconds, checksum, kind, link, magic, _, _, _, _, prefix = _HEADER.unpack(block)
    if kind not in b"0125" or magic not in _MAGIC:
        return None
    if prefix[0] and magic != _MAGIC[0]:
        return None
    try:
        if _octal(checksum) != _sum(block) - sum(checksum) + 256:  # counted as if the checksum were spaces
            return None
        text = decode_name(name.partition(b"\0")[0])
        if kind == b"5":
            text = text.rstrip("/")
        if prefix[0]:
            text = decode_name(prefix.partition(b"\0")[0]) + "/" + text
        target = decode_name(link.partition(b"\0")[0]) if kind in b"12" else ""
        return PlainHeader(text, kind, target, _octal(mode), _octal(uid), _octal(gid), _octal(size), _octal(seconds))
    except ValueError:
        return None


def _sum(block: bytes) -> int:
    """Of the bytes of a header."""
    if block.isascii():  # 512 * 127 < 65521: the low half of Adler-32 is one more than the sum, and much faster
        return (zlib.adler32(block) & 0xFFFF) - 1
    return sum(block)


def _octal(field: bytes) -> int:
    """A number of octal digits and nothing else, ended by spaces or NUL bytes.

    Raises:
        ValueError: it is anything else.
    """
    digits = field.rstrip(b"\0 ")
    if not digits.isdigit():  # int() takes signs and underscores as well
        raise ValueError(field)
    return int(digits, 8)
