"""What the store knows of its images elsewhere."""

from __future__ import annotations

import pytest

from contextkernel.errors import NotFound
from contextkernel.model.codec import to_json
from contextkernel.model.digest import Digest
from contextkernel.model.layers import LayerFacts
from contextkernel.model.oci import MEDIA_LAYER_GZIP, MEDIA_LAYER_ZSTD, MEDIA_MANIFEST, Descriptor, ImageConfig, RootFS
from contextkernel.model.reference import ImageRef
from contextkernel.store.distribution import KnownManifest, Place

ONE, TWO = (Descriptor(MEDIA_LAYER_GZIP, Digest.of(b"gzip"), 4), Descriptor(MEDIA_LAYER_ZSTD, Digest.of(b"zstd"), 5))
AWAY = Digest.of(b"not here")


@pytest.fixture
def layer(store):
    directory = store.new_layer_dir()
    open(f"{directory}/index", "wb").close()
    return store.add_layer(directory, LayerFacts(diff_id=Digest.of(b"layer"), size=1, entries=1)).diff_id


@pytest.fixture
def image(store, layer):
    config = to_json(ImageConfig(architecture="amd64", os="linux", rootfs=RootFS("layers", (layer,))))
    return store.add_image(config, origin="build", names=[ImageRef.parse("greet")])


@pytest.fixture
def known(store):
    return store.distribution


def test_packed_forms_are_given_newest_first(known, layer):
    known.remember_packed(layer, ONE, recipe="ours")
    known.remember_packed(layer, TWO)
    assert known.packed_forms(layer) == (TWO, ONE)
    assert known.packed_forms(layer, recipe="ours") == (ONE,)
    assert known.packed_forms(layer, recipe="another") == ()
    known.remember_packed(layer, ONE)
    assert known.packed_forms(layer) == (ONE, TWO)
    assert known.packed_forms(layer, recipe="ours") == (ONE,)  # who only saw it does not know how it was made


def test_nothing_is_noted_of_a_layer_or_an_image_that_is_not_here(known):
    known.remember_packed(AWAY, ONE)
    assert known.packed_forms(AWAY) == ()
    assert known.remember_manifest(AWAY, MEDIA_MANIFEST, b"{}") == Digest.of(b"{}")
    assert known.manifests_of(AWAY) == ()


def test_places(known):
    known.remember_places([ONE.digest], "one.example", "a/b")
    known.remember_places([ONE.digest, TWO.digest], "two.example", "c")
    assert known.places(ONE.digest) == (Place("two.example", "c"), Place("one.example", "a/b"))
    assert known.places(ONE.digest, "one.example") == (Place("one.example", "a/b"),)
    assert known.places(TWO.digest) == (Place("two.example", "c"),)
    known.forget_place(ONE.digest, "two.example", "c")
    known.forget_place(ONE.digest, "two.example", "c")
    assert known.places(ONE.digest) == (Place("one.example", "a/b"),)


def test_of_very_many_places_the_longest_unseen_go(known):
    for number in range(60):
        known.remember_places([ONE.digest], "one.example", f"r{number}")
    known.remember_places([TWO.digest], "one.example", "r0")
    assert [place.repository for place in known.places(ONE.digest)] == [f"r{n}" for n in range(59, 9, -1)]
    assert known.places(TWO.digest) == (Place("one.example", "r0"),)


def test_manifests_are_kept_byte_for_byte(known, image):
    first, second = b'{"a": 1}', b'{ "a" : 1 }\n'
    digest = known.remember_manifest(image, MEDIA_MANIFEST, first)
    known.remember_manifest(image, MEDIA_MANIFEST, second)
    assert known.manifests_of(image)[1] == KnownManifest(digest=digest, media_type=MEDIA_MANIFEST, document=first)
    known.remember_manifest(image, MEDIA_MANIFEST, first)
    assert [one.document for one in known.manifests_of(image)] == [first, second]


def test_records_go_with_the_image_and_its_layer(store, known, image, layer):
    known.remember_packed(layer, ONE)
    known.remember_places([ONE.digest], "one.example", "a")
    known.remember_places([AWAY], "one.example", "a")
    known.remember_manifest(image, MEDIA_MANIFEST, b"{}")
    store.remove_image("greet")
    assert not store.has_layer(layer)
    assert (known.packed_forms(layer), known.places(ONE.digest), known.manifests_of(image)) == ((), (), ())
    assert known.places(AWAY) == (Place("one.example", "a"),)


@pytest.mark.usefixtures("image")
def test_a_place_stays_while_another_layer_has_that_form(store, known, layer):
    directory = store.new_layer_dir()
    open(f"{directory}/index", "wb").close()
    other = store.add_layer(directory, LayerFacts(diff_id=Digest.of(b"other"), size=1, entries=1)).diff_id
    for one in (layer, other):
        known.remember_packed(one, ONE)
    known.remember_places([ONE.digest], "one.example", "a")
    store.remove_image("greet")
    assert known.places(ONE.digest) == (Place("one.example", "a"),)


def test_lists_in_the_making(known):
    name = ImageRef.parse("localhost:5000/greet:1")
    with pytest.raises(NotFound, match="no such manifest: localhost:5000/greet:1"):
        known.saved_list(name)
    known.save_list(name, b"one")
    known.save_list(ImageRef.parse("a"), b"two")
    known.save_list(name, b"three")
    assert known.saved_list(name) == b"three"
    assert known.lists() == (ImageRef.parse("a"), name)
    assert known.remove_list(name)
    assert not known.remove_list(name)
    assert known.lists() == (ImageRef.parse("a"),)
