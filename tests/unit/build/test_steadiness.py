"""Files that change between the key and the end of a COPY: an error, and nothing wrong in the cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from contextkernel.errors import InvalidInput
from contextkernel.model.layers import CopyRequest
from contextkernel.testing.build_fakes import TreeWorker
from tests.unit.build.conftest import Bench

TEXT = "FROM scratch\nCOPY src /x\n"


class Meddler(TreeWorker):
    """Something else happens to the context while files are copied.

    Args:
        act: what happens, once.
        late: after they were copied.
    """

    def __init__(self, act: Callable[[], object], *, late: bool = False) -> None:
        super().__init__()
        self._act = act
        self._late = late

    def copy(self, request: CopyRequest) -> tuple[str, ...]:
        first = not self.copies
        if first and not self._late:
            self._act()
        notes = super().copy(request)
        if first and self._late:
            self._act()
        return notes


@pytest.fixture
def src(bench: Bench) -> Path:
    path = bench.context / "src"
    (path / "sub").mkdir(parents=True)
    (path / "a").write_text("one")
    (path / "sub" / "b").write_text("two")
    return path


def remove(path: Path) -> None:
    path.unlink()


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "content of the same size": (lambda src: (src / "a").write_text("eno"), "'src/a' of the build context was changed"),
    "mode": (lambda src: (src / "sub" / "b").chmod(0o600), "'src/sub/b' of the build context was changed"),
    "a new file": (lambda src: (src / "sub" / "c").write_text("new"), "'src/sub/c' of the build context was added"),
    "a removed file": (lambda src: remove(src / "sub" / "b"), "'src/sub/b' of the build context was removed"),
    "another kind": (lambda src: ((src / "a").unlink(), (src / "a").mkdir()), "'src/a' of the build context was chan"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_an_error_and_leaves_no_entry(change: str, bench: Bench, src: Path) -> None:
    act, told = CHANGES[change]
    bench.worker = Meddler(lambda: act(src))
    with pytest.raises(InvalidInput, match=told) as caught:
        bench.build(TEXT)
    assert caught.value.span is not None
    assert "build again" in str(caught.value.hint)
    # the next build copies what is there now: nothing was kept under the old key
    assert bench.build(TEXT)
    assert len(bench.worker.copies) == 2


def test_a_file_that_was_only_touched_is_the_same(bench: Bench, src: Path) -> None:
    bench.worker = Meddler(lambda: os.utime(src / "a", (1, 1)))
    bench.build(TEXT)
    bench.build(TEXT)
    assert len(bench.worker.copies) == 1


def test_what_is_ignored_may_change(bench: Bench, src: Path) -> None:
    (bench.context / ".dockerignore").write_text("src/*.log\n")
    bench.worker = Meddler(lambda: (src / "new.log").write_text("line"))
    bench.build(TEXT)
    assert len(bench.worker.copies) == 1


def test_a_source_that_is_gone(bench: Bench, src: Path) -> None:
    bench.worker = Meddler(lambda: src.rename(bench.context / "other"), late=True)
    with pytest.raises(InvalidInput, match="'src' is not in the build context any more"):
        bench.build(TEXT)
