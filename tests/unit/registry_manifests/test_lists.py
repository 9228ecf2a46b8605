"""Manifest lists: made, annotated, shown, pushed and forgotten."""

import json

import pytest

from contextkernel.errors import Conflict, ImageNotFound, InvalidInput, NotFound
from contextkernel.model.digest import Digest
from contextkernel.model.oci import MEDIA_DOCKER_LIST, MEDIA_INDEX


@pytest.fixture
def two(pushed, request):
    """Two images of two platforms in one repository, and where that is."""
    path = f"l/{request.node.name.replace('_', '-').lower()}"
    return f"{pushed.address}/{path}", pushed.image(path, "amd64"), pushed.image(path, "arm64", "arm64")


def test_a_list_from_its_making_to_its_push(engine, pushed, two):
    place, amd, arm = two
    assert str(engine.create_manifest(f"{place}:all", [f"{place}:arm64", f"{place}:amd64"])) == f"{place}:all"
    shown = json.loads(engine.inspect_manifest(f"{place}:all"))
    assert shown["mediaType"] == MEDIA_INDEX
    assert [one["digest"] for one in shown["manifests"]] == [str(amd.digest), str(arm.digest)]
    engine.annotate_manifest(f"{place}:all", f"{place}:arm64", variant="v8", os_features=["x"])
    lines = []
    digest = engine.push_manifest(f"{place}:all", tell=lines.append)
    assert lines == []
    document = pushed.client(place.partition("/")[2]).manifest("all")[1]
    assert Digest.of(document) == digest
    assert json.loads(document)["manifests"][1]["platform"] == {
        "architecture": "arm64",
        "os": "linux",
        "os.features": ["x"],
        "variant": "v8",
    }
    engine.push_manifest(f"{place}:all", purge=True)
    with pytest.raises(NotFound, match="no such manifest"):
        engine.push_manifest(f"{place}:all")
    assert json.loads(engine.inspect_manifest(f"{place}:all")) == json.loads(document)


def test_images_of_other_repositories_are_mounted(engine, pushed, two):
    place, amd, _ = two
    path = place.partition("/")[2]
    other = pushed.image(f"{path}-other", "v1", "arm64", docker=True, layers=(b"far away",))
    engine.create_manifest(f"{place}:all", [f"{place}:amd64", f"{place}-other:v1"])
    pushed.registry.requests.clear()
    lines = []
    engine.push_manifest(f"{place}:all", tell=lines.append)
    assert lines == [f"Pushed ref {place}@{other.digest} with digest: {other.digest}"]
    assert not [one for one in pushed.registry.requests if one.method in ("PUT", "PATCH") and "/blobs/" in one.path]
    assert pushed.client(path).blob_size(Digest.of(b"far away")) == 8
    assert [row.digest for row in engine.remote(f"{place}:all").platforms()] == [amd.digest, other.digest]


def test_a_list_is_not_amended_unawares(engine, two):
    place, _, _ = two
    engine.create_manifest(f"{place}:all", [f"{place}:amd64"])
    with pytest.raises(Conflict, match="no --amend flag"):
        engine.create_manifest(f"{place}:all", [f"{place}:arm64"])
    engine.create_manifest(f"{place}:all", [f"{place}:arm64"], amend=True)
    assert len(json.loads(engine.inspect_manifest(f"{place}:all"))["manifests"]) == 2
    engine.remove_manifest(f"{place}:all")
    with pytest.raises(NotFound, match="no such manifest"):
        engine.remove_manifest(f"{place}:all")


def test_what_is_not_an_image_of_one_platform(engine, pushed, two):
    place, amd, arm = two
    pushed.index(place.partition("/")[2], "index", amd, arm)
    with pytest.raises(InvalidInput, match="is a manifest list") as caught:
        engine.create_manifest(f"{place}:all", [f"{place}:index"])
    assert "by digest" in (caught.value.hint or "")
    with pytest.raises(ImageNotFound, match=r"no such manifest: .*:nosuch"):
        engine.create_manifest(f"{place}:all", [f"{place}:nosuch"])
    with pytest.raises(NotFound):
        engine.push_manifest(f"{place}:all")
    with pytest.raises(ImageNotFound, match="does not exist in"):
        engine.annotate_manifest(f"{place}:all", f"{place}:amd64", os="linux")


def test_another_registry_is_refused_when_it_is_shown_or_pushed(engine, two):
    place, _, _ = two
    engine.create_manifest("other.example/foo", [f"{place}:amd64"])
    for verb in (engine.inspect_manifest, engine.push_manifest):
        with pytest.raises(InvalidInput, match="cannot use source images from a different registry"):
            verb("other.example/foo")


def test_inspect(engine, pushed, two):
    place, amd, arm = two
    path = place.partition("/")[2]
    document = pushed.client(path).manifest("amd64")[1]
    text = engine.inspect_manifest(f"{place}:amd64")
    assert json.loads(text) == json.loads(document)
    assert text.splitlines()[1].startswith(b'\t"schemaVersion"')
    full = json.loads(engine.inspect_manifest(f"{place}:amd64", verbose=True))
    assert full["Descriptor"]["platform"] == {"architecture": "amd64", "os": "linux"}
    assert full["Ref"] == f"{place}:amd64"
    pushed.index(path, "index", amd, arm, annotations={"a": "b"})
    shown = json.loads(engine.inspect_manifest(f"{place}:index"))
    assert [one["platform"]["architecture"] for one in shown["manifests"]] == ["amd64", "arm64"]
    both = json.loads(engine.inspect_manifest(f"{place}:index", verbose=True))
    assert [one["Ref"] for one in both] == [f"{place}:index@{one.digest}" for one in (amd, arm)]
    engine.create_manifest(f"{place}:all", [f"{place}:amd64"])
    assert engine.inspect_manifest(f"{place}:amd64", within=f"{place}:all") == text
    with pytest.raises(ImageNotFound, match="no such manifest"):
        engine.inspect_manifest(f"{place}:arm64", within=f"{place}:all")
    with pytest.raises(ImageNotFound, match="no such manifest"):
        engine.inspect_manifest(f"{place}:nosuch")


def test_docker_s_images_make_docker_s_list(engine, pushed, two):
    place, _, _ = two
    path = place.partition("/")[2]
    pushed.image(path, "docker", docker=True)
    engine.create_manifest(f"{place}:all", [f"{place}:docker"])
    assert engine.push_manifest(f"{place}:all")
    assert pushed.client(path).manifest("all")[0] == MEDIA_DOCKER_LIST
