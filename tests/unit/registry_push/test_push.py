"""Pushing to a registry of our own."""

from __future__ import annotations

import gzip
import io
import json
import os

import pytest

from contextkernel.errors import DigestMismatch, ImageNotFound, RegistryDenied
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.digest import Digest
from contextkernel.model.oci import (
    MEDIA_DOCKER_LAYER_GZIP,
    MEDIA_DOCKER_MANIFEST,
    MEDIA_INDEX,
    MEDIA_LAYER_GZIP,
    MEDIA_MANIFEST,
    Descriptor,
    Manifest,
)
from contextkernel.model.outputs import Annotation, Statement
from contextkernel.registry import repositories
from contextkernel.store.distribution import Place
from contextkernel.store.extras import Extras
from contextkernel.testing.registry import Canned


def pushed_manifest(shop, text):
    ref = shop.name(text)
    media, data = repositories(ref.registry, ref.repository)[-1].manifest(ref.tag)
    return media, data, json.loads(data)


def blob(shop, text, digest):
    ref = shop.name(text)
    with repositories(ref.registry, ref.repository)[-1].blob(digest) as stream:
        return b"".join(iter(lambda: stream.read(1 << 16), b""))


def test_an_image_arrives_whole(shop):
    image = shop.image("team/app:v1", b"one" * 1000, b"two")
    row = shop.push("team/app:v1")
    media, data, manifest = pushed_manifest(shop, "team/app:v1")
    assert (media, row.media_type, row.digest, row.size) == (MEDIA_MANIFEST, media, Digest.of(data), len(data))
    assert manifest["config"]["digest"] == image
    assert blob(shop, "team/app:v1", image) == shop.store.config_bytes(image)
    for layer, described in zip(shop.store.layers_of(image), manifest["layers"], strict=True):
        content = blob(shop, "team/app:v1", described["digest"])
        assert (described["mediaType"], described["size"]) == (MEDIA_LAYER_GZIP, len(content))
        assert Digest.of(gzip.decompress(content)) == layer.diff_id
        assert shop.phases(layer.diff_id)[0] == "preparing"
        assert shop.phases(layer.diff_id)[-1] == "pushed"
    assert os.listdir(f"{shop.store.root}/tmp") == []
    names = shop.store.inspect_image(image)["RepoDigests"]
    assert names == [f"{shop.registry.address}/team/app@{row.digest}"]


def test_nothing_is_sent_twice(shop):
    image = shop.image("app:v1", b"one", b"two")
    first = shop.push("app:v1")
    shop.store.tag(image, shop.name("app:v2"))
    assert shop.push("app:v2").digest == first.digest
    assert sorted(shop.phases()) == ["preparing", "preparing", "present", "present"]
    assert shop.asked("POST") == shop.asked("PATCH") == []
    assert shop.asked("PUT") == ["/v2/app/manifests/v2"]


def test_layers_are_mounted_from_other_repositories(shop):
    image = shop.image("app:v1", b"one")
    first = shop.push("app:v1")
    shop.store.tag(image, shop.name("other/app:v1"))
    assert shop.push("other/app:v1").digest == first.digest
    assert shop.phases() == ["preparing", "mounted"]
    assert shop.events[-1].detail == "app"
    (layer,) = from_json(pushed_manifest(shop, "other/app:v1")[1], Manifest).layers
    assert set(shop.store.distribution.places(layer.digest)) == {
        Place(shop.registry.address, "app"),
        Place(shop.registry.address, "other/app"),
    }


def test_a_place_that_has_it_no_longer_is_forgotten(shop):
    image = shop.image("app:v1", b"one")
    shop.push("app:v1")
    (form,) = shop.store.distribution.packed_forms(shop.store.layers_of(image)[0].diff_id)
    shop.store.distribution.remember_places([form.digest], shop.registry.address, "gone")
    shop.store.distribution.forget_place(form.digest, shop.registry.address, "app")
    shop.store.tag(image, shop.name("third:v1"))
    shop.push("third:v1")
    assert shop.phases()[-1] == "pushed"
    assert shop.store.distribution.places(form.digest) == (Place(shop.registry.address, "third"),)


