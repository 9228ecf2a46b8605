"""What a registry sends is not what it promised: refused with the value and a hint, and nothing of it stays."""

from __future__ import annotations

import gzip
import json

import pytest
import zstandard
from judge import faulty
from judge.faulty import REPOSITORY, Image, Page

from contextkernel.errors import (
    ContextKernelError,
    DigestMismatch,
    ImageNotFound,
    InvalidArchive,
    RegistryProblem,
    RegistryRefused,
    SizeMismatch,
    StoreFull,
    StoreProblem,
)
from contextkernel.model.digest import Digest


def blob(image, number=1):
    return f"/blobs/{faulty.digest_of(image.layers[number])}"


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: zstandard.compress(data, 1), lambda data: data])
def test_an_honest_registry(server, store, pull, name, pack):
    """The other tests would pass if nothing could be pulled at all."""
    made = Image.of({"one": b"1"}, {"two": b"2"}, pack=pack)
    made.media_type = {b"\x1f\x8b": faulty.LAYER_GZIP, b"\x28\xb5": faulty.LAYER_ZSTD}.get(
        made.layers[0][:2], "application/vnd.oci.image.layer.v1.tar"
    )
    made.publish(server, REPOSITORY, "v1")
    assert pull(name) == Digest.of(made.config)
    assert [str(layer.diff_id) for layer in store.layers_of(store.resolve(name))] == made.diff_ids
    assert store.check() == ()


def test_a_layer_with_another_byte(server, image, name, pull, nothing_left):
    server.fail(blob(image), flip=100)
    with pytest.raises((DigestMismatch, InvalidArchive)) as told:
        pull(name)
    assert Digest(faulty.digest_of(image.layers[1])).short.removeprefix("sha256:") in str(told.value)
    nothing_left()


def test_a_layer_that_is_longer_than_promised(server, image, name, pull, nothing_left):
    server.fail(blob(image), body=image.layers[1] + b"more")
    with pytest.raises((SizeMismatch, DigestMismatch)):
        pull(name)
    nothing_left()


def test_a_layer_that_is_shorter_than_promised(server, image, name, pull, nothing_left):
    """The server means it: the length it names is that of the short one, each time."""
    server.fail(blob(image), short=50)
    with pytest.raises((SizeMismatch, DigestMismatch, RegistryProblem)):
        pull(name)
    nothing_left()


def test_a_layer_without_end(server, image, name, pull, nothing_left):
    server.fail(blob(image), endless=True)
    with pytest.raises((SizeMismatch, DigestMismatch, RegistryProblem)):
        pull(name)
    assert server.sent < 50 << 20, "it was not stopped when there was too much"
    nothing_left()


@pytest.mark.parametrize("what", ["manifests/v1", "config"])
def test_a_document_without_end(server, image, name, pull, nothing_left, what):
    path = what if what != "config" else f"/blobs/{faulty.digest_of(image.config)}"
    server.fail(path, endless=True, body=b"{" * 60000)
    with pytest.raises((SizeMismatch, RegistryProblem, DigestMismatch)):
        pull(name)
    assert server.sent < 50 << 20
    nothing_left()


def test_a_manifest_that_promises_a_huge_configuration(server, image, name, pull, nothing_left):
    """A configuration is read into memory: its size is bounded before the first byte is."""
    document = image.document()
    document["config"]["size"] = 1 << 40
    faulty.publish(server, REPOSITORY, document, "v1")
    server.fail(f"/blobs/{faulty.digest_of(image.config)}", endless=True)
    with pytest.raises(ContextKernelError, match=r"(?i)larger|bytes"):
        pull(name)
    assert server.sent < 100 << 20
    nothing_left()


def test_another_configuration_than_promised(server, image, name, pull, nothing_left):
    changed = image.config.replace(b"amd64", b"arm64")
    server.fail(f"/blobs/{faulty.digest_of(image.config)}", body=changed)
    with pytest.raises((DigestMismatch, RegistryProblem)):
        pull(name)
    nothing_left()


def test_a_configuration_that_is_none(server, image, name, pull, nothing_left):
    document = image.document()
    for data in (b"[]", b"\xff\xfe", b'{"rootfs": 5}', b"{" * 2000):
        document["config"] = faulty.described(faulty.CONFIG, data)
        faulty.publish(server, REPOSITORY, document, "v1")
        server.pages[f"/v2/{REPOSITORY}/blobs/{faulty.digest_of(data)}"] = Page(200, {}, data)
        with pytest.raises(ContextKernelError):
            pull(name)
        nothing_left()


