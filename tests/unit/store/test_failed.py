"""Failed steps that are kept: how many, with what, and until when."""

from __future__ import annotations

import os

import pytest

from contextkernel.errors import NotFound, StoreProblem
from contextkernel.model.digest import Digest
from contextkernel.model.failed import FailedStep
from contextkernel.store import Store
from contextkernel.store.failed import KEPT
from contextkernel.testing.stores import InProcessLayerWorker


def step(name: str, *layers: Digest, scope: str = "") -> FailedStep:
    return FailedStep(
        id=name,
        scope=scope or name,
        title="RUN false",
        argv=("/bin/sh", "-c", "false"),
        line=2,
        status=1,
        env=("A=1",),
        user="",
        cwd="/",
        hostname="",
        network="host",
        layers=layers,
    )


def layer(store: Store, worker: InProcessLayerWorker, text: str) -> Digest:
    directory = store.new_layer_dir()
    with open(f"{directory}/diff/{text}", "w", encoding="ascii") as stream:
        stream.write(text)
    return store.add_layer(directory, worker.commit(directory)).diff_id


def test_a_kept_step_keeps_its_layers_and_its_changes(store: Store, worker: InProcessLayerWorker, root: str) -> None:
    below = layer(store, worker, "below")
    directory = store.new_layer_dir()
    store.keep_failed(step("aa11", below), directory)
    store.close()
    with Store.open(root) as later:
        found, where = later.failed_step()
        assert (found.id, found.layers, where) == ("aa11", (below,), directory)
        assert later.failed_step("aa")[0] == found
        assert later.trash() == ()
        assert later.has_layer(below)
        assert later.check() == ()
        assert later.forget_failed() == 1
        assert set(later.trash()) == {directory, later_directory(root, directory)}
        assert not later.has_layer(below)


def later_directory(root: str, directory: str) -> str:
    """The other layer directory there is."""
    (name,) = set(os.listdir(f"{root}/layers")) - {os.path.basename(directory)}
    return f"{root}/layers/{name}"


def test_one_is_kept_for_each_scope_and_few_in_all(store: Store) -> None:
    for number in range(KEPT + 2):
        store.keep_failed(step(f"{number}"), store.new_layer_dir())
    assert [one.id for one in store.failed_steps()] == ["4", "3", "2"]
    store.keep_failed(step("new", scope="3"), store.new_layer_dir())
    assert [one.id for one in store.failed_steps()] == ["new", "4", "2"]
    assert store.forget_failed("4") == 1
    assert store.forget_failed("4") == 0
    assert [one.id for one in store.failed_steps()] == ["new", "2"]
    assert len(store.trash()) == 4


def test_none_and_others_are_told(store: Store) -> None:
    with pytest.raises(NotFound, match="no failed build is kept"):
        store.failed_step()
    store.keep_failed(step("aa11"), store.new_layer_dir())
    with pytest.raises(NotFound, match="'bb'") as caught:
        store.failed_step("bb")
    assert caught.value.hint == "kept: aa11"


def test_a_step_without_its_layers_is_refused(store: Store) -> None:
    with pytest.raises(StoreProblem, match="below the failed step"):
        store.keep_failed(step("aa11", Digest.of(b"gone")), store.new_layer_dir())
    assert store.failed_steps() == ()
