"""The build context: what is seen, what is ignored, and that nothing leads out of it."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from contextkernel.build.context import DirectoryContext
from contextkernel.dockerfile.ignore import IgnoreMatcher, parse_ignore
from contextkernel.errors import InvalidInput
from contextkernel.testing.build_fakes import MemoryStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "context"
    for name in ("src/a.c", "src/b.h", "docs/x.md", "docs/keep/y.md", ".git/config", "top"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    return path


def context(root: Path, ignore: str = "") -> DirectoryContext:
    return DirectoryContext(str(root), IgnoreMatcher(parse_ignore(ignore)), MemoryStore(str(root.parent / "store")))


def seen(tree: DirectoryContext, path: str = ".") -> list[str]:
    return [node.path for node in tree.below(path)]


def test_everything_sorted_depth_first(root: Path) -> None:
    assert seen(context(root)) == [
        ".",
        ".git",
        ".git/config",
        "docs",
        "docs/keep",
        "docs/keep/y.md",
        "docs/x.md",
        "src",
        "src/a.c",
        "src/b.h",
        "top",
    ]


def test_ignored_is_not_there_and_excluded_paths_are_the_outermost(root: Path) -> None:
    tree = context(root, ".git\n**/*.h\ndocs\n")
    assert seen(tree) == [".", "src", "src/a.c", "top"]
    assert tree.excluded_below(".") == (".git", "docs", "src/b.h")
    assert tree.get("docs/x.md") is None
    assert tree.resolve("docs/x.md") is None
    assert tree.is_ignored("docs/x.md")
    assert not tree.is_ignored("nowhere")


def test_what_is_taken_back_brings_its_directory(root: Path) -> None:
    tree = context(root, "docs\n!docs/keep/y.md\n")
    assert seen(tree, "docs") == ["docs", "docs/keep", "docs/keep/y.md"]
    assert tree.excluded_below(".") == ("docs/x.md",)


def test_an_ignored_directory_with_nothing_taken_back_is_left_out_whole(root: Path) -> None:
    tree = context(root, "docs\n!docs/nothing\n")
    assert "docs" not in seen(tree)
    assert tree.excluded_below(".") == ("docs",)


def test_ignored_directories_are_not_entered(root: Path) -> None:
    (root / "secret").mkdir(mode=0o700)
    tree = context(root, "secret\n")
    scanned: list[str] = []
    original = os.scandir

    def watch(path: str) -> object:
        scanned.append(path)
        return original(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", watch)
        seen(tree)
    assert str(root / "secret") not in scanned


def test_one_file_costs_no_walk(root: Path) -> None:
    tree = context(root)
    assert tree.get("src/a.c") is not None
    assert set(tree._listings) == {".", "src"}


def test_links_are_resolved_inside(root: Path) -> None:
    (root / "absolute").symlink_to("/src/a.c")
    (root / "up").symlink_to("../../../../src")
    (root / "dir").symlink_to("src")
    tree = context(root)
    assert tree.resolve("absolute") == "src/a.c"
    assert tree.resolve("up/b.h") == "src/b.h"
    assert tree.resolve("dir/../top") == "top"
    assert tree.resolve("../../top") == "top"


def test_links_that_lead_out_find_nothing(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    (root / "relative").symlink_to("../outside")
    (root / "absolute").symlink_to(str(tmp_path / "outside"))
    tree = context(root)
    assert tree.resolve("relative") is None
    assert tree.resolve("absolute") is None
    node = tree.get("relative")
    assert node is not None
    assert (node.kind, node.link) == ("symlink", "../outside")


def test_a_link_to_a_directory_is_not_listed_through(root: Path) -> None:
    (root / "dir").symlink_to("src")
    assert context(root).children("dir") == []


def test_links_in_circles(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(InvalidInput, match="too many symbolic links"):
        context(root).resolve("a")


def test_sockets_are_empty_files_and_fifos_stay(root: Path) -> None:
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(root, os.O_PATH)
        listener.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
        tree = context(root)
        found = tree.get("socket")
        assert found is not None
        assert (found.kind, tree.digest(found)) == ("file", hashlib.sha256().hexdigest())
    node = tree.get("fifo")
    assert node is not None
    assert node.kind == "fifo"


def later() -> int:
    """A time at which what was just written has not been changed for a while."""
    return time.time_ns() + 10**10


def test_a_file_that_was_written_just_before_it_was_read_is_not_remembered(root: Path) -> None:
    store = MemoryStore(str(root.parent / "store"))
    for now, count in ((time.time_ns, 0), (later, 1)):
        tree = DirectoryContext(str(root), IgnoreMatcher(()), store, now=now)
        node = tree.get("top")
        assert node is not None
        tree.digest(node)
        tree.remember()
        assert len(store.files) == count


def test_a_file_that_is_written_while_it_is_read_is_not_remembered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore(str(root.parent / "store"))
    tree = DirectoryContext(str(root), IgnoreMatcher(()), store, now=later)
    node = tree.get("top")
    assert node is not None
    read = hashlib.file_digest

    def slow(stream: Any, name: str) -> Any:
        found = read(stream, name)
        (root / "top").write_text("something longer")
        return found

    monkeypatch.setattr("hashlib.file_digest", slow)
    tree.digest(node)
    tree.remember()
    assert store.files == {}


def test_digests_are_remembered_for_files_that_have_not_changed(root: Path) -> None:
    store = MemoryStore(str(root.parent / "store"))
    tree = DirectoryContext(str(root), IgnoreMatcher(()), store, now=later)
    node = tree.get("top")
    assert node is not None
    first = tree.digest(node)
    tree.remember()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hashlib.file_digest", None)
        again = DirectoryContext(str(root), IgnoreMatcher(()), store)
        assert again.digest(node) == first
    (root / "top").write_text("something longer")
    changed = DirectoryContext(str(root), IgnoreMatcher(()), store)
    node = changed.get("top")
    assert node is not None
    assert changed.digest(node) != first


def test_no_context_has_nothing(tmp_path: Path) -> None:
    tree = DirectoryContext(None, IgnoreMatcher(()), MemoryStore(str(tmp_path)))
    assert tree.get(".") is None
    assert tree.resolve("a") is None
    assert tree.children(".") == []
    assert not tree.is_ignored("etc/passwd")


def test_names_that_are_not_utf8(root: Path) -> None:
    with open(os.path.join(os.fsencode(root), b"\xff.txt"), "w") as stream:
        stream.write("x")
    tree = context(root)
    node = tree.get("\udcff.txt")
    assert node is not None
    assert len(tree.digest(node)) == 64


def test_problems_name_the_path(root: Path) -> None:
    tree = context(root)
    node = tree.get("top")
    assert node is not None
    (root / "top").unlink()
    (root / "top").mkdir()
    with pytest.raises(InvalidInput, match="cannot read 'top' of the build context"):
        tree.digest(node)
