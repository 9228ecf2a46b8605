from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contextkernel.model.cache import CacheFilter, CacheLimits
from contextkernel.model.digest import Digest
from contextkernel.store import StepRecord, Store
from contextkernel.store.step_notes import StepDocument, StepNote, StepPlace
from contextkernel.testing.stores import random_image, random_layer


@pytest.fixture
def cached(store, worker):
    """Adds a cache entry that nothing else holds; returns its layer."""

    def add(seed, *, used=None):
        layer = random_layer(store, worker, seed)
        key = Digest.of(b"%d" % seed)
        store.add_step(key, StepRecord(diff_id=layer, created=seed))
        store.release([layer])
        if used is not None:
            with store._database.transaction() as sql:
                sql.execute("UPDATE steps SET used = ? WHERE key = ?", (used, str(key)))
        return layer

    return add


def ids(rows):
    return [row.id for row in rows]


def name(layer):
    return layer.hex[:25]


def test_rows_come_with_sizes_and_least_recently_used_first(store, cached):
    late, early = cached(1, used=20 * 10**9), cached(2, used=10 * 10**9)
    rows = store.cache_rows()
    assert ids(rows) == [name(early), name(late)]
    assert [row.used.timestamp() for row in rows] == [10, 20]
    assert rows[0].size == store.layer(early).size > 0
    assert all(row.reclaimable and not row.shared and row.type == "regular" for row in rows)
    assert store.private_cache_size() == sum(row.size for row in rows)


def test_pruning_all_removes_the_layers_too(store, cached):
    layers = [cached(1), cached(2)]
    size = store.private_cache_size()
    pruned = store.prune_cache()
    assert {row.id for row in pruned.rows} == set(map(name, layers))
    assert pruned.freed == size
    assert store.cache_rows() == ()
    assert not any(map(store.has_layer, layers))
    assert len(store.trash()) == 2
    assert store.prune_cache().rows == ()


def test_several_keys_of_one_layer_are_one_entry(store, cached):
    layer = cached(1)
    store.add_step(Digest.of(b"other"), StepRecord(diff_id=layer, created=1))
    assert len(store.cache_rows()) == 1
    store.prune_cache()
    assert store.step(Digest.of(b"1")) is None
    assert store.step(Digest.of(b"other")) is None


def test_what_a_builder_uses_stays(store, cached):
    layer = cached(1)
    with store.hold([layer]):
        assert not store.cache_rows()[0].reclaimable
        assert store.prune_cache(shared=True).rows == ()
        assert store.has_layer(layer)
    assert ids(store.prune_cache().rows) == [name(layer)]


def test_what_an_image_uses_frees_nothing_and_stays_unless_all_is_meant(store, worker):
    image = random_image(store, worker, "shared:1")
    layers = [layer.diff_id for layer in store.layers_of(image)]
    for number, layer in enumerate(layers):
        store.add_step(Digest.of(b"s%d" % number), StepRecord(diff_id=layer, created=1))
    store.release(layers)
    assert all(row.shared for row in store.cache_rows())
    assert store.private_cache_size() == 0
    assert store.prune_cache().rows == ()
    pruned = store.prune_cache(shared=True)
    assert len(pruned.rows) == len(layers)
    assert pruned.freed == 0
    assert [layer.diff_id for layer in store.layers_of(image)] == layers


def test_the_least_recently_used_go_until_the_rest_is_small_enough(store, cached):
    layers = [cached(seed, used=seed * 10**9) for seed in range(1, 6)]
    sizes = [store.layer(layer).size for layer in layers]
    pruned = store.prune_cache(limits=CacheLimits(max_used=sum(sizes[3:])))
    assert ids(pruned.rows) == [name(layer) for layer in layers[:3]]
    assert store.private_cache_size() == sum(sizes[3:])
    assert store.prune_cache(limits=CacheLimits(max_used=sum(sizes))).rows == ()


def test_of_one_build_the_last_steps_go_first(store, cached):
    first, last = cached(1, used=9 * 10**9), cached(2, used=9 * 10**9)
    assert ids(store.cache_rows()) == [name(last), name(first)]


def test_filters_are_kept_to(store, cached):
    old, new = cached(1, used=10**9), cached(2, used=5 * 10**9)
    assert ids(store.prune_cache(CacheFilter(used_before=3 * 10**9)).rows) == [name(old)]
    assert store.prune_cache(CacheFilter(types=("exec.cachemount",))).rows == ()
    assert ids(store.prune_cache(CacheFilter(ids=(name(new)[:6],))).rows) == [name(new)]


