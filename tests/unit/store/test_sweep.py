"""What a process that was killed leaves behind, and who cleans it up."""

import fcntl
import os
import time

import pytest

from contextkernel.store import Store
from contextkernel.testing.stores import random_image, random_layer


def killed(store):
    """Make ``store`` look as if its process had been killed: the kernel lets go of the lock, the file stays."""
    store._database.close()
    os.close(store._session._descriptor)
    store._session._descriptor = -1
    name, store._session._id = store._session._id, ""
    return name


@pytest.fixture
def left(root, worker):
    """A store in which a killed process left one of everything."""
    store = Store.open(root)
    image = random_image(store, worker, "kept")
    directory = store.new_layer_dir()
    blob = store.write_blob(b"unused")
    layer = store.layer(random_layer(store, worker, 99))
    temporary = store.temporary_path()
    with open(temporary, "w") as sink:
        sink.write("x")
    os.mkdir(store.temporary_path())
    lost = f"{root}/containers/{'c' * 64}"
    os.mkdir(lost)
    session = killed(store)
    return {"image": image, "directory": directory, "blob": blob, "layer": layer, "lost": lost, "session": session}


def test_the_next_open_cleans_up(root, left):
    with Store.open(root) as store:
        assert os.listdir(f"{root}/tmp") == []
        assert not os.path.exists(store.blob_path(left["blob"]))
        assert not store.has_layer(left["layer"].diff_id)
        assert store.trash() == tuple(sorted([left["directory"], left["layer"].directory, left["lost"]]))
        assert not os.path.exists(f"{root}/sessions/{left['session']}.lock")
        assert store.resolve("kept") == left["image"]
        assert store.check() == ()


@pytest.mark.usefixtures("left")
def test_a_store_that_was_open_already_reports_it_and_repairs(root, worker):
    # opening cleans up: what dies later is seen by check
    with Store.open(root) as watcher:
        other = Store.open(root)
        other.new_layer_dir()
        other.write_blob(b"unused")
        random_layer(other, worker, 98)
        with open(other.temporary_path(), "w"):
            pass
        killed(other)
        found = watcher.check()
        assert {finding.what.split(" of session")[0] for finding in found} == {
            "temporary file of a process that is gone",
            "directory that nothing knows of",
            "leases",
        }
        assert not any(finding.repaired for finding in found)
        assert watcher.check() == found, "without repair nothing changes"
        assert all(finding.repaired for finding in watcher.check(repair=True))
        assert watcher.check() == ()


def test_the_living_are_left_alone(root):
    with Store.open(root) as one:
        directory = one.new_layer_dir()
        blob = one.write_blob(b"work in progress")
        temporary = one.temporary_path()
        with open(temporary, "w"):
            pass
        with Store.open(root) as two:
            assert two.trash() == ()
            assert two.check(repair=True) == ()
        assert os.path.isdir(directory)
        assert os.path.exists(one.blob_path(blob))
        assert os.path.exists(temporary)


def test_a_forked_child_does_not_keep_the_session_alive(root):
    store = Store.open(root)
    session = store._session.id
    reader, writer = os.pipe()
    begun, begins = os.pipe()
    child = os.fork()
    if not child:
        os.close(writer)
        os.write(begins, b"!")  # it has let go of what it must not keep
        os.read(reader, 1)  # until the parent is done
        os._exit(0)
    os.close(reader)
    assert os.read(begun, 1) == b"!"
    os.close(begun)
    os.close(begins)
    killed(store)
    with Store.open(root):
        assert not os.path.exists(f"{root}/sessions/{session}.lock")
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0


def test_a_session_that_somebody_else_is_cleaning_up_is_left_to_them(root, left):
    with open(f"{root}/sessions/{left['session']}.lock") as claim:
        fcntl.flock(claim, fcntl.LOCK_EX)
        with Store.open(root) as store:
            assert os.path.exists(store.blob_path(left["blob"]))
    with Store.open(root) as store:
        assert not os.path.exists(store.blob_path(left["blob"]))


@pytest.mark.usefixtures("left")
def test_strangers_in_tmp_are_removed_after_a_day(root):
    old, young = f"{root}/tmp/assemble-xyz", f"{root}/tmp/young"
    os.mkdir(old)
    with open(young, "w"):
        pass
    os.utime(old, (time.time() - 100_000,) * 2)
    with Store.open(root):
        assert os.listdir(f"{root}/tmp") == ["young"]


def test_a_store_that_is_only_read_makes_no_session(root, worker):
    with Store.open(root) as store:
        random_image(store, worker, "greet")
    with Store.open(root) as store:
        store.inspect_image(store.resolve("greet"))
        store.image_rows()
        store.containers()
        assert os.listdir(f"{root}/sessions") == []
