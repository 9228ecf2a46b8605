"""Compressed archives: which compression by the first bytes, and readers of the plain content."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any, BinaryIO, cast

from contextkernel.errors import ContextKernelError, InvalidArchive
from contextkernel.store.zstd_frames import Frames

HEAD = 6  # bytes that tell
_MAX_WINDOW = 1 << 27  # zstd: what `zstd --long` writes at most
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
}


def compression_of(head: bytes) -> str:
    """``gzip``, ``zstd``, ``bzip2`` or ``xz`` by the first bytes of a file; empty for none of these."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def decompressor(compression: str, stream: BinaryIO | Any) -> Callable[[int], bytes]:
    """What reads the plain content.

    Args:
        compression: as of :func:`compression_of`.
        stream: the packed content, from its beginning.

    Returns:
        A function that takes the most bytes to return, and returns none at the end; it raises whatever the library does
        on damage (see :func:`guarded`).
    """
    match compression:
        case "gzip":
            from isal import igzip

            opener: Any = igzip.IGzipFile
            return cast("Callable[[int], bytes]", opener(fileobj=stream).read)
        case "zstd":
            import zstandard

            frames = Frames(stream)
            reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(
                cast("IO[bytes]", frames), read_across_frames=True, closefd=False
            )

            def read(count: int) -> bytes:
                data = reader.read(count)
                if not data and not frames.complete:
                    raise InvalidArchive("damaged compressed archive: zstd: it ends in the middle of a frame")
                return data

            return read
        case "bzip2":
            import bz2

            return bz2.BZ2File(stream).read
        case "xz":
            import lzma

            return lzma.LZMAFile(stream).read
    return cast("Callable[[int], bytes]", stream.read)


def guarded(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """The same with every way to say "damaged" turned into one."""

    def call(count: int) -> bytes:
        try:
            return read(count)
        except ContextKernelError:
            raise
        except OSError as problem:
            if problem.errno is None:  # gzip and bzip2 say so for bad data
                raise InvalidArchive(f"damaged compressed archive: {str(problem).lower()}") from problem
            raise
        except Exception as problem:
            # zlib.error, isal's, zstd's, lzma's and EOFError have no common parent
            raise InvalidArchive(f"damaged compressed archive: {str(problem).lower()}") from problem

    return call