def test_diff_ids_that_are_not_the_layers(server, image, name, pull, nothing_left):
    image.diff_ids[1] = "sha256:" + "0" * 64
    image.publish(server, REPOSITORY, "v1")
    with pytest.raises(DigestMismatch, match="0000"):
        pull(name)
    nothing_left()


def test_fewer_layers_than_diff_ids(server, image, name, pull, nothing_left):
    document = image.document()
    document["layers"].pop()
    faulty.publish(server, REPOSITORY, document, "v1")
    with pytest.raises(RegistryRefused, match="1 layers"):
        pull(name)
    nothing_left()


def test_a_manifest_under_a_digest_that_is_not_its_own(server, image, pull, nothing_left):
    digest = faulty.publish(server, REPOSITORY, image.document())
    server.fail(f"manifests/{digest}", body=json.dumps(image.document(), indent=1).encode())
    with pytest.raises(DigestMismatch, match=digest):
        pull(f"{server.address}/{REPOSITORY}@{digest}")
    nothing_left()


def test_an_index_entry_that_is_another_manifest(server, image, name, pull, nothing_left):
    digest = faulty.digest_of(json.dumps(image.document()).encode())
    entry = faulty.described(faulty.MANIFEST, json.dumps(image.document()).encode())
    entry["platform"] = {"os": "linux", "architecture": "amd64"}
    faulty.publish(server, REPOSITORY, {"schemaVersion": 2, "mediaType": faulty.INDEX, "manifests": [entry]}, "v1")
    server.fail(f"manifests/{digest}", body=b"{}")
    with pytest.raises(DigestMismatch):
        pull(name)
    nothing_left()


def test_an_index_that_leads_to_itself(server, name, pull, nothing_left):
    """As deep as it likes: an index whose entry is called a manifest and is an index again."""
    inner = faulty.publish(server, REPOSITORY, {"schemaVersion": 2, "mediaType": faulty.INDEX, "manifests": []})
    for _ in range(12):
        entry = {
            "mediaType": faulty.INDEX,
            "digest": inner,
            "size": 1,
            "platform": {"os": "linux", "architecture": "amd64"},
        }
        document = {"schemaVersion": 2, "mediaType": faulty.INDEX, "manifests": [entry]}
        entry["size"] = len(server.pages[f"/v2/{REPOSITORY}/manifests/{inner}"].body)
        inner = faulty.publish(server, REPOSITORY, document, "v1")
    with pytest.raises((RegistryRefused, ImageNotFound)):
        pull(name)
    assert len(server.asked("/manifests/")) < 12
    nothing_left()


@pytest.mark.parametrize(
    ("media_type", "document", "said"),
    [
        (
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            {"schemaVersion": 1, "name": "x", "fsLayers": []},
            "schema",
        ),
        ("text/html", "<html>", "text/html"),
        ("application/vnd.example.thing+json", {"schemaVersion": 2}, "vnd.example.thing"),
    ],
)
def test_manifests_of_unknown_types_are_named(server, name, pull, nothing_left, media_type, document, said):
    body = document.encode() if isinstance(document, str) else json.dumps(document).encode()
    server.pages[f"/v2/{REPOSITORY}/manifests/v1"] = Page(200, {"Content-Type": media_type}, body)
    with pytest.raises(RegistryRefused, match=said):
        pull(name)
    nothing_left()


