"""Who works on a store takes nothing away from under others: threads of one process, and other processes."""

from __future__ import annotations

import os
import shutil

import pytest

from contextkernel.model.container import ContainerSpec
from contextkernel.model.digest import Digest
from contextkernel.model.layers import LayerFacts
from contextkernel.model.reference import ImageRef
from contextkernel.store import Store
from contextkernel.testing.stores import random_image, random_layer


def killed(store: Store) -> str:
    """Let go of the session's lock, as the kernel does when a process ends; the rest stays as it is."""
    name = store._session.id
    store._session.abandon()
    return name


def test_two_holders_of_one_session_do_not_end_each_others_hold(store, worker):
    layer = random_layer(store, worker, 1)
    with store.hold([layer]):
        with store.hold([layer]):
            store.release([layer])  # somebody else of this session has failed
        assert store.has_layer(layer), "the first one still works with it"
    assert store.trash()
    assert not store.has_layer(layer)


def test_what_is_expected_stays_whatever_another_thread_of_the_session_gives_up(store, worker):
    content = b"a layer on its way"
    with store.expect(blobs=[Digest.of(content)], layers=[random_layer(store, worker, 1)]):
        layer = random_layer(store, worker, 1)
        blob = store.write_blob(content)
        store.release([blob, layer])
        store.drop_blob(blob)
        assert os.path.exists(store.blob_path(blob))
        assert store.has_layer(layer)
    assert not os.path.exists(store.blob_path(blob))
    assert not store.has_layer(layer)


def test_what_came_meanwhile_stays_if_an_image_refers_to_it(store, worker):
    layers = [random_layer(store, worker, 1)]
    with store.expect(layers):
        image = random_image(store, worker, "app", layers=0, base=layers)
    assert [layer.diff_id for layer in store.layers_of(image)] == layers
    assert store.check() == ()


def test_a_killed_holder_keeps_nothing(root, worker):
    store = Store.open(root)
    layer = random_layer(store, worker, 1)
    with store.hold([layer]):
        store.release([layer])
        assert store.has_layer(layer)
        killed(store)
    store._database.close()
    with Store.open(root) as after:
        assert not after.has_layer(layer)
        assert after.check() == ()


def test_check_finds_the_leases_of_a_killed_holder(root, worker):
    with Store.open(root) as watcher:
        store = Store.open(root)
        with store.hold([random_layer(store, worker, 1)]):
            session = killed(store)
            assert [found.what for found in watcher.check()] == [f"leases of session {session}, whose process is gone"]
            watcher.check(repair=True)
        store._database.close()
        assert watcher.check() == ()


class TestPruneImage:
    """``prune_image``: what an image is used for is looked at together with its removal."""

    def test_a_tag_that_it_got_meanwhile_keeps_it(self, store, worker):
        image = random_image(store, worker)
        store.tag(image, ImageRef.parse("meanwhile"))
        assert store.prune_image(image).removed == ()
        assert store.resolve("meanwhile") == image

    def test_a_container_that_it_got_meanwhile_keeps_it(self, store, worker):
        image = random_image(store, worker)
        store.add_container(
            ContainerSpec(id="c" * 64, name="user", image="x", image_id=image, argv=("true",), created=1)
        )
        assert store.prune_image(image, named=True).removed == ()

    def test_gone_meanwhile_is_no_error(self, store, worker):
        image = random_image(store, worker)
        assert store.prune_image(image).removed[0] == f"Deleted: {image}"
        assert store.prune_image(image).removed == ()

    def test_a_repository_digest_alone_does_not_keep_it(self, store, worker):
        image = random_image(store, worker)
        name = f"team/app@{Digest.of(b'manifest')}"
        store.add_image(store.config_bytes(image), origin="pull", names=[ImageRef.parse(name)])
        assert store.prune_image(image).removed[:2] == (f"Untagged: {name}", f"Deleted: {image}")

    def test_bytes_that_the_build_cache_keeps_are_not_freed(self, store, worker):
        from contextkernel.store.steps import StepRecord

        image = random_image(store, worker, "app")
        first, second = store.layers_of(image)
        store.add_step(Digest.of(b"key"), StepRecord(diff_id=first.diff_id, created=1))
        assert store.prune_image(image, named=True).size == second.size
        assert store.has_layer(first.diff_id)


@pytest.mark.parametrize("all_", [False, True])
def test_prune_takes_images_that_were_pulled_by_digest(tmp_path, all_):
    """They have a repository and no tag: docker prunes them with the nameless."""
    from contextkernel.engine import Engine

    with Engine(tmp_path / "store") as engine:
        store, worker = engine._store, _worker()
        named = random_image(store, worker, "app:v1")
        other = random_image(store, worker, seed=1)
        name = f"team/app@{Digest.of(b'manifest')}"
        store.add_image(store.config_bytes(other), origin="pull", names=[ImageRef.parse(name)])
        done = engine.prune_images(all=all_)
        assert f"Untagged: {name}" in done.removed
        assert ("Untagged: app:v1" in done.removed) == all_
        assert [row.id for row in engine.images()] == ([] if all_ else [named])


def _worker():
    from contextkernel.testing.stores import InProcessLayerWorker

    return InProcessLayerWorker()


def test_a_layer_that_is_in_use_does_not_give_way_to_an_equal_one(store, worker):
    diff_id = random_layer(store, worker, 1)
    here = store.layer(diff_id)
    again = store.new_layer_dir()
    facts = LayerFacts(diff_id=diff_id, size=here.size, entries=here.entries)
    shutil.copy(f"{here.directory}/index", f"{again}/index")
    assert store.add_layer(again, facts, yields=False) == here
    assert store.trash() == (), "it is still whoever's made it"
    assert store.add_layer(again, facts) == here
    assert store.trash() == (again,)


def test_a_hold_may_come_before_the_layer(store, worker):
    diff_id = random_layer(store, worker, 1)
    store.release([diff_id])
    with store.hold([diff_id], expected=True):
        assert random_layer(store, worker, 1) == diff_id
        store.release([diff_id])
        assert store.has_layer(diff_id)
    assert store.trash()
