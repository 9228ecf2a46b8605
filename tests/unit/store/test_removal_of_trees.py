"""Removal of trees that somebody still writes to."""

from __future__ import annotations

import errno
import os

import pytest

from contextkernel.store import worker_tree


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "tree/work").mkdir(parents=True)
    return tmp_path / "tree"


def appearing(monkeypatch, times):
    """As if a process made a directory just after each of the first looks."""
    real, looks = worker_tree._empty, []

    def empty(here, top, depth, check):
        moved = real(here, top, depth, check)
        if depth == 0 and len(looks) < times:
            looks.append(here)
            os.makedirs(f"/proc/self/fd/{here}/work/work")
        return moved

    monkeypatch.setattr(worker_tree, "_empty", empty)
    monkeypatch.setattr(worker_tree, "_PAUSE", 0)
    return looks


def removed(tree):
    parent = os.open(tree.parent, os.O_PATH)
    try:
        worker_tree.remove_at(parent, tree.name)
    finally:
        os.close(parent)


def test_what_a_process_that_ends_leaves_is_removed_too(tree, monkeypatch):
    looks = appearing(monkeypatch, 3)
    removed(tree)
    assert len(looks) == 3
    assert not tree.exists()


def test_one_that_does_not_end_is_an_error(tree, monkeypatch):
    appearing(monkeypatch, 10_000)
    with pytest.raises(OSError) as caught:
        removed(tree)
    assert caught.value.errno == errno.ENOTEMPTY
