"""Archives that are unpacked while they arrive, and what is found out on the way."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import threading
from pathlib import Path

import pytest
import zstandard

from contextkernel.errors import InvalidArchive
from contextkernel.layer import tar
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Entry, LayerFacts
from contextkernel.store.streaming import StreamedUnpack
from contextkernel.store.worker_ahead import Ahead
from contextkernel.testing.stores import InProcessLayerWorker

from .archives import LAYER

BIG = tar.header(Entry(path="big", kind="file", size=24 << 20)) + bytes(24 << 20) + tar.END


@pytest.fixture
def directory(tmp_path: Path) -> str:
    (tmp_path / "layer" / "diff").mkdir(parents=True)
    return str(tmp_path / "layer")


def streamed(data: bytes, directory: str, step: int = 1000, limit: int | None = None) -> LayerFacts:
    with StreamedUnpack(InProcessLayerWorker(), directory, limit=limit) as unpacking:
        for at in range(0, len(data), step):
            unpacking.write(data[at : at + step])
        return unpacking.finish()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("", bytes),
        ("gzip", gzip.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
        ("bzip2", bz2.compress),
        ("xz", lzma.compress),
    ],
)
def test_one_pass_tells_everything_of_an_archive(name, pack, directory):
    packed = pack(LAYER)
    facts = streamed(packed, directory)
    assert facts.diff_id == Digest.of(LAYER)
    assert (facts.packed, facts.packed_size, facts.compression) == (Digest.of(packed), len(packed), name)
    assert (Path(directory) / "diff/etc/hello").read_bytes() == b"hello\n"


def test_a_file_and_a_descriptor_in_the_middle_of_one_are_sources_too(directory, tmp_path):
    path = tmp_path / "archive"
    packed = gzip.compress(LAYER)
    path.write_bytes(b"before" + packed)
    with path.open("rb", buffering=0) as file:
        file.seek(6)
        facts = InProcessLayerWorker().unpack(file.fileno(), directory)
        os.fstat(file.fileno())  # still open
    assert (facts.diff_id, facts.packed) == (Digest.of(LAYER), Digest.of(packed))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_layer_that_renders_to_its_archive_is_known(pack, directory):
    assert streamed(pack(BIG), directory, step=1 << 20).reproducible


def test_one_that_does_not_is_known_too(directory):
    assert not streamed(LAYER, directory).reproducible  # Python pads to 10 KiB


def test_what_follows_the_compressed_data_counts_for_the_digest(directory):
    packed = gzip.compress(LAYER) + bytes(300_000)
    facts = streamed(packed, directory)
    assert (facts.packed, facts.packed_size) == (Digest.of(packed), len(packed))


def test_an_archive_that_breaks_off_is_damaged(directory):
    packed = gzip.compress(os.urandom(100_000))
    with pytest.raises(InvalidArchive):
        streamed(packed[:50_000], directory)


def test_whoever_writes_on_hears_why_the_unpacking_has_ended(directory):
    with pytest.raises(InvalidArchive, match="larger than 1000000 bytes"):
        streamed(BIG, directory, step=1 << 20, limit=1_000_000)


def test_leaving_early_ends_the_job(directory):
    before = threading.active_count()
    with StreamedUnpack(InProcessLayerWorker(), directory) as unpacking:
        unpacking.write(LAYER[:700])
    assert threading.active_count() == before


def test_a_job_is_given_up_while_its_sender_is_silent():
    """Nothing ever comes, and nobody closes the pipe."""
    reading, writing = os.pipe()

    def check() -> None:
        raise KeyError

    try:
        with pytest.raises(KeyError), Ahead(reading, check) as ahead:
            ahead.read(1 << 20)
    finally:
        os.close(reading)
        os.close(writing)


def test_no_more_than_some_blocks_are_read_ahead(tmp_path):
    path = tmp_path / "zeros"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    with path.open("rb", buffering=0) as file:
        with Ahead(file.fileno(), lambda: None) as ahead:
            assert not any(ahead.read(1 << 20))
        assert file.tell() <= 8 << 20
