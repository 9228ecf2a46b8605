import os
from types import SimpleNamespace

import pytest

from contextkernel.errors import StoreProblem
from contextkernel.model.digest import Digest
from contextkernel.store import StepRecord
from contextkernel.testing.stores import random_layer

KEY = Digest.of(b"step")


def test_a_step_is_remembered_and_replaced(store, worker):
    assert store.step(KEY) is None
    one, two = random_layer(store, worker, 1), random_layer(store, worker, 2)
    store.add_step(KEY, StepRecord(diff_id=one, created=5))
    store.add_step(KEY, StepRecord(diff_id=two, created=6))
    assert store.step(KEY) == StepRecord(diff_id=two, created=6)
    assert store.trash() == ()  # the session that made the layers may still build on them
    store.release([one, two])
    # nothing needs the first layer any more
    assert store.trash() != ()
    assert not store.has_layer(one)
    assert store.has_layer(two)


def test_a_step_needs_its_layer(store):
    with pytest.raises(StoreProblem, match="of a build step is not in the store"):
        store.add_step(KEY, StepRecord(diff_id=KEY, created=5))


def settled(path, content=b"x"):
    with open(path, "wb") as sink:
        sink.write(content)
    facts = os.stat(path)
    # as it is once it has not been changed for a while
    values = list(facts)
    return os.stat_result(
        values, {"st_mtime_ns": facts.st_mtime_ns - 10**10, "st_ctime_ns": facts.st_ctime_ns - 10**10}
    )


def test_file_digests_hold_while_nothing_changed(store, tmp_path):
    path = str(tmp_path / "file")
    facts = settled(path)
    assert store.file_digest(path, facts) is None
    store.remember_file_digests([(path, facts, "abc")])
    assert store.file_digest(path, facts) == "abc"
    assert store.file_digest(path + "2", facts) is None
    assert store.file_digest(path, settled(path, b"longer")) is None
    store.remember_file_digests([(path, facts, "def")])
    assert store.file_digest(path, facts) == "def"


def test_a_file_that_has_just_changed_is_not_trusted(store, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    store.remember_file_digests([(str(path), path.stat(), "abc")])
    assert store.file_digest(str(path), path.stat()) is None


def rewritten(path, content, mtime):
    """Other content, with the times as they were: what a program can set of them."""
    before = os.stat(path).st_ctime_ns
    with open(path, "wb") as sink:
        sink.write(content)
    while os.stat(path).st_ctime_ns == before:  # times are as coarse as the system's clock tick
        os.utime(path, ns=(mtime, mtime))
    os.utime(path, ns=(mtime, mtime))


def test_a_file_of_the_same_size_and_time_is_another_file(store, tmp_path, monkeypatch):
    monkeypatch.setattr("contextkernel.store.steps._SETTLED_NS", -(10**12))  # even what has just changed
    path = str(tmp_path / "file")
    settled(path, b"one")
    facts = os.stat(path)
    store.remember_file_digests([(path, facts, "abc")])
    assert store.file_digest(path, os.stat(path)) == "abc"
    rewritten(path, b"two", facts.st_mtime_ns)
    now = os.stat(path)
    assert (now.st_size, now.st_mtime_ns, now.st_ino) == (facts.st_size, facts.st_mtime_ns, facts.st_ino)
    assert store.file_digest(path, now) is None


def test_a_file_that_was_put_in_its_place_is_another_file(store, tmp_path, monkeypatch):
    monkeypatch.setattr("contextkernel.store.steps._SETTLED_NS", -(10**12))
    path, other = str(tmp_path / "file"), str(tmp_path / "other")
    settled(path, b"one")
    settled(other, b"two")
    facts = os.stat(path)
    store.remember_file_digests([(path, facts, "abc")])
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    os.replace(other, path)
    now = os.stat(path)
    assert (now.st_size, now.st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)
    assert store.file_digest(path, now) is None


@pytest.mark.parametrize("field", ["st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns"])
def test_each_fact_of_a_file_counts(field, store):
    known = {"st_dev": 1, "st_ino": 2, "st_size": 3, "st_mtime_ns": 4, "st_ctime_ns": 5}
    store.remember_file_digests([("/file", SimpleNamespace(**known), "abc")])
    assert store.file_digest("/file", SimpleNamespace(**known)) == "abc"
    assert store.file_digest("/file", SimpleNamespace(**{**known, field: 9})) is None


def test_file_digests_do_not_grow_for_ever(store, tmp_path, monkeypatch):
    monkeypatch.setattr("contextkernel.store.steps._MAX_FILES", 10)
    facts = settled(str(tmp_path / "file"))
    for number in range(30):
        store.remember_file_digests([(f"/file{number}", facts, "abc")])
    assert store._database.one("SELECT count(*) FROM files") == (10,)
    assert store.file_digest("/file29", facts) == "abc"


def test_any_file_name_will_do(store, tmp_path):
    facts = settled(str(tmp_path / "file"))
    name = os.fsdecode(b"/caf\xe9")
    store.remember_file_digests([(name, facts, "abc")])
    assert store.file_digest(name, facts) == "abc"
