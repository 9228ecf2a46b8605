"""Layers of one archive come in side by side, and all or none."""

from __future__ import annotations

import functools
import gzip
import hashlib
import threading

import pytest

from contextkernel.errors import DigestMismatch, InvalidArchive
from contextkernel.model.digest import Digest
from contextkernel.store.archive_load import load
from contextkernel.testing.stores import InProcessLayerWorker

from . import archives
from .test_archive import nothing_left

PACK = functools.partial(gzip.compress, mtime=0)
LAYERS = [archives.tar((f"file{number}", b"%d" % number * 3000)) for number in range(6)]


class Meeting(InProcessLayerWorker):
    """Lets two unpackings go on only together."""

    def __init__(self):
        self.barrier = threading.Barrier(2, timeout=60)

    def unpack(self, source, directory, *, limit=None):
        self.barrier.wait()
        return super().unpack(source, directory, limit=limit)


@pytest.fixture
def file(tmp_path):
    def write(data):
        path = tmp_path / "archive.tar"
        path.write_bytes(data)
        return str(path)

    return write


def test_layers_are_unpacked_beside_each_other(store, file):
    """They would wait for each other in vain if it were one after the other."""
    load(store, Meeting(), file(archives.docker_archive(*LAYERS)))
    assert [layer.diff_id for layer in store.layers_of(store.resolve("old:v1"))] == list(map(Digest.of, LAYERS))


def test_progress_is_told_by_the_thread_that_loads_and_may_stop_it(store, file):
    threads = set()

    def report(event):
        threads.add(threading.get_ident())
        if event.current == event.total:
            raise KeyError("enough")

    with pytest.raises(KeyError):
        load(store, InProcessLayerWorker(), file(archives.docker_archive(*LAYERS)), report)
    assert threads == {threading.get_ident()}
    nothing_left(store)


def test_one_refused_layer_takes_back_the_others(store, file):
    data = archives.docker_archive(*LAYERS[:5], b"no tar" * 100, document=archives.config(*LAYERS))
    with pytest.raises(InvalidArchive):
        load(store, InProcessLayerWorker(), file(data))
    nothing_left(store)


def test_damage_is_told_as_the_wrong_digest_that_it_is(store, file):
    """The layer would be refused as no archive as well."""
    packed = PACK(LAYERS[0])
    data = archives.oci_archive(LAYERS[0], pack=PACK)
    damaged = data.replace(packed, packed[:20] + bytes(20) + packed[40:])
    assert damaged != data
    with pytest.raises(DigestMismatch, match=f"instead of sha256:{hashlib.sha256(packed).hexdigest()}"):
        load(store, InProcessLayerWorker(), file(damaged))
    nothing_left(store)


def test_the_packed_form_that_a_layer_came_in_is_remembered(store, file):
    packed = PACK(LAYERS[0])
    load(
        store,
        InProcessLayerWorker(),
        file(archives.oci_archive(LAYERS[0], pack=lambda data: gzip.compress(data, mtime=0))),
    )
    (form,) = store.distribution.packed_forms(Digest.of(LAYERS[0]))
    assert (form.digest, form.size) == (Digest.of(packed), len(packed))