def came_with(shop, image, blob_digest, size, *, document=None):
    """Let an image have come from elsewhere under a manifest of docker's."""
    (layer,) = shop.store.layers_of(image)
    described = {"mediaType": MEDIA_DOCKER_LAYER_GZIP, "digest": str(blob_digest), "size": size}
    config = {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "size": len(shop.store.config_bytes(image)),
        "digest": str(image),
    }
    document = json.dumps(
        {"schemaVersion": 2, "mediaType": MEDIA_DOCKER_MANIFEST, "config": config, "layers": [described]}, indent=3
    ).encode()
    shop.store.distribution.remember_packed(layer.diff_id, Descriptor(MEDIA_DOCKER_LAYER_GZIP, blob_digest, size))
    shop.store.distribution.remember_manifest(image, MEDIA_DOCKER_MANIFEST, document)
    return document


def test_an_image_keeps_its_manifest_where_the_registry_has_the_blobs(shop):
    image = shop.image("mine/app:v1", b"one")
    theirs = b"packed by somebody else"
    digest = Digest.of(theirs)
    document = came_with(shop, image, digest, len(theirs))
    there = repositories(shop.registry.address, "upstream/app", access="pull,push")[-1]
    there.upload(Descriptor(MEDIA_LAYER_GZIP, digest, len(theirs)), io.BytesIO(theirs))
    shop.store.distribution.remember_places([digest], shop.registry.address, "upstream/app")
    row = shop.push("mine/app:v1")
    assert (row.digest, row.media_type, row.size) == (Digest.of(document), MEDIA_DOCKER_MANIFEST, len(document))
    assert pushed_manifest(shop, "mine/app:v1")[1] == document
    assert shop.phases() == ["preparing", "mounted"]


def test_a_layer_that_is_in_it_twice_packed_in_two_ways(shop):
    image = shop.image("mine/app:v1", b"one", b"one")
    forms = [Descriptor(MEDIA_LAYER_GZIP, Digest.of(data), len(data)) for data in (b"first", b"second")]
    there = repositories(shop.registry.address, "upstream/app", access="pull,push")[-1]
    for form, data in zip(forms, (b"first", b"second"), strict=True):
        there.upload(form, io.BytesIO(data))
        shop.store.distribution.remember_places([form.digest], shop.registry.address, "upstream/app")
    config = Descriptor("application/vnd.oci.image.config.v1+json", image, len(shop.store.config_bytes(image)))
    manifest = Manifest(schema_version=2, media_type=MEDIA_MANIFEST, config=config, layers=tuple(forms))
    document = to_json(manifest)
    shop.store.distribution.remember_manifest(image, MEDIA_MANIFEST, document)
    assert shop.push("mine/app:v1").digest == Digest.of(document)
    assert pushed_manifest(shop, "mine/app:v1")[1] == document
    assert shop.phases() == ["preparing", "mounted", "mounted"]


def test_else_it_gets_one_of_ours(shop):
    image = shop.image("mine/app:v1", b"one")
    document = came_with(shop, image, Digest.of(b"nobody has it"), 13)
    row = shop.push("mine/app:v1")
    assert row.digest != Digest.of(document)
    assert shop.phases()[-1] == "pushed"
    assert [one.digest for one in shop.store.distribution.manifests_of(image)] == [row.digest, Digest.of(document)]


def test_what_was_packed_here_is_made_again_byte_for_byte(shop):
    image = shop.image("app:v1", b"one")
    first = shop.push("app:v1")
    (layer,) = shop.store.layers_of(image)
    (form,) = shop.store.distribution.packed_forms(layer.diff_id)
    document = came_with(shop, image, form.digest, form.size)  # the same blob under another manifest
    shop.store.distribution.forget_place(form.digest, shop.registry.address, "app")
    shop.store.tag(image, shop.name("second:v1"))
    row = shop.push("second:v1")
    assert (row.digest, first.digest == row.digest) == (Digest.of(document), False)
    assert shop.phases()[-1] == "pushed"


