import os

import pytest

from contextkernel.errors import StoreProblem
from contextkernel.model.digest import Digest
from contextkernel.model.layers import LayerFacts
from contextkernel.store import Store
from contextkernel.testing.stores import random_image, random_layer

FACTS = LayerFacts(diff_id=Digest.of(b"layer"), size=3, entries=0)


def test_a_new_directory_is_ready_for_overlay(store):
    old = os.umask(0o077)
    try:
        directory = store.new_layer_dir()
    finally:
        os.umask(old)
    assert os.path.dirname(directory) == f"{store.root}/layers"
    assert sorted(os.listdir(directory)) == ["diff", "work"]
    assert os.stat(f"{directory}/diff").st_mode & 0o777 == 0o755


def test_an_incomplete_directory_is_refused(store, tmp_path):
    directory = store.new_layer_dir()
    with pytest.raises(StoreProblem, match="has no index"):
        store.add_layer(directory, FACTS)
    with pytest.raises(StoreProblem, match="not a layer directory"):
        store.add_layer(str(tmp_path), FACTS)
    with pytest.raises(StoreProblem, match="not a layer directory"):
        store.add_layer(f"{directory}/../../tmp", FACTS)


def test_a_missing_blob_is_refused(store, worker):
    directory = store.new_layer_dir()
    facts = worker.commit(directory)
    with pytest.raises(StoreProblem, match="no blob"):
        store.add_layer(directory, facts, blob=Digest.of(b"blob"))
    blob = store.write_blob(b"blob")
    layer = store.add_layer(directory, facts, blob=blob, media_type="some/type")
    assert (layer.blob, layer.media_type) == (blob, "some/type")
    assert store.layer(facts.diff_id) == layer


def test_the_same_layer_twice_makes_the_second_directory_trash(store, worker):
    diff_id = random_layer(store, worker, 1)
    first = store.layer(diff_id)
    assert random_layer(store, worker, 1) == diff_id
    assert store.layer(diff_id) == first
    (second,) = store.trash()
    assert second != first.directory
    assert os.path.isdir(second)
    store.forget_trash([second])
    assert store.trash() == (second,), "it is still there"
    worker.remove([second])
    store.forget_trash([second])
    assert store.trash() == ()


def test_adding_the_same_directory_twice_is_no_trash(store, worker):
    directory = store.new_layer_dir()
    facts = worker.commit(directory)
    assert store.add_layer(directory, facts) == store.add_layer(directory, facts)
    assert store.trash() == ()
    with pytest.raises(StoreProblem, match="in use"):
        store.discard_layer_dir(directory)


def test_a_layer_that_is_not_here(store):
    assert not store.has_layer(FACTS.diff_id)
    with pytest.raises(StoreProblem, match="is not in the store"):
        store.layer(FACTS.diff_id)
    with pytest.raises(StoreProblem, match="is not in the store"), store.hold([FACTS.diff_id]):
        pass


def test_a_fresh_layer_is_leased_until_released(store, worker):
    diff_id = random_layer(store, worker, 1)
    assert store.trash() == ()
    store.release([diff_id])
    assert not store.has_layer(diff_id)
    assert len(store.trash()) == 1


def test_held_layers_survive_the_removal_of_their_image(root, worker):
    with Store.open(root) as builder, Store.open(root) as other:
        image = random_image(builder, worker, "base")
        layers = [layer.diff_id for layer in builder.layers_of(image)]
        with builder.hold(layers):
            other.remove_image("base")
            assert other.trash() == ()
            assert all(other.has_layer(layer) for layer in layers)
        assert len(other.trash()) == len(layers)


def test_closing_gives_up_what_was_begun(root, worker):
    store = Store.open(root)
    directory = store.new_layer_dir()
    blob = store.write_blob(b"unused")
    diff_id = random_layer(store, worker, 1)
    temporary = store.temporary_path()
    with open(temporary, "w") as sink:
        sink.write("x")
    assert store.check() == ()
    store.close()
    store.close()
    assert os.listdir(f"{root}/sessions") == []
    assert not os.path.exists(temporary)
    with Store.open(root) as again:
        assert not os.path.exists(again.blob_path(blob))
        assert not again.has_layer(diff_id)
        assert directory in again.trash()
        assert len(again.trash()) == 2
        assert again.check() == ()


def test_a_discarded_directory_is_trash(store):
    directory = store.new_layer_dir()
    store.discard_layer_dir(directory)
    assert store.trash() == (directory,)
