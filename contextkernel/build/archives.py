"""Is a file a tar archive? By content, as ADD decides (plain, gzip, bzip2, xz, zstd)."""

from __future__ import annotations

import zlib
from collections.abc import Callable

_BLOCK = 512
_HEAD = 1024 * 1024  # more than the first block of bzip2, the coarsest of them
_CHECKSUM = slice(148, 156)


def is_archive(head: Callable[[int], bytes]) -> bool:
    """Whether a file begins like a tar archive, compressed or not.

    Args:
        head: gives the first bytes of the file.
    """
    start = head(_BLOCK)
    if _is_tar(start):
        return True
    opener = _decompressor(start)
    if opener is None:
        return False
    try:
        return _is_tar(opener(head(_HEAD)))
    except (OSError, EOFError, ValueError, zlib.error):
        return False


def _is_tar(block: bytes) -> bool:
    """A header block has a checksum: the sum of its bytes with the checksum field as spaces (tar(5))."""
    if len(block) < _BLOCK:
        return False
    block = block[:_BLOCK]
    text = block[_CHECKSUM].strip(b" \0")
    try:
        stored = int(text, 8)
    except ValueError:
        return False
    return stored == sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")


def _decompressor(start: bytes) -> Callable[[bytes], bytes] | None:
    if start.startswith(b"\x1f\x8b"):
        return lambda data: zlib.decompressobj(wbits=31).decompress(data, _BLOCK)
    if start.startswith(b"BZh"):
        import bz2

        return lambda data: bz2.BZ2Decompressor().decompress(data, _BLOCK)
    if start.startswith(b"\xfd7zXZ\0"):
        return _xz
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        return _zstd
    return None


def _xz(data: bytes) -> bytes:
    import lzma

    try:
        return lzma.LZMADecompressor().decompress(data, _BLOCK)
    except lzma.LZMAError:
        return b""


def _zstd(data: bytes) -> bytes:
    import io

    import zstandard

    try:
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)) as reader:
            return reader.read(_BLOCK)
    except zstandard.ZstdError:
        return b""