def test_an_artifact_that_is_no_image_is_named(server, name, pull, nothing_left):
    """A Helm chart has an image's manifest, and nothing of an image."""
    chart = b"{}"
    kind = "application/vnd.cncf.helm.config.v1+json"
    document = {
        "schemaVersion": 2,
        "mediaType": faulty.MANIFEST,
        "config": faulty.described(kind, chart),
        "layers": [faulty.described("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"x")],
    }
    faulty.publish(server, REPOSITORY, document, "v1")
    server.pages[f"/v2/{REPOSITORY}/blobs/{faulty.digest_of(chart)}"] = Page(200, {}, chart)
    with pytest.raises(RegistryRefused, match=r"(?i)helm|artifact"):
        pull(name)
    nothing_left()


def test_an_index_without_this_platform_lists_those_it_has(server, name, pull, nothing_left):
    entries = [
        {
            "mediaType": faulty.MANIFEST,
            "digest": "sha256:" + "1" * 64,
            "size": 2,
            "platform": {"os": "linux", "architecture": architecture},
        }
        for architecture in ("s390x", "riscv64")
    ]
    faulty.publish(server, REPOSITORY, {"schemaVersion": 2, "mediaType": faulty.INDEX, "manifests": entries}, "v1")
    with pytest.raises(ImageNotFound) as told:
        pull(name)
    assert "linux/amd64" in told.value.problem
    assert "linux/s390x" in f"{told.value.hint}"
    assert "linux/riscv64" in f"{told.value.hint}"
    nothing_left()


def test_descriptors_that_are_none(server, image, name, pull, nothing_left):
    for change in (
        {"digest": "sha256:../../etc/passwd"},
        {"digest": "md5:" + "0" * 32},
        {"size": -1},
        {"size": "many"},
        {"size": 1 << 70},
        {"digest": None},
    ):
        document = image.document()
        document["layers"][0] |= change
        faulty.publish(server, REPOSITORY, document, "v1")
        with pytest.raises(ContextKernelError):
            pull(name)
        nothing_left()


def test_a_layer_that_leads_outside(server, name, pull, nothing_left, tmp_path):
    bad = Image.of({"../../../escaped": b"out"})
    bad.publish(server, REPOSITORY, "v1")
    with pytest.raises((InvalidArchive, StoreProblem)):
        pull(name)
    assert not (tmp_path / "escaped").exists()
    nothing_left()


def test_an_image_that_stays_keeps_its_layers_when_another_fails(server, store, image, name, pull):
    """The layers that both have are the first one's: the failure of the second takes none away."""
    pull(name)
    second = Image(
        [*image.layers, gzip.compress(faulty.layer_tar({"three": b"3"}))], [*image.diff_ids, "sha256:" + "0" * 64]
    )
    second.publish(server, REPOSITORY, "v2")
    with pytest.raises(DigestMismatch):
        pull(name.replace(":v1", ":v2"))
    assert [str(layer.diff_id) for layer in store.layers_of(store.resolve(name))] == image.diff_ids
    assert store.check() == ()


def test_an_index_that_is_a_manifest_too(server, image, name, pull, nothing_left):
    """One digest must not stand for two images (CVE-2021-41190)."""
    faulty.publish(server, REPOSITORY, {**image.document(), "manifests": []}, "v1")
    with pytest.raises(RegistryRefused, match="at once"):
        pull(name)
    nothing_left()


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"config":' * 50_000, b"\xff" * 100, b"null", b"1e999", b""],
    ids=["deep", "deep objects", "no text", "null", "number", "empty"],
)
def test_documents_that_are_hard_to_read(server, name, pull, nothing_left, body):
    server.pages[f"/v2/{REPOSITORY}/manifests/v1"] = Page(200, {"Content-Type": faulty.MANIFEST}, body)
    with pytest.raises(RegistryRefused, match="invalid manifest"):
        pull(name)
    nothing_left()


@pytest.mark.parametrize("media_type", ["", "application/json", "application/octet-stream"])
def test_a_registry_that_does_not_say_what_it_sends(server, store, name, pull, media_type):
    """Static file servers do so; the document says it."""
    server.pages[f"/v2/{REPOSITORY}/manifests/v1"].headers["Content-Type"] = media_type
    pull(name)
    assert store.layers_of(store.resolve(name))


def test_what_was_damaged_on_its_way_is_not_gone_on_with(server, store, image, name, pull):
    server.fail(blob(image), flip=100, times=1)
    with pytest.raises((DigestMismatch, InvalidArchive)):
        pull(name)
    assert pull(name) == Digest.of(image.config)
    assert store.check() == ()


def test_a_layer_that_promises_more_than_the_disk_has(server, image, name, pull, nothing_left):
    """Refused before the first byte: it would be kept for as long as there is room."""
    document = image.document()
    document["layers"][1]["size"] = 1 << 50
    faulty.publish(server, REPOSITORY, document, "v1")
    server.fail(blob(image), endless=True)
    with pytest.raises(StoreFull, match="were to be fetched"):
        pull(name)
    nothing_left()


def test_attack_a_blob_that_somebody_calls_a_layer_which_is_here(server, store, image, name, pull):
    """A manifest claims another blob for a known layer. The claim is not believed: a push would spread it."""
    pull(name)
    (_, second) = store.layers_of(store.resolve(name))
    made_up = gzip.compress(faulty.layer_tar({"evil": b"1"}))
    forged = Image([image.layers[0], made_up], image.diff_ids, architecture="arm64")
    forged.publish(server, REPOSITORY, "forged")
    found = pull(name.replace(":v1", ":forged"))
    assert server.asked(faulty.digest_of(made_up)) == [], "the layer is here"
    known = {str(form.digest) for form in store.distribution.packed_forms(second.diff_id)}
    assert known == {faulty.digest_of(image.layers[1])}
    assert store.distribution.manifests_of(found) == ()
    assert len(store.distribution.manifests_of(store.resolve(name))) == 1, "an honest one is remembered"