def test_attestations_and_annotations_go_along(shop):
    image = shop.image("app:v1", b"one")
    statement = Statement(predicate_type="https://example.org/p", predicate=b"{}", name="p.json")
    note = Annotation(key="a", value="b")
    shop.store.set_extras(image, Extras(statements=(statement,), annotations=(note,)))
    row = shop.push("app:v1")
    media, _, index = pushed_manifest(shop, "app:v1")
    assert media == row.media_type == MEDIA_INDEX
    assert [one["platform"]["architecture"] for one in index["manifests"]] == ["amd64", "unknown"]
    for one in index["manifests"]:
        ref = shop.name("app:v1")
        assert repositories(ref.registry, ref.repository)[-1].head(one["digest"]) is not None
    shop.push("app:v2", image, bare=True)
    media, data, manifest = pushed_manifest(shop, "app:v2")
    assert (media, manifest["annotations"]) == (MEDIA_MANIFEST, {"a": "b"})
    assert Digest.of(data) == index["manifests"][0]["digest"]


def test_nothing_is_named_before_all_of_it_is_there(shop, registry):
    shop.image("app:v1", b"one", b"two")

    def refuse(request):
        return Canned(403, body=b'{"errors":[{"code":"DENIED"}]}') if request.method in ("PUT", "PATCH") else None

    registry.answer = refuse
    with pytest.raises(RegistryDenied) as caught:
        shop.push("app:v1")
    assert caught.value.hint
    assert not any("/manifests/" in path for path in shop.asked("PUT"))
    assert os.listdir(f"{shop.store.root}/tmp") == []


def test_an_interrupt_stops_it_and_the_next_push_goes_on(shop):
    shop.image("app:v1", b"one", os.urandom(3 << 20))
    seen = []

    def interrupted(event):
        seen.append(event)
        if event.phase == "pushed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.push("app:v1", report=interrupted)
    assert os.listdir(f"{shop.store.root}/tmp") == []
    row = shop.push("app:v1")
    assert "present" in shop.phases()
    assert Digest.of(pushed_manifest(shop, "app:v1")[1]) == row.digest


def test_a_layer_that_was_changed_on_disk_is_not_sent(shop):
    image = shop.image("app:v1", b"one")
    (layer,) = shop.store.layers_of(image)
    with open(f"{layer.diff}/file", "wb") as sink:
        sink.write(b"two")
    with pytest.raises(DigestMismatch):
        shop.push("app:v1")
    assert shop.asked("PATCH") == []
    assert not any("/manifests/" in path for path in shop.asked("PUT"))


def test_an_image_without_layers(shop):
    shop.image("empty:v1")
    row = shop.push("empty:v1")
    assert pushed_manifest(shop, "empty:v1")[2]["layers"] == []
    assert row.digest


def test_an_image_that_is_not_here(shop):
    with pytest.raises(ImageNotFound):
        shop.push("app:v1", Digest.of(b"no"))


def test_the_same_layer_twice_is_sent_once(shop):
    shop.image("app:v1", b"one", b"one")
    shop.push("app:v1")
    assert shop.phases().count("pushed") == 1
    assert len(pushed_manifest(shop, "app:v1")[2]["layers"]) == 2


def test_a_retry_is_told_of(shop, registry):
    shop.image("app:v1", b"one")
    failures = [503]

    def once(request):
        return Canned(failures.pop(), headers={"Retry-After": "0"}) if request.method == "POST" and failures else None

    registry.answer = once
    shop.push("app:v1")
    assert "retrying" in shop.phases()
    assert shop.phases()[-1] == "pushed"
