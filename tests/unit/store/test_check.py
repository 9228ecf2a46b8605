import os
import shutil
import sqlite3

import pytest

from contextkernel.model.container import ContainerSpec
from contextkernel.model.digest import Digest
from contextkernel.store import StepRecord
from contextkernel.testing.stores import random_image

KEY = Digest.of(b"step")


@pytest.fixture
def full(store, worker):
    """An image with a container and a cached step, and an unrelated one."""
    image = random_image(store, worker, "greet", layers=2)
    random_image(store, worker, "other", seed=9, layers=1)
    layer = store.layers_of(image)[1]
    store.add_step(KEY, StepRecord(diff_id=layer.diff_id, created=1))
    store.add_container(
        ContainerSpec(id="a" * 64, name="bozo", image="greet", image_id=image, argv=("echo",), created=1)
    )
    assert store.check() == ()
    return image, layer


def rewritten(path, content):
    with open(path, "wb") as sink:
        sink.write(content)


def unrelated_sql(store, statement, *values):
    store._database.close()
    sql = sqlite3.connect(f"{store.root}/meta.db")
    sql.execute(statement, values)
    sql.commit()
    sql.close()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda layer: shutil.rmtree(layer.diff), "its unpacked tree is missing"),
        (lambda layer: os.unlink(layer.index), "its index is missing"),
        (lambda layer: rewritten(layer.index, b"\xc1"), "its index cannot be read"),
    ],
)
def test_a_damaged_layer_is_found_and_its_images_go_with_it(store, full, damage, said):
    _, layer = full
    damage(layer)
    (finding,) = store.check()
    assert finding.what.startswith(f"layer {layer.diff_id}: {said}")
    assert not finding.repaired
    assert store.check(repair=True)[0].repaired
    assert [row.repository for row in store.image_rows()] == ["other"]
    assert store.step(KEY) is None
    # what is left says that the container lost its image; only the user can decide to remove it
    (finding,) = store.check(repair=True)
    assert "bozo" in finding.what
    assert not finding.repaired
    store.remove_container("a" * 64)
    assert store.check() == ()


def test_a_layers_blob_is_verified(store, worker):
    directory = store.new_layer_dir()
    facts = worker.commit(directory)
    blob = store.write_blob(b"blob")
    store.add_layer(directory, facts, blob=blob)
    store.add_step(KEY, StepRecord(diff_id=facts.diff_id, created=1))
    rewritten(store.blob_path(blob), b"blub")
    (finding,) = store.check()
    assert f"content of {blob} has digest" in finding.what


@pytest.mark.parametrize("damage", [os.unlink, lambda path: rewritten(path, b"{}")])
def test_a_damaged_config_is_found_and_its_image_goes(store, full, damage):
    image, _ = full
    store.remove_container("a" * 64)
    damage(store.blob_path(image))
    (finding,) = store.check(repair=True)
    assert finding.what.startswith(f"image {image}: its configuration cannot be read")
    assert finding.repaired
    assert store.check() == ()
    assert [row.repository for row in store.image_rows()] == ["other"]


@pytest.mark.usefixtures("full")
def test_a_wrong_size_is_found(store):
    unrelated_sql(store, "UPDATE images SET size = 5 WHERE id LIKE '%'")
    assert {"its size is recorded as 5" in finding.what for finding in store.check()} == {True}


@pytest.mark.usefixtures("full")
def test_tags_and_steps_that_point_to_nothing_are_found(store):
    unrelated_sql(store, "UPDATE tags SET image = ? WHERE repository = 'library/other'", f"sha256:{'0' * 64}")
    unrelated_sql(store, "UPDATE steps SET diff_id = ?", f"sha256:{'0' * 64}")
    whats = [finding.what for finding in store.check()]
    assert any("tag docker.io/library/other:latest points to the missing image" in what for what in whats)
    assert any(f"build step {KEY} points to the missing layer" in what for what in whats)
    store.check(repair=True)
    assert store.check() == ()


@pytest.mark.usefixtures("full")
def test_a_container_without_directory_is_found(store):
    shutil.rmtree(store.container_dir("a" * 64))
    (finding,) = store.check(repair=True)
    assert finding.what == f"container {'a' * 64} (bozo): its directory is missing"
    assert store.containers() == ()


@pytest.mark.usefixtures("full")
def test_things_that_nothing_knows_of_are_found(store):
    os.mkdir(f"{store.root}/layers/abcdefghabcdef")
    os.mkdir(f"{store.root}/containers/{'b' * 64}")
    rewritten(f"{store.root}/blobs/sha256/{'0' * 64}", b"x")
    assert len(store.check()) == 3
    store.check(repair=True)
    assert store.check() == ()
    assert len(store.trash()) == 2


@pytest.mark.usefixtures("full")
def test_a_damaged_database_is_said_and_not_touched(store):
    store._database.close()
    path = f"{store.root}/meta.db"
    with open(path, "r+b") as database:
        size = os.path.getsize(path)
        for page in range(4, size // 4096):
            database.seek(page * 4096)
            database.write(b"\xff" * 64)
    findings = store.check(repair=True)
    assert findings
    assert all("the database is damaged" in finding.what and not finding.repaired for finding in findings)
