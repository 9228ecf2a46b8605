"""Directories of cache mounts: which one a step gets, who waits, and what goes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from contextkernel.store import Store


def make(tree: str) -> None:
    os.mkdir(f"{tree}/data")


def refuse(tree: str) -> None:
    raise AssertionError(f"{tree} is not needed")


def test_what_one_step_leaves_the_next_one_finds(store: Store) -> None:
    with store.use_cache_mount("one", "id", "shared", make) as first:
        Path(first, "file").write_text("12345")
    with store.use_cache_mount("one", "id", "shared", refuse) as second:
        assert (second, os.listdir(second)) == (first, ["file"])
    (row,) = store.cache_mounts()
    assert (row.id, row.path, row.in_use, store.cache_mount_size(row.name)) == ("id", first, False, 5)
    assert row.used >= row.created


def test_another_identity_gets_another_directory(store: Store) -> None:
    with store.use_cache_mount("one", "id", "shared", make) as first:
        pass
    with store.use_cache_mount("two", "id", "shared", make) as second:
        assert second != first


def test_shared_is_used_by_many_at_once(store: Store, root: str) -> None:
    with (
        store.use_cache_mount("one", "id", "shared", make) as first,
        Store.open(root) as other,
        other.use_cache_mount("one", "id", "shared", refuse) as second,
    ):
        assert second == first


@pytest.mark.parametrize("second", ["private", "shared"])
@pytest.mark.parametrize("first", ["private", "locked"])
def test_what_is_used_alone_is_not_shared(store: Store, first: str, second: str) -> None:
    with store.use_cache_mount("one", "id", first, make) as one:  # type: ignore[arg-type]
        with store.use_cache_mount("one", "id", second, make) as two:  # type: ignore[arg-type]
            assert two != one
        assert [row.in_use for row in sorted(store.cache_mounts(), key=lambda row: row.created)] == [True, False]
    with store.use_cache_mount("one", "id", "private", refuse) as again:
        assert again == one


@pytest.mark.parametrize("holder", ["shared", "locked"])
def test_locked_waits_until_nobody_else_is_there(store: Store, root: str, holder: str) -> None:
    waits, got = threading.Event(), list[str]()

    def wait() -> None:
        with Store.open(root) as other, other.use_cache_mount("one", "id", "locked", refuse, waits.set) as path:
            got.append(path)

    with store.use_cache_mount("one", "id", holder, make) as path:  # type: ignore[arg-type]
        thread = threading.Thread(target=wait)
        thread.start()
        assert waits.wait(60)
        assert not got
    thread.join(60)
    assert got == [path]


def test_waiting_can_be_given_up(store: Store) -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    with store.use_cache_mount("one", "id", "locked", make):
        with pytest.raises(Stopped), store.use_cache_mount("one", "id", "locked", refuse, stop):
            pass
        assert len(store.cache_mounts()) == 1


def test_one_in_use_is_not_removed(store: Store) -> None:
    with store.use_cache_mount("one", "id", "shared", make) as path:
        (row,) = store.cache_mounts()
        assert row.in_use
        assert store.remove_cache_mounts([row.name]) == ()
        assert os.path.isdir(path)
    assert store.remove_cache_mounts([row.name, "unknown"]) == (row.name,)
    assert store.cache_mounts() == ()
    assert store.trash() == (os.path.dirname(os.path.dirname(path)),)


def test_a_failure_to_make_one_leaves_nothing(store: Store) -> None:
    def fail(tree: str) -> None:
        os.mkdir(f"{tree}/data")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), store.use_cache_mount("one", "id", "shared", fail):
        pass
    assert store.cache_mounts() == ()
    assert len(store.trash()) == 1


def test_what_a_killed_process_was_making_is_trash(store: Store, root: str) -> None:
    with store.use_cache_mount("one", "id", "shared", make):
        pass

    child = os.fork()
    if not child:
        try:
            opened = Store.open(root)
            with opened.use_cache_mount("two", "id", "shared", lambda _tree: os._exit(0)):
                pass
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    with Store.open(root) as after:
        (row,) = after.cache_mounts()
        left = set(os.listdir(f"{root}/caches")) - {row.name}
        assert {os.path.basename(path) for path in after.trash()} == left
        assert len(left) == 1
        assert after.check() == ()


def test_a_cache_survives_the_session_that_made_it(root: str) -> None:
    with Store.open(root) as one, one.use_cache_mount("one", "id", "private", make) as path:
        pass
    with Store.open(root) as two:
        assert two.trash() == ()
        with two.use_cache_mount("one", "id", "private", refuse) as again:
            assert again == path
