"""Layers that arrive piece by piece: unpacked meanwhile, kept when the connection breaks, never half there."""

from __future__ import annotations

import functools
import gzip
import os
import threading
from contextlib import contextmanager

import pytest

from contextkernel.errors import DigestMismatch, InvalidArchive, RegistryUnreachable, SizeMismatch
from contextkernel.layer import tar
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Entry
from contextkernel.model.oci import MEDIA_LAYER_GZIP, Descriptor
from contextkernel.store.arriving import Arrival
from contextkernel.store.downloads import download_path
from contextkernel.testing.stores import InProcessLayerWorker

from . import archives

CONTENT = os.urandom(700_000)
OURS = tar.header(Entry(path="f", kind="file", size=len(CONTENT))) + CONTENT + tar.padding(len(CONTENT)) + tar.END
PACK = functools.partial(gzip.compress, mtime=0)


class Sender:
    """Has a blob, and breaks the connection where it is told to."""

    def __init__(self, data, *, cuts=(), parts=True):
        self.data = data
        self.cuts = list(cuts)
        self.parts = parts
        self.asked = []

    @contextmanager
    def __call__(self, offset):
        self.asked.append(offset)
        self.offset = self.at = offset if self.parts else 0
        yield self

    def read(self, size, /):
        if self.cuts and self.at >= self.cuts[0]:
            self.cuts.pop(0)
            raise RegistryUnreachable("the connection broke")
        end = min(self.at + size, *self.cuts[:1], len(self.data))
        part = self.data[self.at : end]
        self.at = end
        return part


def give_up(problem, moved):
    del moved
    raise problem


def go_on(problem, moved):
    if not moved:
        raise problem


@pytest.fixture
def arrive(store):
    def fetch(sender, promised=OURS, packed=None, *, patience=give_up, told=lambda *_: None, limit=None, diff_id=None):
        packed = PACK(promised) if packed is None else packed
        blob = Descriptor(MEDIA_LAYER_GZIP, Digest.of(packed), len(packed))
        arrival = Arrival(
            store,
            InProcessLayerWorker(),
            blob,
            diff_id or Digest.of(promised),
            check=lambda _seconds: None,
            told=told,
            limit=limit,
        )
        arrival.fetch(sender, patience)

    return fetch


def kept(store):
    return os.listdir(f"{store.root}/downloads")


def nothing_left(store):
    assert kept(store) == []
    store.release([])
    assert os.listdir(f"{store.root}/blobs/sha256") == []


def test_a_layer_that_renders_to_its_archive_leaves_no_blob(store, arrive):
    arrive(Sender(PACK(OURS)))
    layer = store.layer(Digest.of(OURS))
    assert layer.blob is None
    nothing_left(store)
    (form,) = store.distribution.packed_forms(layer.diff_id)
    assert form.digest == Digest.of(PACK(OURS))


def test_the_blob_of_another_one_stays(store, arrive):
    arrive(Sender(PACK(archives.LAYER)), archives.LAYER)
    layer = store.layer(Digest.of(archives.LAYER))
    assert layer.blob == Digest.of(PACK(archives.LAYER))
    with store.open_blob(layer.blob) as blob:
        assert blob.read() == PACK(archives.LAYER)
    assert kept(store) == []


@pytest.mark.parametrize("parts", [True, False])
def test_after_a_broken_connection_only_the_rest_is_taken(store, arrive, parts):
    sender = Sender(PACK(OURS), cuts=(65_536, 300_000, 600_001), parts=parts)
    arrive(sender, patience=go_on)
    assert sender.asked == [0, 65_536, 300_000, 600_001]
    assert store.has_layer(Digest.of(OURS))


def test_the_next_attempt_goes_on_where_the_last_one_ended(store, arrive):
    with pytest.raises(RegistryUnreachable):
        arrive(Sender(PACK(OURS), cuts=(400_000,)))
    assert not store.has_layer(Digest.of(OURS))
    assert os.path.getsize(download_path(store.root, Digest.of(PACK(OURS)))) == 400_000
    sender = Sender(PACK(OURS))
    arrive(sender)
    assert sender.asked == [400_000]
    assert store.has_layer(Digest.of(OURS))
    nothing_left(store)


def test_what_was_downloaded_completely_is_not_asked_for(store, arrive):
    path = download_path(store.root, Digest.of(PACK(OURS)))
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        file.write(PACK(OURS))
    sender = Sender(b"")
    arrive(sender)
    assert sender.asked == []
    assert store.has_layer(Digest.of(OURS))


