"""A monitor looks whether its container has written too much."""

from __future__ import annotations

from pathlib import Path

import pytest

from contextkernel.model.room import Growth
from contextkernel.runtime.loop import Loop
from contextkernel.runtime.room import RoomKeeper


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    left = [10_000]
    monkeypatch.setattr("contextkernel.linux.room.free_space", lambda _root: left[0])
    return left


def test_nobody_looks_without_a_bound(clock: list[float]) -> None:
    loop = Loop(lambda: clock[0])
    RoomKeeper(None, loop, lambda *_: pytest.fail("told"))
    assert loop._patience() is None


def test_it_is_told_once_with_what_there_is(tmp_path: Path, clock: list[float], free: list[int]) -> None:
    loop, told = Loop(lambda: clock[0]), []
    RoomKeeper(Growth(root="/", directory=str(tmp_path), size=0, most=5000), loop, lambda *words: told.append(words))
    for written, expected in ((4000, 0), (5000, 0), (5001, 1), (9000, 1)):
        (tmp_path / "file").write_bytes(b"x" * written)
        free[0] = 10_000 - 2 * written  # somebody else writes as much
        clock[0] += 1.0
        while loop._patience() == 0:
            loop.turn()
        assert len(told) == expected
    assert told == [
        (5001, "killed: it has written 5kB, and the store had room for 5kB (CONTEXTKERNEL_MAX_SIZE)"),
    ]
    assert loop._patience() is None
