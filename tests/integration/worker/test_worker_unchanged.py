"""What a step has copied up and not changed is no part of its layer, as with containerd's differ."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.worker.conftest import Bench, diffs, index

TIME = 1_600_000_000


@pytest.fixture
def base(bench: Bench) -> Path:
    """``d`` (0755) with the file ``f``, the empty ``e``, the link ``l`` and the directory ``sub`` with ``g``."""
    layer = bench.base(**{"d": 0o755, "d/f": b"same", "d/e": b"", "d/l": "f", "d/sub": 0o755, "d/sub/g": b"deep"})
    for row in index(layer):
        if row.kind == "file":
            assert (row.uid, row.gid) == (0, 0)
    return layer


def upper(bench: Bench, base: Path) -> Path:
    """A layer into which all of ``base`` was copied up."""
    layer = bench.layer()
    diff = layer / "diff"
    for row in index(base):
        path = diff / row.path
        if row.kind == "dir":
            path.mkdir()
            path.chmod(row.mode)
        elif row.kind == "symlink":
            path.symlink_to(row.link)
            os.utime(path, ns=(row.mtime, row.mtime), follow_symlinks=False)
        else:
            path.write_bytes((base / "diff" / row.path).read_bytes())
            path.chmod(row.mode)
            os.utime(path, ns=(row.mtime, row.mtime))
    return layer


def left(bench: Bench, layer: Path, *lowers: Path) -> dict[str, str]:
    bench.worker.commit(str(layer), lowers=diffs(lowers))
    return {row.path: row.kind for row in index(layer)}


def test_what_was_only_copied_up_is_left_out(bench: Bench, base: Path) -> None:
    assert left(bench, upper(bench, base), base) == {}


def test_a_layer_that_stands_on_nothing_has_it_all(bench: Bench, base: Path) -> None:
    assert set(left(bench, upper(bench, base))) == {"d", "d/e", "d/f", "d/l", "d/sub", "d/sub/g"}


@pytest.mark.parametrize("change", ["content", "size", "mode", "time", "kind", "link"])
def test_what_was_changed_stays_with_the_directories_above(bench: Bench, base: Path, change: str) -> None:
    layer = upper(bench, base)
    path = layer / "diff/d/sub/g"
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    if change == "content":
        path.write_bytes(b"peed")
        os.utime(path, ns=times)
    elif change == "size":
        path.write_bytes(b"deeper")
        os.utime(path, ns=times)
    elif change == "mode":
        path.chmod(0o604)
    elif change == "time":
        os.utime(path, ns=(times[0], times[1] + 1))
    elif change == "kind":
        path.unlink()
        path.symlink_to("x")
        os.utime(path, ns=times, follow_symlinks=False)
    else:
        link = layer / "diff/d/l"
        when = link.lstat().st_mtime_ns
        link.unlink()
        link.symlink_to("e")
        os.utime(link, ns=(when, when), follow_symlinks=False)
        assert left(bench, layer, base) == {"d": "dir", "d/l": "symlink"}
        return
    assert set(left(bench, layer, base)) == {"d", "d/sub", "d/sub/g"}


def test_a_directory_counts_by_its_mode_and_not_by_its_time(bench: Bench, base: Path) -> None:
    layer = upper(bench, base)
    os.utime(layer / "diff/d", (1, 1))
    (layer / "diff/d/sub").chmod(0o700)
    assert left(bench, layer, base) == {"d": "dir", "d/sub": "dir"}


def test_a_new_name_of_an_old_file_is_a_file_of_its_own(bench: Bench, base: Path) -> None:
    layer = upper(bench, base)
    for name in ("new", "newer"):
        os.link(layer / "diff/d/f", layer / f"diff/d/{name}")
    bench.worker.commit(str(layer), lowers=diffs((base,)))
    rows = {row.path: row for row in index(layer)}
    assert {path: row.kind for path, row in rows.items()} == {"d": "dir", "d/new": "file", "d/newer": "hardlink"}
    assert (rows["d/new"].size, rows["d/newer"].link) == (4, "d/new")


def test_what_a_layer_between_has_removed_is_new(bench: Bench, base: Path) -> None:
    gone = bench.layer()
    (gone / "diff/d").mkdir()
    (gone / "diff/d/.wh.f").touch()
    assert left(bench, gone, base) == {"d": "dir", "d/f": "whiteout"}
    assert set(left(bench, upper(bench, base), base, gone)) == {"d", "d/f"}


def test_an_emptied_directory_stays(bench: Bench, base: Path) -> None:
    layer = bench.layer()
    (layer / "diff/d").mkdir(parents=True)
    (layer / "diff/d").chmod(0o755)
    name = "trusted.overlay.opaque" if bench.ids == "identity" else "user.overlay.opaque"
    os.setxattr(layer / "diff/d", name, b"y")
    bench.worker.commit(str(layer), lowers=diffs((base,)))
    assert {row.kind for row in index(layer)} == {"dir", "opaque"}
