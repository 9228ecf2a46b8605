"""Layers of a registry are fetched side by side; what breaks is asked for again, and one failure ends all."""

from __future__ import annotations

import functools
import gzip
import os
import threading
from contextlib import contextmanager

import pytest

from contextkernel.errors import ImageNotFound, RegistryUnreachable
from contextkernel.model.digest import Digest
from contextkernel.model.oci import MEDIA_LAYER_GZIP, Descriptor
from contextkernel.registry.layers import fetch_layers
from contextkernel.registry.retrying import Tries
from contextkernel.store import Store
from contextkernel.store.side_by_side import News
from contextkernel.testing.stores import InProcessLayerWorker
from tests.unit.store import archives

PACK = functools.partial(gzip.compress, mtime=0)
LAYERS = [archives.tar((f"file{number}", os.urandom(300_000))) for number in range(4)]


class Blobs:
    """A repository's client, for as much as layers need of it."""

    def __init__(self, *, breaks=0, lost=(), together=1):
        self.blobs = {Digest.of(PACK(layer)): PACK(layer) for layer in LAYERS}
        self.waits = []
        self.tries = Tries(sleep=self.waits.append, chance=lambda: 0.0)
        self.told = None
        self.asked = []
        self.ended = threading.Event()
        self._breaks = breaks
        self._lost = lost
        self._barrier = threading.Barrier(together, timeout=60)

    @contextmanager
    def blob(self, digest, *, offset=0):
        self.asked.append((digest, offset))
        if digest in self._lost:
            raise ImageNotFound(f"no blob {digest}")
        if not offset:
            self._barrier.wait()
        yield Part(self.blobs[digest], offset, self)

    def abort(self):
        self.ended.set()

    def broken(self):
        self._breaks -= 1
        return self._breaks >= 0


class Part:
    """Breaks after every 100 kB, as long as it is to."""

    def __init__(self, data, offset, blobs):
        self._data, self._at, self.offset, self._blobs = data, offset, offset, blobs
        self._end = offset + 100_000

    def read(self, size, /):
        if self._at >= self._end and self._at < len(self._data) and self._blobs.broken():
            raise RegistryUnreachable("the connection broke")
        part = self._data[self._at : min(self._at + size, self._end if self._at < self._end else len(self._data))]
        self._at += len(part)
        return part


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store") as opened:
        yield opened


def pairs(layers=LAYERS):
    return [
        (Descriptor(MEDIA_LAYER_GZIP, Digest.of(PACK(layer)), len(PACK(layer))), Digest.of(layer)) for layer in layers
    ]


def fetch(store, blobs, wanted=None, tell=lambda *_: None, news=None):
    fetch_layers(blobs, store, InProcessLayerWorker(), wanted or pairs(), tell, news or News())


def test_layers_come_side_by_side_and_are_told_of_in_one_thread(store):
    """Two would wait for each other in vain if it were one after the other."""
    told = []
    fetch(store, Blobs(together=2), tell=lambda packed, _, here: told.append((packed, here, threading.get_ident())))
    assert all(store.has_layer(Digest.of(layer)) for layer in LAYERS)
    assert {thread for _, _, thread in told} == {threading.get_ident()}
    assert {packed for packed, here, _ in told if here == packed.size} == {packed for packed, _ in pairs()}


def test_a_layer_with_notes_of_its_own_is_fetched(store):
    """Dictionaries cannot be keys."""
    ((packed, diff_id),) = pairs(LAYERS[:1])
    noted = Descriptor(packed.media_type, packed.digest, packed.size, annotations={"a": "b"})
    fetch(store, Blobs(), [(noted, diff_id)])
    assert store.has_layer(diff_id)


def test_what_breaks_is_asked_for_again_from_there_on(store):
    blobs = Blobs(breaks=3)
    fetch(store, blobs, pairs(LAYERS[:1]))
    assert [offset for _, offset in blobs.asked] == [0, 100_000, 200_000, 300_000]
    assert blobs.waits == [0.25, 0.25, 0.25]  # each of them had brought something


def test_nothing_but_failures_is_given_up_by_the_table(store):
    blobs = Blobs()
    blobs.blob = lambda _digest, *, offset: Silent(offset)
    with pytest.raises(RegistryUnreachable):
        fetch(store, blobs, pairs(LAYERS[:1]))
    assert blobs.waits == [0.25, 0.5, 1.0, 2.0]


class Silent:
    """Opens, and breaks before the first byte."""

    def __init__(self, offset):
        self.offset = offset

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        return None

    def read(self, _size, /):
        raise RegistryUnreachable("the connection broke")


def test_one_that_is_lost_ends_all_and_another_registry_can_be_tried(store):
    news = News()
    lost = Digest.of(PACK(LAYERS[1]))
    with pytest.raises(ImageNotFound):
        fetch(store, Blobs(lost=[lost]), news=news)
    fetch(store, Blobs(), news=news)
    assert all(store.has_layer(Digest.of(layer)) for layer in LAYERS)


def test_whoever_waits_for_a_registry_stops_when_it_is_not_needed(store):
    """One waits for hours, the other one's news end it all."""
    news = News()
    blobs = Blobs(breaks=100)
    begun = threading.Event()
    slept = []

    def sleep(seconds):
        begun.set()
        slept.append(seconds)
        news.wait(3600)

    blobs.tries = Tries(sleep=sleep, chance=lambda: 0.0)

    def tell(_packed, _phase, here):
        if here:
            begun.wait()
            raise KeyError

    other = Descriptor(MEDIA_LAYER_GZIP, Digest.of(PACK(archives.LAYER)), len(PACK(archives.LAYER)))
    blobs.blobs[other.digest] = PACK(archives.LAYER)
    with pytest.raises(KeyError):
        fetch(store, blobs, [*pairs(LAYERS[:1]), (other, Digest.of(archives.LAYER))], tell, news)
    assert slept


def test_one_that_has_come_to_its_end_leaves_the_others_theirs():
    """Several wait in the same way, and one of them need not wait any more."""
    news, ended = News(), []
    with news.ending(lambda: None):
        end = functools.partial(ended.append, "ended")
        with news.ending(end):
            with news.ending(end):
                pass
            news.stop()
    assert ended == ["ended"]
