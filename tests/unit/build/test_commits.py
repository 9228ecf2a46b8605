"""Layers are hashed while the next step runs; what somebody reads does not give way to an equal layer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from contextkernel.build.commits import Committer
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Layer, LayerFacts
from contextkernel.testing.memory_store import MemoryStore

PATIENCE = 60


def facts(name: str) -> LayerFacts:
    return LayerFacts(diff_id=Digest.of(name.encode()), size=1, entries=1)


class LookedAt(MemoryStore):
    """Says when it was asked for a layer, or given one, that it has."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.looked = threading.Event()

    def has_layer(self, diff_id: Digest) -> bool:
        found = super().has_layer(diff_id)
        if found:
            self.looked.set()
        return found

    def add_layer(self, directory: str, facts: LayerFacts, *, yields: bool = True) -> Layer:
        equal = super().has_layer(facts.diff_id)
        layer = super().add_layer(directory, facts, yields=yields)
        if equal:
            self.looked.set()
        return layer


class Worker:
    """Hashes the second directory for as long as the first may be given up meanwhile."""

    def __init__(self, store: LookedAt, first: str) -> None:
        self._store, self._first = store, first
        self.gone: list[str] = []
        self.going = threading.Event()

    def commit(self, directory: str, *, lowers: Sequence[str] = ()) -> LayerFacts:
        if directory == self._first:
            return facts("first")
        self.going.set()
        assert lowers == (f"{self._first}/diff",)
        assert self._store.looked.wait(PATIENCE)
        self.gone += self._store.discarded
        return facts("second")


class Board:
    def record(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("wait", [True, False])
def test_a_directory_does_not_give_way_to_an_equal_layer_while_what_is_above_is_hashed(tmp_path: Any, wait: bool):
    store = LookedAt(str(tmp_path))
    equal, first, second = (store.new_layer_dir() for _ in range(3))
    store.add_layer(equal, facts("first"))
    worker = Worker(store, first)
    told: list[tuple[int, Digest]] = []
    committer: Any = Committer(
        store,
        worker,  # type: ignore[arg-type]
        lambda *_: None,  # type: ignore[arg-type, return-value]
        Board(),  # type: ignore[arg-type]
        lambda number, digest, _size: told.append((number, digest)),
        jobs=2,
        keep=lambda _: None,
    )
    with committer:
        stack = committer.stack(())
        committer.submit(stack, first, lambda _: Digest.of(b"a"), Digest.of(b"1"), 1, 0)
        stack.pending[0].facts.result()
        committer.submit(stack, second, lambda _: Digest.of(b"b"), Digest.of(b"2"), 2, 0)
        assert worker.going.wait(PATIENCE)
        committer.gather(stack, wait=wait)
        committer.gather(stack, wait=True)
        assert [layer.directory for layer in stack.known] == [equal, second]
    assert worker.gone == []
    assert store.discarded == [first]
    assert told == [(1, facts("first").diff_id), (2, facts("second").diff_id)]