def test_finding_an_entry_makes_it_the_last_to_go(store, cached):
    first, second = cached(1, used=10**9), cached(2, used=2 * 10**9)
    place = StepPlace(scope="s", position=1, text="RUN a")
    note = StepNote(
        place=place, key=str(Digest.of(b"1")), make=lambda _: StepDocument(document=b""), description="RUN a"
    )
    store.note_steps([note])
    rows = store.cache_rows()
    assert ids(rows) == [name(second), name(first)]
    assert (rows[1].uses, rows[1].description) == (1, "RUN a")
    assert rows[1].used.timestamp() > time.time() - 60


def test_what_a_failed_step_left_goes_too(store, cached):
    layer = cached(1)
    directory = store.new_layer_dir()
    (Path(directory) / "diff" / "left").write_bytes(b"x" * 100)
    with store._database.transaction() as sql:
        sql.execute(
            "INSERT INTO failed_steps (id, directory, created, document) VALUES ('f', ?, 5, '')",
            (os.path.basename(directory),),
        )
        sql.execute("INSERT INTO failed_layers (failed, position, diff_id) VALUES ('f', 0, ?)", (str(layer),))
    row = next(row for row in store.cache_rows() if row.type == "debug")
    assert (row.id, row.size) == ("f", 100)
    store.prune_cache(CacheFilter(types=("regular",)))
    assert store.has_layer(layer)
    store.prune_cache()
    assert not store.has_layer(layer)
    assert directory in store.trash()


_BUILDER = """
import os, sys
from contextlib import ExitStack
from contextkernel.model.digest import Digest
from contextkernel.store import Store, StepRecord
from contextkernel.testing.stores import InProcessLayerWorker, random_layer
with Store.open(sys.argv[1]) as store:
    worker = InProcessLayerWorker()
    for round in range(30):
        layers, stack = [], ExitStack()
        for seed in range(4):
            key = Digest.of(b"%d" % seed)
            record = store.step(key)
            if record is not None:
                try:
                    stack.enter_context(store.hold([record.diff_id]))
                except Exception as problem:
                    if "is not in the store" not in str(problem): raise
                    record = None
            if record is None:
                layer = random_layer(store, worker, seed)
                store.add_step(key, StepRecord(diff_id=layer, created=1))
            else:
                layer = record.diff_id
            layers.append(layer)
        for layer in layers:
            assert store.has_layer(layer), "a layer went while a builder stood on it"
            assert os.path.isdir(store.layer(layer).diff)
        stack.close()
        store.release(layers)
"""


def test_pruning_beside_builders_in_other_processes(tmp_path):
    root = str(tmp_path / "store")
    builders = [subprocess.Popen([sys.executable, "-c", _BUILDER, root]) for _ in range(2)]
    try:
        with Store.open(root) as store:
            removed = 0
            while any(builder.poll() is None for builder in builders):
                removed += len(store.prune_cache().rows)
                for path in store.trash():
                    subprocess.run(["rm", "-rf", path], check=True)
                store.forget_trash(store.trash())
            assert [builder.wait() for builder in builders] == [0, 0]
            store.prune_cache()
            assert store.check() == ()
            assert removed
    finally:
        for builder in builders:
            builder.kill()
            builder.wait()


def test_a_killed_prune_leaves_a_sound_store(tmp_path, worker):
    root = str(tmp_path / "store")
    program = (
        "import sys, os, signal\n"
        "from contextkernel.store import Store, sweep, pruning\n"
        "real = pruning.drop_unused_layers\n"
        "def drop(sql):\n"
        "    real(sql)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "pruning.drop_unused_layers = drop\n"
        "Store.open(sys.argv[1]).prune_cache()\n"
    )
    with Store.open(root) as store:
        layer = random_layer(store, worker, 1)
        store.add_step(Digest.of(b"1"), StepRecord(diff_id=layer, created=1))
    code = subprocess.run([sys.executable, "-c", program, root], check=False).returncode
    assert code == -9
    with Store.open(root) as store:
        # all or nothing: the transaction was not finished
        assert store.step(Digest.of(b"1")) is not None
        assert store.has_layer(layer)
        assert store.check() == ()
        assert len(store.prune_cache().rows) == 1
