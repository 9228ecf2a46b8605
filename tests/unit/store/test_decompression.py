"""Packed archives that break off are damaged, wherever it is."""

import bz2
import gzip
import io
import lzma

import pytest
import zstandard

from contextkernel.errors import InvalidArchive
from contextkernel.store.archive_import import import_tar
from contextkernel.store.decompression import compression_of, decompressor, guarded
from contextkernel.store.zstd_frames import Frames
from contextkernel.testing.stores import InProcessLayerWorker

from . import archives

TEXT = b"".join(b"line %d\n" % number for number in range(400))


def zstd(data, *, pieces=1, checksum=True, size=True):
    """A frame of several blocks."""
    packer = zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=size)
    if pieces == 1:
        return packer.compress(data)
    made = packer.compressobj()
    step = len(data) // pieces + 1
    parts = [
        made.compress(data[start : start + step]) + made.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        for start in range(0, len(data), step)
    ]
    return b"".join(parts) + made.flush()


def skippable(data):
    return (0x184D2A53).to_bytes(4, "little") + len(data).to_bytes(4, "little") + data


ZSTD = {
    "one": [zstd(TEXT)],
    "without a checksum": [zstd(TEXT, checksum=False)],
    "without its size": [zstd(TEXT, size=False)],
    "blocks": [zstd(TEXT, pieces=5)],
    "zeros": [zstd(bytes(300_000))],  # a block that is one byte, often
    "random": [zstd(bytes(number * number % 251 for number in range(500)), checksum=False)],
    "empty": [zstd(b"")],
    "several": [zstd(TEXT), zstd(b"x", checksum=False), skippable(b"note"), zstd(TEXT, pieces=3)],
}


def plain(data):
    read = guarded(decompressor(compression_of(data[:6]), io.BytesIO(data)))
    return b"".join(iter(lambda: read(1000), b""))


@pytest.mark.parametrize("name", ZSTD)
def test_zstd_that_ends_early_is_noticed(name):
    frames = ZSTD[name]
    whole = b"".join(frames)
    ends = {sum(map(len, frames[:count])) for count in range(1, len(frames) + 1)}
    # elsewhere than at the end of a frame there is more to come, although all of the content may be there
    for cut in range(6, len(whole) + 1):
        if cut in ends:
            plain(whole[:cut])
        else:
            with pytest.raises(InvalidArchive, match=r"damaged compressed archive: .*zstd"):
                plain(whole[:cut])
    assert plain(whole) == zstandard.ZstdDecompressor().stream_reader(whole, read_across_frames=True).read()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_frames_are_told_however_they_come(size):
    whole = b"".join(ZSTD["several"])
    frames = Frames(io.BytesIO(whole))
    assert b"".join(iter(lambda: frames.read(size), b"")) == whole
    assert frames.complete


def test_what_is_no_zstd_is_for_the_reader_to_say():
    with pytest.raises(InvalidArchive, match="damaged compressed archive"):
        plain(zstd(TEXT) + b"something else")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_others_that_end_early_are_noticed(pack):
    whole = pack(TEXT)
    assert plain(whole) == TEXT
    for cut in (len(whole) // 2, len(whole) - 1):
        with pytest.raises(InvalidArchive, match="damaged compressed archive"):
            plain(whole[:cut])


def test_an_import_that_ends_between_two_entries_is_refused(store, tmp_path):
    """A ``zstd`` that was killed: what it had written is a whole file, and the beginning of a tar."""
    archive = archives.tar(("one", b"1" * 1000), ("two", b"2" * 1000))
    made = zstandard.ZstdCompressor().compressobj()
    first = made.compress(archive[:2048]) + made.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    file = tmp_path / "root.tar.zst"
    file.write_bytes(first)
    with pytest.raises(
        InvalidArchive, match=r"cannot import .*: damaged compressed archive: zstd: it ends in the middle"
    ):
        import_tar(store, InProcessLayerWorker(), str(file), None)
    assert store.image_rows() == ()
    file.write_bytes(first + made.compress(archive[2048:]) + made.flush())
    import_tar(store, InProcessLayerWorker(), str(file), None)
