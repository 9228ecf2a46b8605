"""Room that is kept back for the day the disk is full."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contextkernel.store import Store, reserve


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the file system says it has left, in the last element."""
    left = [1 << 40]
    monkeypatch.setattr(reserve, "free", lambda _root: left[-1])
    return left


def test_it_is_made_with_the_first_session_and_has_blocks(tmp_path: Path, room: list[int]) -> None:
    with Store.open(tmp_path / "store") as store:
        path = Path(store.root, "reserve")
        assert not path.exists()
        assert store.temporary_path()
        assert path.stat().st_blocks * 512 >= reserve.SIZE
    assert path.exists()
    assert room == [1 << 40]


def test_it_is_not_made_where_room_is_short(tmp_path: Path, room: list[int]) -> None:
    room.append(2 * reserve.SIZE - 1)
    reserve.renew(str(tmp_path))
    assert os.listdir(tmp_path) == []
    room.append(2 * reserve.SIZE)
    reserve.renew(str(tmp_path))
    assert os.listdir(tmp_path) == ["reserve"]


def test_it_is_given_up_when_next_to_nothing_is_left_and_not_earlier(tmp_path: Path, room: list[int]) -> None:
    reserve.renew(str(tmp_path))
    room.append(64 << 10)
    reserve.ease(str(tmp_path))
    assert os.listdir(tmp_path) == ["reserve"]
    room.append(1)
    reserve.ease(str(tmp_path))
    assert os.listdir(tmp_path) == []
    reserve.ease(str(tmp_path))


def test_what_cannot_be_had_is_done_without(tmp_path: Path, room: list[int]) -> None:
    reserve.renew(str(tmp_path / "nowhere"))
    reserve.give_up(str(tmp_path / "nowhere"))
    assert room


def test_free_space_is_the_users(tmp_path: Path) -> None:
    assert 0 < reserve.free(str(tmp_path)) < 1 << 62
    assert reserve.free(str(tmp_path / "nowhere")) == 1 << 62
