"""Docker's manifest lists, byte for byte."""

import json

import pytest

from contextkernel.errors import ImageNotFound, InvalidInput
from contextkernel.model.digest import Digest
from contextkernel.model.manifest_lists import (
    ListedManifest,
    ManifestList,
    PlatformChanges,
    checked,
    encode_list,
    pushable,
    verbose,
)
from contextkernel.model.oci import (
    MEDIA_DOCKER_LIST,
    MEDIA_DOCKER_MANIFEST,
    MEDIA_INDEX,
    MEDIA_MANIFEST,
    Descriptor,
    PlatformField,
)
from contextkernel.model.reference import ImageRef

LIST = ImageRef.parse("127.0.0.1:5871/m/app:list")
AMD = Digest("sha256:21248dc489fae7bc26512ae82f03bb4fce17627ab194e9e91d712ffc6e397e0b")
ARM = Digest("sha256:cc4953c1e2bd4f8b9725b25c9c85ef1338479e51ac46c5830fb57109281a687c")
OCI = Digest("sha256:a75129bace7fff53e51db40830647f78c1148c6173015b337d404c84ee73009d")


def recorded():
    """The list that docker 28.5 was told to make."""
    made = ManifestList()
    for name, descriptor in (
        ("other:arm64", Descriptor(MEDIA_MANIFEST, OCI, 475, platform=PlatformField("arm64", "linux"))),
        ("app:arm64", Descriptor(MEDIA_DOCKER_MANIFEST, ARM, 497, platform=PlatformField("arm64", "linux"))),
        ("app:amd64", Descriptor(MEDIA_DOCKER_MANIFEST, AMD, 497, platform=PlatformField("amd64", "linux"))),
    ):
        made = made.with_manifest(ListedManifest(f"127.0.0.1:5871/m/{name}", descriptor, b"{}"))
    return made


def annotate(made, image="app:arm64", **changes):
    name = f"127.0.0.1:5871/m/{image}"
    return made.annotated(name, ImageRef.parse(name), PlatformChanges(**changes), "app:list")


def test_the_digest_is_docker_s():
    changes = {"os": "linux", "architecture": "arm64", "variant": "v8", "os_features": ("a", "b", "b")}
    made = annotate(recorded(), os_version="1.2", **changes)
    media, document = pushable(LIST, made)
    assert media == MEDIA_DOCKER_LIST
    assert Digest.of(document) == "sha256:b7eb230c98e8067456570167129112dca53dcf87bea8f403c027fa2f24fb592e"
    assert ManifestList.read(made.saved()) == made


def test_features_are_added_and_what_is_empty_stays():
    made = annotate(annotate(recorded(), os_features=("a",), variant="v8"), os_features=("b", "a"))
    platform = made.manifests[1].descriptor.platform
    assert platform == PlatformField("arm64", "linux", os_features=("a", "b"), variant="v8")


def test_what_annotate_refuses():
    with pytest.raises(InvalidInput, match="unsupported os/arch combination: linux/amd46") as caught:
        annotate(recorded(), architecture="amd46")
    assert caught.value.hint == "did you mean linux/amd64?"
    with pytest.raises(ImageNotFound, match="does not exist in app:list") as missing:
        annotate(recorded(), image="app:nope", os="linux")
    assert "app:amd64" in (missing.value.hint or "")


def test_the_first_image_decides_the_kind():
    assert encode_list([Descriptor(MEDIA_MANIFEST, OCI, 475)])[0] == MEDIA_INDEX
    assert encode_list([])[0] == MEDIA_DOCKER_LIST
    entry = json.loads(encode_list([Descriptor(MEDIA_MANIFEST, OCI, 475, annotations={"a": "b"}, urls=("u",))])[1])[
        "manifests"
    ]
    assert entry == [
        {
            "mediaType": MEDIA_MANIFEST,
            "size": 475,
            "digest": str(OCI),
            "urls": ["u"],
            "platform": {"architecture": "", "os": ""},
        }
    ]


def test_what_cannot_be_pushed():
    with pytest.raises(InvalidInput, match=r"different registry.*127\.0\.0\.1:5871 != docker\.io") as caught:
        checked(ImageRef.parse("demo"), recorded().manifests)
    assert "imagetools create" in (caught.value.hint or "")
    bare = recorded().with_manifest(ListedManifest("127.0.0.1:5871/m/x:1", Descriptor(MEDIA_MANIFEST, OCI, 1), b""))
    with pytest.raises(InvalidInput, match="m/x:1 must have an OS and Architecture"):
        pushable(LIST, bare)


def test_verbose_has_docker_s_fields():
    one = verbose("a:b", Descriptor(MEDIA_MANIFEST, OCI, 2, platform=PlatformField("arm64", "linux")), b"{}")
    assert list(one) == ["Ref", "Descriptor", "Raw", "OCIManifest"]
    assert one["Raw"] == "e30="
    assert list(verbose("a:b", Descriptor(MEDIA_DOCKER_MANIFEST, OCI, 2), b"{}"))[-1] == "SchemaV2Manifest"
