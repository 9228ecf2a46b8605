"""Linked copies of one stage are made at the same time, and recorded in their order."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from contextkernel.errors import InvalidInput
from contextkernel.model.layers import CopyRequest
from contextkernel.testing.build_fakes import TreeWorker

TEXT = "FROM base\nCOPY --link a /one/\nCOPY --link b /two/\nCOPY --link c /three/\nRUN ls\n"


class Meeting(TreeWorker):
    """A copy is not done before another one is under way."""

    def __init__(self, parties: int = 2, fails: str = "") -> None:
        super().__init__()
        self._met = threading.Barrier(parties, timeout=60)
        self._fails = fails
        self.threads: set[int] = set()

    def copy(self, request: CopyRequest) -> tuple[str, ...]:
        self.threads.add(threading.get_ident())
        if request.destination == self._fails:
            raise InvalidInput(f"no room in {request.destination}")
        self._met.wait()
        return super().copy(request)


@pytest.fixture
def files(bench: Any) -> Any:
    bench.write({"a": "1", "b": "2", "c": "3"})
    return bench


def test_linked_copies_overlap_and_keep_their_order(files: Any) -> None:
    files.worker = Meeting(3)
    result = files.build(TEXT, jobs=4)
    assert len(files.worker.threads) == 3
    assert [name for name, _ in files.states() if "COPY" in name] == [
        "[2/5] COPY --link a /one/",
        "[3/5] COPY --link b /two/",
        "[4/5] COPY --link c /three/",
    ]
    history = [entry.created_by for entry in files.store.config(result.image).history or ()]
    assert [text.split()[2] for text in history if text.startswith("COPY")] == ["/one/", "/two/", "/three/"]


def test_the_image_is_that_of_one_after_the_other(files: Any) -> None:
    layers = []
    for jobs in (4, 1):
        result = files.build(TEXT, jobs=jobs, no_cache=True)
        layers.append(files.store.config(result.image).rootfs.diff_ids)
    assert layers[0] == layers[1]


def test_what_is_cached_is_not_copied_again(files: Any) -> None:
    files.build(TEXT, jobs=4)
    before = len(files.worker.copies)
    files.write({"a": "changed"})
    files.build(TEXT, jobs=4)
    assert len(files.worker.copies) == before + 1
    assert files.outcome()["[4/5] COPY --link c /three/"] == "cached"


def test_the_first_in_order_that_fails_is_told_and_nothing_is_left(files: Any) -> None:
    files.worker = Meeting(2, fails="/three")
    with pytest.raises(InvalidInput, match="no room in /three") as caught:
        files.build(TEXT, jobs=4)
    assert caught.value.span is not None
    assert caught.value.span.line == 4
    assert files.outcome()["[3/5] COPY --link b /two/"] == "done"
    assert threading.active_count() == 1 or not [one for one in threading.enumerate() if one.name == "copy-ahead"]


def test_a_failure_before_them_gives_them_up(files: Any) -> None:
    files.worker = Meeting(2, fails="/one")
    with pytest.raises(InvalidInput, match="no room in /one"):
        files.build(TEXT, jobs=4)
    assert not [one for one in threading.enumerate() if one.name == "copy-ahead"]
