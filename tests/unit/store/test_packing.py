"""Layers as blobs."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile

import pytest
import zstandard

from contextkernel.errors import DigestMismatch
from contextkernel.model.digest import Digest
from contextkernel.model.oci import (
    MEDIA_DOCKER_LAYER_GZIP,
    MEDIA_LAYER,
    MEDIA_LAYER_GZIP,
    MEDIA_LAYER_ZSTD,
    Descriptor,
)
from contextkernel.model.outputs import Compression
from contextkernel.store.packing import Packer, recipe

BIG = os.urandom(1 << 20) + b"text " * 700_000


@pytest.fixture
def layer(store, worker):
    directory = store.new_layer_dir()
    for name, content in (("a", b"small"), ("b", BIG)):
        with open(f"{directory}/diff/{name}", "wb") as sink:
            sink.write(content)
    return store.add_layer(directory, worker.commit(directory))


def bytes_of(packed):
    with packed.open() as source:
        return source.read()


@pytest.mark.parametrize(
    ("kind", "media", "unpack"),
    [
        ("uncompressed", MEDIA_LAYER, bytes),
        ("gzip", MEDIA_LAYER_GZIP, gzip.decompress),
        ("zstd", MEDIA_LAYER_ZSTD, lambda data: zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()),
    ],
)
@pytest.mark.parametrize("level", [None, 1])
def test_a_layer_is_packed_the_same_each_time(store, worker, layer, kind, media, unpack, level):
    packer = Packer(store, worker, Compression(kind=kind, level=level))
    packed, again = packer.pack(layer), packer.pack(layer)
    data = bytes_of(packed)
    assert packed.descriptor == again.descriptor == Descriptor(media, Digest.of(data), len(data))
    assert hashlib.sha256(unpack(data)).hexdigest() == layer.diff_id.hex
    for one in (packed, again):
        one.close()
        one.close()
    assert os.listdir(f"{store.root}/tmp") == []


class InDribs:
    """Renders in pieces of odd lengths, as a pipe may have them."""

    def __init__(self, worker):
        self._worker = worker

    def write_tar(self, directory, descriptor):
        path = f"{directory}/whole"
        with open(path, "wb") as sink:
            facts = self._worker.write_tar(directory, sink.fileno())
        with open(path, "rb", buffering=0) as source:
            while part := source.read(4093):
                os.write(descriptor, part)
        os.unlink(path)
        return facts


def test_the_result_does_not_depend_on_the_length_of_the_pieces(store, worker, layer):
    whole = Packer(store, worker, Compression()).pack(layer)
    assert Packer(store, InDribs(worker), Compression()).pack(layer).descriptor == whole.descriptor


def test_how_it_was_packed_is_remembered(store, worker, layer):
    packer = Packer(store, worker, Compression())
    assert packer.forms(layer) == ()
    packed = packer.pack(layer).descriptor
    assert packer.forms(layer) == (packed,)
    assert packer.forms(layer, oci=False) == (Descriptor(MEDIA_DOCKER_LAYER_GZIP, packed.digest, packed.size),)
    other = Packer(store, worker, Compression(level=9, force=True))
    assert other.forms(layer) == ()
    nine = other.pack(layer).descriptor
    assert other.forms(layer) == (nine,)
    assert packer.forms(layer) == (packed, nine)  # it would do as well
    assert Packer(store, worker, Compression(kind="zstd")).forms(layer) == ()  # what was asked for is not what is known


def test_a_form_of_another_kind_will_do_unless_forced(store, worker, layer):
    Packer(store, worker, Compression(kind="uncompressed")).pack(layer)  # plain tars need no remembering
    came = Descriptor(MEDIA_LAYER_ZSTD, Digest.of(b"from elsewhere"), 7)
    store.distribution.remember_packed(layer.diff_id, came)
    assert Packer(store, worker, Compression()).forms(layer) == (came,)
    assert Packer(store, worker, Compression()).forms(layer, oci=False) == ()  # docker's types have no zstd
    assert Packer(store, worker, Compression(force=True)).forms(layer) == ()
    assert Packer(store, worker, Compression(kind="uncompressed")).forms(layer) == ()


def test_recipes_tell_compressors_apart():
    kinds = [Compression(), Compression(level=1), Compression(level=9), Compression(kind="zstd")]
    assert len({recipe(one) for one in kinds}) == len(kinds)
    assert recipe(Compression(kind="zstd")) == recipe(Compression(kind="zstd", level=3))


def test_a_layer_that_was_changed_on_disk_is_refused(store, worker, layer):
    with open(f"{layer.diff}/a", "wb") as sink:
        sink.write(b"other")
    for kind in ("gzip", "uncompressed"):
        with pytest.raises(DigestMismatch, match="renders to"):
            Packer(store, worker, Compression(kind=kind)).pack(layer)
    assert os.listdir(f"{store.root}/tmp") == []
    assert store.distribution.packed_forms(layer.diff_id) == ()


def test_it_stops_when_it_is_told_to(store, worker, layer):
    class Enough(Exception):
        pass

    def check():
        raise Enough

    with pytest.raises(Enough):
        Packer(store, worker, Compression()).pack(layer, check=check)
    assert os.listdir(f"{store.root}/tmp") == []


def test_a_kept_blob_is_repacked_in_whole_pieces(store, worker):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        member = tarfile.TarInfo("b")
        member.size = len(BIG)
        archive.addfile(member, io.BytesIO(BIG))
    blob = store.write_blob(stream.getvalue())
    directory = store.new_layer_dir()
    facts = worker.unpack(store.blob_path(blob), directory)
    layer = store.add_layer(directory, facts, blob=blob, media_type=MEDIA_LAYER)
    packed = Packer(store, worker, Compression()).pack(layer)
    assert gzip.decompress(bytes_of(packed)) == stream.getvalue()
    assert Packer(store, worker, Compression(kind="uncompressed")).forms(layer) == (
        Descriptor(MEDIA_LAYER, blob, len(stream.getvalue())),
    )
