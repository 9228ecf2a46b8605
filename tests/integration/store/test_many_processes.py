"""Several processes at one store, and processes that are killed in the middle of their work."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from contextkernel.store import Store
from contextkernel.testing.stores import InProcessLayerWorker

_WORK = """
import sys
from contextkernel.errors import ImageInUse, ImageNotFound, NameInUse, StoreProblem
from contextkernel.model.container import ContainerSpec
from contextkernel.model.digest import Digest
from contextkernel.model.reference import ImageRef
from contextkernel.store import StepRecord, Store
from contextkernel.testing.stores import InProcessLayerWorker, random_image, random_layer

root, number, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
worker = InProcessLayerWorker()
print("ready", flush=True)
turn = 0
while turn != rounds:
    turn += 1
    with Store.open(root) as store:
        # the same layers and images as the other processes, and some of its own
        base = random_layer(store, worker, turn % 5)
        try:
            image = random_image(store, worker, f"p{number}:t{turn % 7}", "common", seed=turn % 11, base=[base])
        except StoreProblem:
            # a process that removed the last image with these layers won: docker's answer would be the same
            continue
        store.add_step(Digest.of(f"{number}-{turn % 13}".encode()), StepRecord(diff_id=base, created=turn))
        try:
            spec, _ = store.add_container(
                ContainerSpec(
                    id=f"{number:02x}{turn:062x}", name="", image="common", image_id=image, argv=("x",), created=turn
                )
            )
        except ImageNotFound:
            spec = None
        if spec is not None and turn % 3:
            store.remove_container(spec.id)
        try:
            store.remove_image(f"p{number}:t{(turn + 3) % 7}", force=turn % 2 == 0)
        except (ImageNotFound, ImageInUse):
            pass
        store.image_rows()
        paths = store.trash()
        worker.remove(paths)
        store.forget_trash(paths)
print("done", flush=True)
"""


def start(root, number, rounds):
    return subprocess.Popen(
        [sys.executable, "-c", _WORK, str(root), str(number), str(rounds)], stdout=subprocess.PIPE, text=True
    )


def emptied(store):
    worker = InProcessLayerWorker()
    paths = store.trash()
    worker.remove(paths)
    store.forget_trash(paths)
    known = {row[0] for row in store._database.all("SELECT directory FROM layers")}
    assert set(os.listdir(f"{store.root}/layers")) == known
    assert set(os.listdir(f"{store.root}/containers")) == {spec.id for spec in store.containers()}
    assert os.listdir(f"{store.root}/tmp") == []


def test_several_processes_work_at_once(tmp_path):
    root = tmp_path / "store"
    processes = [start(root, number, 12) for number in range(4)]
    for process in processes:
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0
        assert output == "ready\ndone\n"
    with Store.open(root) as store:
        assert store.check() == ()
        assert store.resolve("common")
        emptied(store)
        assert os.listdir(f"{root}/sessions") == []
    with Store.open(root) as store:
        assert store.check() == ()


@pytest.mark.parametrize("seed", range(6))
def test_a_process_killed_at_any_moment_leaves_nothing(tmp_path, seed):
    """Two writers; both are killed, at moments that differ from run to run of the loop."""
    chance = random.Random(seed)  # noqa: S311 # reproducible on purpose
    root = tmp_path / "store"
    processes = [start(root, number, -1) for number in range(2)]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        # not a wait for something to happen: the moment of death is what is varied
        time.sleep(0.05 + chance.random() * 0.4)
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
    with Store.open(root) as store:
        assert store.check() == ()
        emptied(store)
        assert store.check() == ()
        # and it goes on
        InProcessLayerWorker().remove([store.new_layer_dir()])
    assert start(root, 9, 2).communicate(timeout=60)[0] == "ready\ndone\n"
    with Store.open(root) as store:
        assert store.check() == ()