def test_a_damaged_download_is_thrown_away(store, arrive):
    """So that the next attempt does not fail for the same reason."""
    path = download_path(store.root, Digest.of(PACK(OURS)))
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        file.write(bytes(1000))
    with pytest.raises(DigestMismatch):
        arrive(Sender(PACK(OURS)))
    nothing_left(store)
    arrive(Sender(PACK(OURS)))


def test_a_download_that_is_too_long_begins_again(store, arrive):
    path = download_path(store.root, Digest.of(PACK(OURS)))
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        file.write(bytes(len(PACK(OURS)) + 1))
    sender = Sender(PACK(OURS))
    arrive(sender)
    assert sender.asked == [0]


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (PACK(OURS) + b"x", SizeMismatch),
        (PACK(OURS)[:-1], SizeMismatch),
        (PACK(OURS)[:-1] + b"x", DigestMismatch),
        (bytes(len(PACK(OURS))), DigestMismatch),
    ],
    ids=["longer", "shorter", "last byte", "zeros"],
)
def test_something_else_than_promised_is_refused(store, arrive, sent, error):
    with pytest.raises(error):
        arrive(Sender(sent))
    assert not store.has_layer(Digest.of(OURS))
    nothing_left(store)


def test_what_is_no_archive_is_refused_as_that(store, arrive):
    data = b"no archive" * 1000
    with pytest.raises(InvalidArchive):
        arrive(Sender(data), data, data)
    nothing_left(store)


def test_another_layer_than_promised_is_refused(store, arrive):
    with pytest.raises(DigestMismatch, match="unpacks to"):
        arrive(Sender(PACK(OURS)), diff_id=Digest.of(b"another"))
    nothing_left(store)


def test_a_bomb_is_refused(store, arrive):
    bomb = tar.header(Entry(path="f", kind="file", size=30_000_000)) + bytes(30_000_000) + tar.END
    with pytest.raises(InvalidArchive, match="larger than 2000000 bytes"):
        arrive(Sender(PACK(bomb)), bomb, limit=2_000_000)
    nothing_left(store)


def test_an_interruption_keeps_what_has_come(store, arrive):
    def told(phase, here):
        if phase == "downloading" and here > 300_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        arrive(Sender(PACK(OURS)), told=told)
    assert os.path.getsize(download_path(store.root, Digest.of(PACK(OURS)))) > 300_000
    assert os.listdir(f"{store.root}/layers") == [] or store.trash()


def test_two_at_once_fetch_a_layer_once(store, arrive):
    first, second = Sender(PACK(OURS)), Sender(PACK(OURS))
    begun = threading.Event()
    other = threading.Thread(target=lambda: (begun.wait(), arrive(second)))
    other.start()
    arrive(first, told=lambda *_: begun.set())
    other.join()
    assert store.has_layer(Digest.of(OURS))
    assert (first.asked, second.asked) == ([0], [])
    nothing_left(store)


def keep(store, data=OURS):
    packed = PACK(data)
    blob = Descriptor(MEDIA_LAYER_GZIP, Digest.of(packed), len(packed))
    nothing = {"check": lambda _seconds: None, "told": lambda *_: None}
    Arrival(store, InProcessLayerWorker(), blob, Digest.of(data), keep=True, **nothing).fetch(Sender(packed), give_up)
    return download_path(store.root, blob.digest), packed


@pytest.mark.parametrize("data", [OURS, archives.LAYER], ids=["reproducible", "kept as a blob"])
def test_what_has_arrived_stays_until_all_that_belongs_together_is_there(store, data):
    path, packed = keep(store, data)
    with open(path, "rb") as file:
        assert file.read() == packed
    store.downloads.remove(Digest.of(packed))
    assert kept(store) == []
    blob = store.layer(Digest.of(data)).blob
    if blob is not None:
        with store.open_blob(blob) as source:
            assert source.read() == packed


def test_where_files_cannot_have_two_names_the_blob_is_all_there_is(store, monkeypatch):
    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refused)
    _, packed = keep(store, archives.LAYER)
    assert kept(store) == []
    with store.open_blob(Digest.of(packed)) as source:
        assert source.read() == packed


def test_the_size_of_downloads_is_told_while_one_of_them_is_completed(store, monkeypatch):
    digest = Digest.of(b"here")
    os.makedirs(f"{store.root}/downloads", exist_ok=True)
    with open(download_path(store.root, digest), "wb") as file:
        file.write(b"here")
    files = store.downloads._files

    def listed():
        return [*files(), download_path(store.root, Digest.of(b"gone"))]

    monkeypatch.setattr(store.downloads, "_files", listed)
    assert store.downloads.size() == 4
