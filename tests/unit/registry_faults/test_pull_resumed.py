"""Pulls that break off and go on: what has come is not asked for again."""

from __future__ import annotations

import os

import pytest
from judge.faulty import REPOSITORY, Image, digest_of, incompressible

from contextkernel.errors import ImageNotFound, RegistryUnreachable
from contextkernel.model.digest import Digest
from contextkernel.model.events import LayerProgress, StepNote
from contextkernel.model.reference import ImageRef
from contextkernel.registry import pull_reference
from contextkernel.registry.retrying import Tries
from contextkernel.testing.stores import InProcessLayerWorker

from .conftest import AMD64

SIZE = 1_000_000


@pytest.fixture
def big(server):
    """An image of three layers that do not get smaller."""
    made = Image.of(*({f"file{number}": incompressible(SIZE + number)} for number in range(3)))
    made.publish(server, REPOSITORY, "big")
    return made


@pytest.fixture
def get(server, store):
    """Pull ``big``; waits are noted."""
    waits: list[float] = []

    def run(ref="big", **options):
        name = ImageRef.parse(f"{server.address}/{REPOSITORY}{'@' if ':' in ref else ':'}{ref}")
        options.setdefault("tries", Tries(sleep=waits.append))
        return pull_reference(store, InProcessLayerWorker(), name, platform=AMD64, **options)

    run.waits = waits
    return run


def offsets(server, layer):
    """Where each request for a layer's blob began."""
    seen = server.asked(f"/blobs/{digest_of(layer)}", "GET")
    return [int(one.headers.get("range", "bytes=0-")[6:-1]) for one in seen]


def kept(store):
    folder = f"{store.root}/downloads"
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def test_a_connection_that_is_cut_at_every_64_kib(server, store, big, get):
    server.fail("/blobs/", method="GET", cut=1 << 16)
    pulled = get()
    assert store.image_rows()[0].id == pulled.image
    for layer in big.layers:
        asked = offsets(server, layer)
        assert asked[0] == 0
        assert asked == sorted(set(asked))  # each goes on where the last one ended
        assert len(asked) >= SIZE >> 16
    assert kept(store) == []


def test_the_next_pull_asks_for_the_rest_alone(server, store, big, get):
    last = big.layers[2]
    server.fail(f"/blobs/{digest_of(last)}", cut=300_000)
    with pytest.raises(RegistryUnreachable):
        get(tries=Tries(table={}, sleep=get.waits.append))
    assert store.image_rows() == ()
    assert store._database.all("SELECT diff_id FROM layers") == []
    before = {layer: len(offsets(server, layer)) for layer in big.layers}
    complete = [
        layer for layer in big.layers[:2] if f"sha256-{digest_of(layer)[7:]}" in kept(store)
        and os.path.getsize(f"{store.root}/downloads/sha256-{digest_of(layer)[7:]}") == len(layer)
    ]  # fmt: skip
    server.faults.clear()
    get()
    for layer in complete:
        assert len(offsets(server, layer)) == before[layer]
    assert offsets(server, last)[-1] > 0
    assert kept(store) == []


def test_layers_that_were_complete_are_not_fetched_again(server, store, big, get):
    """An interrupt when the image was almost here."""

    def report(event):
        if isinstance(event, LayerProgress) and event.phase == "complete":
            done.append(event.layer)
            if len(done) == 3:
                raise KeyboardInterrupt

    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        get(report=report)
    assert len(kept(store)) == 3
    get()
    assert [offsets(server, layer) for layer in big.layers] == [[0], [0], [0]]
    assert kept(store) == []


def test_what_an_earlier_pull_left_damaged_is_fetched_anew(server, store, big, get):
    layer = big.layers[1]
    os.makedirs(f"{store.root}/downloads", exist_ok=True)
    with open(f"{store.root}/downloads/sha256-{digest_of(layer)[7:]}", "wb") as file:
        file.write(bytes(5000))
    get()
    assert offsets(server, layer)[-1] == 0
    assert store.check() == ()


def test_an_interrupt_does_not_wait_for_a_silent_registry(server, store, big, get):
    """The registry would be silent until the test ends, and the client patient for an hour."""
    server.fail(f"/blobs/{digest_of(big.layers[0])}", stall=200_000)

    def report(event):
        if isinstance(event, LayerProgress) and event.phase == "complete":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(report=report, tries=Tries(silence=3600.0, sleep=get.waits.append))
    assert store.image_rows() == ()


def test_what_is_told_of_each_layer(big, get):
    events: list[object] = []
    get(report=events.append, step=0, announced=True)
    assert events[0] == StepNote(0, f"big: Pulling from {REPOSITORY}")
    short = Digest(digest_of(big.layers[0])).short
    phases = [one.phase for one in events if isinstance(one, LayerProgress) and one.layer == short]
    assert list(dict.fromkeys(phases)) == [
        "pulling", "downloading", "verifying", "downloaded", "extracting", "complete",
    ]  # fmt: skip
    events.clear()
    get(report=events.append, step=0)
    assert events == []  # the image is here


def test_a_retry_is_told_with_its_seconds(server, big, get):
    server.fail(f"/blobs/{digest_of(big.layers[0])}", times=1, cut=100)
    events: list[object] = []
    get(report=events.append)
    told = [one for one in events if isinstance(one, LayerProgress) and one.phase == "retrying"]
    assert len(told) == len(get.waits) == 1
    assert told[0].current >= 1


def test_what_is_known_of_it_afterwards(server, store, big, get):
    pulled = get()
    (manifest,) = store.distribution.manifests_of(pulled.image)
    assert manifest.digest == pulled.digest
    for layer, diff_id in zip(big.layers, big.diff_ids, strict=True):
        assert store.distribution.packed_forms(Digest(diff_id))[0].digest == digest_of(layer)
        assert store.distribution.places(Digest(digest_of(layer)), server.address)[0].repository == REPOSITORY
    name = f"{server.address}/{REPOSITORY}@{pulled.digest}"
    assert store.resolve(name) == pulled.image
    assert store.inspect_image(pulled.image)["RepoDigests"] == [name]


@pytest.mark.usefixtures("big")
def test_by_digest_there_is_no_tag(store, get):
    tagged = get()
    store.remove_image(str(tagged.image), force=True)
    pulled = get(str(tagged.digest))
    assert pulled.image == tagged.image
    assert store.tags_of(pulled.image) == ()


def test_a_name_that_is_not_there(get):
    with pytest.raises(ImageNotFound, match="nothing"):
        get("nothing")
