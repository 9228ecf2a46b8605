"""Indexes put together as buildx does."""

import json

import pytest

from contextkernel.errors import ImageNotFound, InvalidInput
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.digest import Digest
from contextkernel.model.indexes import ImageSource, choose, combine, platform_of, select
from contextkernel.model.oci import (
    MEDIA_DOCKER_LIST,
    MEDIA_DOCKER_MANIFEST,
    MEDIA_INDEX,
    MEDIA_MANIFEST,
    REFERENCE_DIGEST,
    REFERENCE_TYPE,
    Descriptor,
    Index,
    PlatformField,
)
from contextkernel.model.outputs import parse_annotation
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef

AMD = PlatformField("amd64", "linux")
ARM = PlatformField("arm64", "linux")
REF = ImageRef.parse("127.0.0.1:5000/m/app:amd64")


def descriptor(text, platform=None, media=MEDIA_MANIFEST, **more):
    return Descriptor(media, Digest.of(text.encode()), len(text), platform=platform, **more)


def image(text, platform, media=MEDIA_MANIFEST, ref=REF, **more):
    return ImageSource(ref, descriptor(text, platform, media, **more), text.encode())


def index(*entries, ref=REF):
    document = to_json(Index(schema_version=2, media_type=MEDIA_INDEX, manifests=entries))
    return ImageSource(ref, Descriptor(MEDIA_INDEX, Digest.of(document), len(document)), document)


def test_the_bytes_are_buildx_own():
    amd = Descriptor(
        MEDIA_DOCKER_MANIFEST,
        Digest("sha256:21248dc489fae7bc26512ae82f03bb4fce17627ab194e9e91d712ffc6e397e0b"),
        497,
        platform=AMD,
    )
    arm = Descriptor(
        MEDIA_MANIFEST,
        Digest("sha256:a75129bace7fff53e51db40830647f78c1148c6173015b337d404c84ee73009d"),
        475,
        platform=ARM,
    )
    made = combine([ImageSource(REF, amd, b""), ImageSource(REF, arm, b"")])
    # recorded from buildx 0.29.1: imagetools create app:amd64 other:arm64
    assert made.descriptor.digest == "sha256:edb18924d4be7f64c4e9578143c0182186c71d6083f3366483d60e18d88afdeb"
    assert made.descriptor.media_type == MEDIA_INDEX
    assert [(one.descriptor, one.source) for one in made.manifests] == [(amd, REF), (arm, REF)]


def test_only_docker_s_manifests_give_docker_s_list():
    made = combine([image("a", AMD, MEDIA_DOCKER_MANIFEST), image("b", ARM, MEDIA_DOCKER_MANIFEST)])
    assert made.descriptor.media_type == MEDIA_DOCKER_LIST
    assert from_json(made.document, Index).media_type == MEDIA_DOCKER_LIST


def test_a_single_image_becomes_an_index_or_stays_itself():
    one = image("a", AMD)
    assert len(from_json(combine([one]).document, Index).manifests) == 1
    same = combine([one], prefer_index=False)
    assert (same.document, same.descriptor) == (b"a", one.descriptor)
    whole = index(descriptor("a", AMD), descriptor("b", ARM))
    assert combine([whole], prefer_index=False).document == whole.document
    assert [each.descriptor.platform for each in combine([whole]).manifests] == [AMD, ARM]


def test_an_index_among_the_sources_gives_its_entries_and_a_later_word_counts():
    other = ImageRef.parse("127.0.0.1:5000/n/app")
    again = image("b", PlatformField("arm64", "linux", variant="v9"), annotations={"k": "2"}, ref=other)
    made = combine([index(descriptor("a", AMD), descriptor("b", ARM, annotations={"k": "1", "l": "1"})), again])
    first, second = from_json(made.document, Index).manifests
    assert first.platform == AMD
    assert second.platform is not None
    assert second.platform.variant == "v9"
    assert second.annotations == {"k": "2", "l": "1"}
    assert made.manifests[1].source == other


def test_annotations():
    words = ("index:a=b", "manifest-descriptor:c=d", "manifest-descriptor[linux/arm64]:e=f")
    asked = [note for word in words for note in parse_annotation(word)]
    document = json.loads(combine([image("a", AMD), image("b", ARM)], asked).document)
    assert document["annotations"] == {"a": "b"}
    assert [one["annotations"] for one in document["manifests"]] == [{"c": "d"}, {"c": "d", "e": "f"}]
    docker = combine([image("a", AMD, MEDIA_DOCKER_MANIFEST)], asked)
    assert "annotations" not in json.loads(docker.document)
    assert "left out" in docker.notes[0]
    with pytest.raises(InvalidInput, match="of the manifest cannot be set here: x"):
        combine([image("a", AMD)], parse_annotation("x=y"))
    with pytest.raises(InvalidInput, match="no sources"):
        combine([])


def attested():
    about = {REFERENCE_TYPE: "attestation-manifest", REFERENCE_DIGEST: str(descriptor("b").digest)}
    return index(
        descriptor("a", AMD),
        descriptor("b", ARM),
        descriptor("p", PlatformField("unknown", "unknown"), annotations=about),
    )


def test_an_image_keeps_its_attestation_when_platforms_are_chosen():
    made = select(combine([attested()]), [Platform.parse("arm64")])
    assert [one.descriptor.digest for one in made.manifests] == [descriptor("b").digest, descriptor("p").digest]
    assert len(from_json(made.document, Index).manifests) == 2
    assert [one.descriptor.digest for one in select(combine([attested()]), [Platform.parse("amd64")]).manifests] == [
        descriptor("a").digest
    ]
    everything = combine([attested()])
    assert select(everything, []) is everything
    assert select(everything, [Platform.parse("amd64"), Platform.parse("arm64")]).document == everything.document


def test_platforms_that_are_not_there():
    with pytest.raises(InvalidInput, match="none of the manifests match") as caught:
        select(combine([attested()]), [Platform.parse("s390x")])
    assert "linux/amd64, linux/arm64" in (caught.value.hint or "")
    with pytest.raises(InvalidInput, match="the image is for linux/amd64, not for linux/s390x"):
        select(combine([image("a", AMD)], prefer_index=False), [Platform.parse("s390x")])


def test_choose():
    entries = from_json(attested().document, Index)
    assert choose(entries, Platform.parse("linux/arm64/v8")).digest == descriptor("b").digest
    v9 = Index(schema_version=2, manifests=(descriptor("z", PlatformField("arm", "linux", variant="v7")),))
    assert choose(v9, Platform.parse("arm64")).digest == descriptor("z").digest
    with pytest.raises(ImageNotFound, match="no image for linux/arm/v5"):
        choose(v9, Platform.parse("linux/arm/v5"))
    with pytest.raises(ImageNotFound, match="no image for linux/s390x") as caught:
        choose(entries, Platform.parse("s390x"))
    assert caught.value.hint == "the registry offers linux/amd64, linux/arm64"
    assert platform_of(descriptor("p", PlatformField("unknown", "unknown"))) is None
