"""What the engine makes of pulls: tags, platforms beside each other, docker's lines."""

from __future__ import annotations

import json

import pytest
from judge.faulty import INDEX, REPOSITORY, Faulty, Image, publish

from contextkernel import Engine
from contextkernel.errors import ImageNotFound, InvalidInput, RegistryRefused
from contextkernel.model.events import LayerProgress, StepNote
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.store import Store
from contextkernel.testing.stores import InProcessLayerWorker

HOST = Platform.host()
OTHER = "s390x"


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("CONTEXTKERNEL_REGISTRIES", str(tmp_path / "registries.toml"))


@pytest.fixture
def server():
    with Faulty() as made:
        yield made


@pytest.fixture
def name(server):
    return f"{server.address}/{REPOSITORY}"


@pytest.fixture
def engine(tmp_path):
    store = Store.open(tmp_path / "store")
    with Engine(store=store, worker=InProcessLayerWorker()) as made:
        yield made


@pytest.fixture
def index(server):
    """An index ``v1`` for this machine and another; gives the digests of index and manifests."""
    entries = []
    for architecture in (HOST.architecture, OTHER):
        image = Image.of({"arch": architecture.encode()})
        image.architecture = architecture
        digest = image.publish(server, REPOSITORY)
        size = len(json.dumps(image.document()).encode())
        entries.append(
            {
                "mediaType": image.document()["mediaType"],
                "digest": digest,
                "size": size,
                "platform": {"os": "linux", "architecture": architecture},
            }
        )
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    return publish(server, REPOSITORY, document, "v1", "latest"), *(entry["digest"] for entry in entries)


def architecture(engine, image):
    return engine.inspect([str(image)])[0]["Architecture"]


@pytest.mark.parametrize("first", [HOST.architecture, OTHER])
def test_platforms_stand_beside_each_other(engine, name, index, first):
    second = OTHER if first == HOST.architecture else HOST.architecture
    images = {which: engine.pull(f"{name}:v1", platform=f"linux/{which}") for which in (first, second)}
    assert {which: architecture(engine, image) for which, image in images.items()} == {which: which for which in images}
    store, ref = engine._store, ImageRef.parse(f"{name}:v1")
    assert store.resolve(f"{name}:v1") == images[HOST.architecture]
    assert store.resolve(f"{name}@{index[0]}") == images[HOST.architecture]
    assert store.resolve(f"{name}@{index[2]}") == images[OTHER]
    for which, image in images.items():
        assert store.for_platform(ref, Platform("linux", which)) == image


def within(server, digest, tag):
    """An index whose one entry names no platform."""
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{"mediaType": INDEX, "digest": digest, "size": 9}],
    }
    return publish(server, REPOSITORY, document, tag)


def test_indexes_within_indexes(server, engine, name, index):
    second = within(server, index[0], "second")
    third = within(server, second, "third")
    within(server, third, "fourth")
    image = engine.pull(f"{name}:third")
    assert architecture(engine, image) == HOST.architecture
    assert engine.pull(f"{name}:v1") == image
    with pytest.raises(RegistryRefused, match="lie within each other without end"):
        engine.pull(f"{name}:fourth")


@pytest.mark.usefixtures("index")
def test_one_for_another_platform_has_the_tag_where_there_is_no_other(engine, name):
    image = engine.pull(name, platform=f"linux/{OTHER}")
    assert engine._store.resolve(name) == image


def notes(events):
    return [event.text for event in events if isinstance(event, StepNote)]


def test_docker_s_lines(engine, name, index):
    events: list[object] = []
    engine.pull(f"{name}:v1", report=events.append)
    assert notes(events) == [
        f"v1: Pulling from {REPOSITORY}",
        f"Digest: {index[0]}",
        f"Status: Downloaded newer image for {name}:v1",
    ]
    assert {event.step for event in events} == {0}
    assert [event.phase for event in events if isinstance(event, LayerProgress)][-1] == "complete"
    events.clear()
    engine.pull(f"{name}:v1", report=events.append)
    assert notes(events)[-1] == f"Status: Image is up to date for {name}:v1"
    events.clear()
    engine.pull(name, index[0], report=events.append)
    assert notes(events)[0] == f"{name}@{index[0]}: Pulling from {REPOSITORY}"


def test_a_lone_image_for_another_platform_is_told(server, engine, name):
    image = Image.of({"a": b"1"})
    image.architecture = OTHER
    image.publish(server, REPOSITORY, "lone")
    events: list[object] = []
    engine.pull(f"{name}:lone", report=events.append)
    assert notes(events)[-1] == (
        f"WARNING: image with reference {name}:lone was found but its platform (linux/{OTHER}) does not match "
        f"the specified platform ({HOST})"
    )


def test_a_lone_image_that_was_pulled_for_another_platform_is_not_pushed_as_one_for_it(server, engine, name):
    image = Image.of({"a": b"1"})
    image.architecture = HOST.architecture
    image.publish(server, REPOSITORY, "lone")
    engine.pull(f"{name}:lone", platform=f"linux/{OTHER}")
    with pytest.raises(ImageNotFound, match=f"is for {HOST}, not for linux/{OTHER}"):
        engine.push(f"{name}:lone", platform=f"linux/{OTHER}")


def test_all_tags(server, engine, name):
    from judge.faulty import Page

    for tag in ("a", "b"):
        image = Image.of({"tag": tag.encode()})
        image.architecture = HOST.architecture
        image.publish(server, REPOSITORY, tag)
    body = json.dumps({"name": REPOSITORY, "tags": ["a", "b"]}).encode()
    server.pages[f"/v2/{REPOSITORY}/tags/list"] = Page(200, {"Content-Type": "application/json"}, body)
    events: list[object] = []
    ids = set(engine.pull(name, all_tags=True, report=events.append))
    said = notes(events)
    assert [text for text in said if "Pulling" in text] == [f"{tag}: Pulling from {REPOSITORY}" for tag in "ab"]
    assert [text for text in said if "Status" in text] == [f"Status: Downloaded newer image for {name}"] == said[-1:]
    assert ids == {engine._store.resolve(f"{name}:a"), engine._store.resolve(f"{name}:b")}
    with pytest.raises(InvalidInput, match="has a tag"):
        engine.pull(f"{name}:a", all_tags=True)
    with pytest.raises(ImageNotFound, match="/team/nothing: the list of tags does not exist in the registry"):
        engine.pull(f"{server.address}/team/nothing", all_tags=True)


@pytest.mark.usefixtures("index")
def test_a_container_s_image_is_pulled_with_docker_s_words(engine, name):
    events: list[object] = []
    engine._image_of(f"{name}:v1", "missing", events.append)
    assert notes(events)[:2] == [f"Unable to find image '{name}:v1' locally", f"v1: Pulling from {REPOSITORY}"]
    events.clear()
    engine._image_of(f"{name}:v1", "missing", events.append)
    assert events == []
    engine._image_of(f"{name}:v1", "always", events.append)
    assert notes(events)[-1] == f"Status: Image is up to date for {name}:v1"
    with pytest.raises(ImageNotFound):
        engine._image_of(f"{name}:v2", "never", events.append)


def test_what_interrupted_pulls_left_is_counted_and_pruned(engine):
    import os

    store = engine._store
    os.makedirs(f"{store.root}/downloads")
    with open(f"{store.root}/downloads/sha256-{'a' * 64}", "wb") as file:
        file.write(bytes(1000))
    assert store.downloads.size() == 1000
    assert store.bound.room().working >= 1000
    assert store.downloads.prune(older=3600) == 0
    assert store.downloads.prune() == 1000
    assert store.downloads.size() == 0
