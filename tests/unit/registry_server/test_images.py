"""The images of a store, shown by a registry."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from contextkernel.model.digest import Digest
from contextkernel.model.reference import ImageRef
from contextkernel.registry_server.images import StoreImages, shown_as, shown_rows
from contextkernel.registry_server.refusals import Refusal
from contextkernel.registry_server.storage import Storage
from contextkernel.store import Store
from contextkernel.store.trash import empty_trash
from contextkernel.testing.stores import InProcessLayerWorker, random_image


@pytest.fixture
def shown(tmp_path):
    worker, opened = InProcessLayerWorker(), []
    storage = Storage(str(tmp_path / "layout"))
    storage.prepare()
    with Store.open(tmp_path / "store") as store:

        @contextmanager
        def opening():
            opened.append(1)
            yield store, lambda: worker

        content = StoreImages(storage, opening)
        yield store, worker, content, storage


def test_an_image_is_what_the_store_has(shown):
    store, worker, content, storage = shown
    image = random_image(store, worker, "greet", "team/demo:v2", layers=3)
    assert content.repositories() == ["greet", "team/demo"]
    assert content.tags("greet") == ["latest"]
    assert content.tags("library/greet") == ["latest"], "docker's long name"
    assert content.tags("nothing") is None
    entry, data = content.manifest("greet", "latest")
    manifest = json.loads(data)
    assert Digest.of(data) == entry.digest
    assert manifest["config"]["digest"] == image
    assert [layer["digest"] for layer in manifest["layers"]] == [layer.diff_id for layer in store.layers_of(image)]
    for part in (manifest["config"], *manifest["layers"]):
        with open(content.blob("greet", Digest(part["digest"])), "rb") as file:
            assert Digest.of(file.read()) == part["digest"]
    size = storage.size()
    assert content.manifest("team/demo", "v2") == (entry, data)
    assert content.manifest("greet", entry.digest) == (entry, data)
    assert storage.size() == size, "packed once"
    assert content.manifest("greet", "v9") is None
    assert content.blob("nothing", Digest(manifest["config"]["digest"])) is None


def test_what_the_store_has_now(shown):
    store, worker, content, _ = shown
    random_image(store, worker, "greet")
    first, _ = content.manifest("greet", "latest")
    random_image(store, worker, "greet", seed=2)
    second, _ = content.manifest("greet", "latest")
    assert first.digest != second.digest
    store.remove_image("greet")
    assert content.manifest("greet", "latest") is None
    assert content.repositories() == []


def test_layers_are_packed_from_where_they_are_once_they_stay(shown, monkeypatch):
    store, worker, content, _ = shown
    image = random_image(store, worker, "greet")
    before = {layer.directory for layer in store.layers_of(image)}
    hold = store.hold

    def late(layers):
        store.remove_image("greet")
        empty_trash(store, worker)
        assert random_image(store, worker, "greet") == image
        return hold(layers)

    monkeypatch.setattr(store, "hold", late)
    entry, data = content.manifest("greet", "latest")
    assert Digest.of(data) == entry.digest
    assert not before & {layer.directory for layer in store.layers_of(image)}


def test_an_image_that_goes_just_then_is_not_there(shown, monkeypatch):
    store, worker, content, _ = shown
    image = random_image(store, worker, "greet")
    layers_of, looks = store.layers_of, []

    def last(wanted):
        looks.append(wanted)
        if len(looks) == 2:
            store.remove_image("greet")
        return layers_of(wanted)

    monkeypatch.setattr(store, "layers_of", last)
    with pytest.raises(Refusal) as refused:
        content.manifest("greet", "latest")
    assert (refused.value.status, refused.value.code) == (404, "MANIFEST_UNKNOWN")
    assert looks == [image, image]


def test_rows(shown):
    store, worker, _, _ = shown
    image = random_image(store, worker, "greet")
    (row,) = shown_rows("127.0.0.1:5000", store)
    (there,) = store.image_rows()
    assert (row.repository, row.tag, row.size) == ("greet", "latest", there.size)
    assert there.id == image


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("greet", "greet"),
        ("team/demo", "team/demo"),
        ("quay.io/team/demo", "quay.io/team/demo"),
        ("127.0.0.1:5000/team/demo", "127.0.0.1-5000/team/demo"),
        ("[::1]:5000/demo", None),
    ],
)
def test_names_of_other_registries(name, repository):
    assert shown_as(ImageRef.parse(f"{name}:v1")) == repository
