"""Roots that are copied trees: what is in them, what becomes a layer of their changes, and that layers stay whole."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contextkernel.errors import StoreFull
from contextkernel.layer.merge import merge
from contextkernel.model.backing import PrepareRequest, Root, SettleRequest
from contextkernel.model.box import BoxView
from contextkernel.model.codec import to_json
from contextkernel.model.layers import Entry, LayerFacts
from contextkernel.store.worker_client import LayerWorkerClient
from tests.integration.worker import tree_work
from tests.integration.worker.conftest import Bench, diffs, idmap, index
from tests.unit.layer.conftest import Archive

_CASES = 20
_OLD = 1_600_000_000


@pytest.fixture(
    scope="session",
    params=[
        kind
        for kind in ("identity+copy", "range+copy", "single+copy", "own+copy")
        if idmap(kind.partition("+")[0]) is not None
    ],
)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def folder(archive: Archive, name: str, mode: int = 0o755) -> None:
    archive.add(name, tarfile.DIRTYPE, mode=mode, mtime=_OLD)


def device(archive: Archive, name: str) -> None:
    archive.add(name, tarfile.CHRTYPE, devmajor=1, devminor=3, mtime=_OLD)


def base(bench: Bench) -> tuple[Path, Path]:
    """Two layers with one of everything; the second removes some of the first."""
    first, second = Archive(), Archive()
    for name, mode in (("a", 0o755), ("a/b", 0o750), ("etc", 0o755), ("d", 0o1777), ("two", 0o755)):
        folder(first, name, mode)
    for name in ("a/one", "a/b/one", "a/b/c", "etc/a", "etc/b", "one", "d/deep", "two/a", "two/b"):
        first.add(name, data=name.encode() * 9, mtime=_OLD, mode=0o640)
    for name, target in (("link", "a/b"), ("etc/link", "/nowhere")):
        first.add(name, tarfile.SYMTYPE, link=target, mtime=_OLD)
    for name in ("two", "c", "etc"):
        folder(second, name)
    second.add("two/.wh.a").add(".wh.d").add("etc/.wh..wh..opq")
    for name in ("c/new", "etc/new"):
        second.add(name, data=name.encode(), mtime=_OLD)
    return bench.unpack(first.bytes())[0], bench.unpack(second.bytes())[0]


def prepare(
    bench: Bench, layer: Path, lowers: tuple[Path, ...], parked: str = "", above: tuple[Path, ...] = ()
) -> Path:
    root = Root(lowers=diffs(lowers), upper=str(layer / "diff"), work=str(layer / "work"))
    made = bench.worker.prepare(PrepareRequest(root=root, parked=parked, above=diffs(above)))
    assert (made.lowers, made.upper) == ((), str(layer / "tree"))
    return layer / "tree"


def settle(bench: Bench, layer: Path, park: str = "") -> None:
    bench.worker.settle(SettleRequest(upper=str(layer / "diff"), park=park, keep=bool(park)))


def commit(bench: Bench, layer: Path, lowers: tuple[Path, ...]) -> tuple[LayerFacts, list[Entry]]:
    facts = bench.worker.commit(str(layer), lowers=diffs(lowers))
    return facts, index(layer)


def seen(tree: Path) -> dict[str, tuple[object, ...]]:
    """What programs see in a tree, but for owners."""
    found = {}
    for directory, folders, files in os.walk(tree):
        for name in (*folders, *files):
            path = os.path.join(directory, name)
            info = os.lstat(path)
            content = ""
            if stat.S_ISREG(info.st_mode):
                content = Path(path).read_text()
            elif stat.S_ISLNK(info.st_mode):
                content = os.readlink(path)
            links = 0 if stat.S_ISDIR(info.st_mode) else info.st_nlink
            found[os.path.relpath(path, tree)] = (info.st_mode, links, info.st_mtime_ns, content)
    return found


def test_the_same_work_makes_the_same_layer_as_on_an_overlay(bench: Bench, ids: str) -> None:
    # who has no namespace has no overlay to compare with: a single id is as close as it gets
    reference_ids = idmap("single") if ids == "own" else idmap(ids)
    assert reference_ids is not None
    lowers = base(bench)
    reference = LayerWorkerClient(reference_ids)
    jobs: dict[str, list[dict[str, object]]] = {"overlay": [], "copy": []}
    pairs = []
    try:
        for seed in range(_CASES):
            steps = tree_work.random_steps(seed)
            plain, copied = bench.layer(), bench.layer()
            (plain / "root").mkdir()
            jobs["overlay"].append(
                {
                    "root": str(plain / "root"),
                    "lowers": diffs(lowers),
                    "upper": str(plain / "diff"),
                    "work": str(plain / "work"),
                    "steps": steps,
                }
            )
            tree = prepare(bench, copied, lowers)
            jobs["copy"].append({"root": str(tree), "lowers": (), "steps": steps})
            pairs.append((plain, copied, steps))
        own = idmap(ids)
        assert own is not None
        for name, map_of in (("overlay", reference_ids), ("copy", own)):
            subprocess.run(
                [sys.executable, "-m", "tests.integration.worker.tree_work"],
                input=to_json({"idmap": map_of, "jobs": jobs[name]}),
                check=True,
                cwd=Path(__file__).parents[3],
            )
        changed = 0
        for plain, copied, steps in pairs:
            settle(bench, copied)
            assert not (copied / "tree").exists()
            facts = reference.commit(str(plain), lowers=diffs(lowers))
            found, rows = commit(bench, copied, lowers)
            assert rows == index(plain), steps
            assert found == facts
            changed += facts.entries
        assert changed > _CASES  # the work was not for nothing
    finally:
        reference.close()


def test_a_tree_is_what_its_layers_are(bench: Bench) -> None:
    archive = Archive()
    folder(archive, "dir", 0o2750)
    archive.add("dir/file", data=b"text", mode=0o4711, mtime=6)
    archive.hardlink("dir/second", "dir/file").add("link", tarfile.SYMTYPE, link="dir/file", mtime=7)
    archive.add("pipe", tarfile.FIFOTYPE, mode=0o600, mtime=8).add("noted", data=b"y", mtime=9)
    lower = bench.unpack(archive.bytes())[0]
    top = bench.base(other=b"z")
    diff = lower / "diff"
    os.setxattr(diff / "noted", "user.note", b"text")
    with open(diff / "noted", "r+b") as stream:
        stream.truncate(10 << 20)  # a hole
    os.utime(diff / "noted", (9, 9))
    bench.worker.commit(str(lower))
    tree = prepare(bench, bench.layer(), (lower, top))
    wanted = seen(diff) | seen(top / "diff")
    assert seen(tree) == wanted
    assert os.path.samefile(tree / "dir/file", tree / "dir/second")
    assert os.getxattr(tree / "noted", "user.note") == b"text"
    assert (tree / "noted").stat().st_blocks * 512 < 1 << 20
    assert not os.path.samefile(tree / "dir/file", diff / "dir/file")  # whoever writes to it leaves the layer alone


def test_the_next_step_takes_the_tree_over_and_gets_what_lies_above(bench: Bench) -> None:
    lowers = base(bench)
    first, second, park = bench.layer(), bench.layer(), bench.layer()
    tree = prepare(bench, first, lowers)
    inode = (tree / "two/b").stat().st_ino, (tree / "c").stat().st_ino
    (tree / "made").write_text("by the first")
    (tree / "c/new").unlink()
    settle(bench, first, str(park))
    assert not tree.exists()
    _, rows = commit(bench, first, lowers)
    assert {(row.kind, row.path) for row in rows} == {("dir", "c"), ("whiteout", "c/new"), ("file", "made")}
    (bench.context / "f").write_text("copied")
    copied = bench.copy("f", to="/a/b/", lowers=(*lowers, first))
    commit(bench, copied, (*lowers, first))
    above = Archive().add(".wh.one").dir("etc").add("etc/.wh..wh..opq").add("etc/x", data=b"x").add(".wh.a")
    removed = bench.unpack(above.bytes())[0]
    stack = (*lowers, first, copied, removed)
    tree = prepare(bench, second, stack, str(park), (copied, removed))
    assert set(seen(tree)) == set(bench.merged(*stack)) - {"."}
    assert (tree / "made").read_text() == "by the first"
    assert inode == ((tree / "two/b").stat().st_ino, (tree / "c").stat().st_ino)  # nothing was copied again
    settle(bench, second)
    assert commit(bench, second, stack)[1] == []


def test_what_a_step_does_to_files_of_the_step_before_is_found(bench: Bench) -> None:
    lowers = base(bench)
    first, second, park = bench.layer(), bench.layer(), bench.layer()
    tree = prepare(bench, first, lowers)
    (tree / "made").write_text("one")
    (tree / "gone").write_text("one")
    settle(bench, first, str(park))
    commit(bench, first, lowers)
    tree = prepare(bench, second, (*lowers, first), str(park))
    (tree / "made").write_text("two")
    (tree / "gone").unlink()
    settle(bench, second)
    rows = commit(bench, second, (*lowers, first))[1]
    assert {(row.kind, row.path) for row in rows} == {("file", "made"), ("whiteout", "gone")}
    assert (second / "diff/made").read_text() == "two"
    assert (first / "diff/made").read_text() == "one"  # a layer does not change any more


def test_a_change_that_hides_its_time_is_found(bench: Bench) -> None:
    lowers = base(bench)
    layer = bench.layer()
    tree = prepare(bench, layer, lowers)
    info = (tree / "one").stat()
    (tree / "one").write_bytes(b"!" * info.st_size)
    os.utime(tree / "one", ns=(info.st_atime_ns, info.st_mtime_ns))
    settle(bench, layer)
    assert [row.path for row in commit(bench, layer, lowers)[1]] == ["one"]


def test_a_directory_that_was_made_again_is_another_one(bench: Bench) -> None:
    """Though the file system gives it the number of the one that was removed."""
    lowers = base(bench)
    layer = bench.layer()
    tree = prepare(bench, layer, lowers)
    shutil.rmtree(tree / "c")
    (tree / "c").mkdir()
    settle(bench, layer)
    assert [(row.kind, row.path) for row in commit(bench, layer, lowers)[1]] == [("dir", "c"), ("opaque", "c")]


def test_devices_that_cannot_be_made_are_not_removed_by_anybody(bench: Bench) -> None:
    archive = Archive()
    for name in ("nodes", "more"):
        folder(archive, name)
        device(archive, f"{name}/null")
    lower, other = bench.unpack(archive.bytes())[0], bench.base(x=b"x")
    layer = bench.layer()
    tree = prepare(bench, layer, (lower, other))
    (tree / "nodes/file").write_text("text")
    shutil.rmtree(tree / "more")
    settle(bench, layer)
    rows = commit(bench, layer, (lower, other))[1]
    assert {(row.kind, row.path) for row in rows} == {("dir", "nodes"), ("file", "nodes/file"), ("whiteout", "more")}


def test_a_tree_that_was_not_finished_is_made_again(bench: Bench) -> None:
    lowers = base(bench)
    layer = bench.layer()
    tree = prepare(bench, layer, lowers)
    (tree / "one").write_text("half")
    (layer / "tree.rows").unlink()  # it is written last
    assert (prepare(bench, layer, lowers) / "one").read_text() == "one" * 9
    (tree / "one").write_text("kept")
    assert (prepare(bench, layer, lowers) / "one").read_text() == "kept"  # what is finished stays


def test_two_at_once_make_one_tree(bench: Bench) -> None:
    lowers = base(bench)
    layer = bench.layer()
    threads = [threading.Thread(target=prepare, args=(bench, layer, lowers)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen(layer / "tree")) == set(merge([index(one) for one in lowers])) - {"."}
    settle(bench, layer)
    assert commit(bench, layer, lowers)[1] == []


def view(lowers: tuple[Path, ...], layer: Path) -> BoxView:
    return BoxView(lowers=diffs(lowers), upper=str(layer / "diff"), work=str(layer / "work"), room=str(layer))


def test_changes_and_their_size(bench: Bench) -> None:
    lowers = base(bench)
    layer = bench.layer()
    tree = prepare(bench, layer, lowers)
    (tree / "a/b/added").write_text("12345")
    (tree / "one").write_text("123")
    shutil.rmtree(tree / "two")
    (tree / "dev").mkdir()  # what the engine makes for its own mounts
    (tree / "etc/hosts").touch()
    found = bench.worker.changes(view(lowers, layer))
    assert [(one.kind, one.path) for one in found] == [
        ("C", "/a"),
        ("C", "/a/b"),
        ("A", "/a/b/added"),
        ("C", "/one"),
        ("D", "/two"),
    ]
    assert bench.worker.measure([str(tree)]) == (8,)


def test_changes_of_an_overlay_are_changes_of_the_tree(bench: Bench) -> None:
    """The host had overlay when the container was made, and has not any more."""
    lowers = base(bench)
    layer = bench.layer()
    (layer / "diff/a").mkdir()
    (layer / "diff/a/late").write_text("text")
    (layer / "diff/one").write_text("other")
    tree = prepare(bench, layer, lowers)
    assert (tree / "a/b/one").exists()
    found = bench.worker.changes(view(lowers, layer))
    assert [(one.kind, one.path) for one in found] == [("C", "/a"), ("A", "/a/late"), ("C", "/one")]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system that is full soon."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.root
def test_a_disk_that_is_full_leaves_no_tree(bench: Bench, small: Path) -> None:
    lowers = (bench.base(large=b"x" * (2 << 20)), bench.base(other=b"y"))
    layer = small / "layer"
    (layer / "diff").mkdir(parents=True)
    (layer / "work").mkdir()
    here = idmap(bench.ids)
    assert here is not None
    late = LayerWorkerClient(here, backing="copy")  # one that sees the mount
    root = Root(lowers=diffs(lowers), upper=str(layer / "diff"), work=str(layer / "work"))
    try:
        with pytest.raises(StoreFull, match="no space left"):
            late.prepare(PrepareRequest(root=root))
    finally:
        late.close()
    assert sorted(path.name for path in layer.iterdir()) == ["diff", "work"]
