"""Whose new files are where the host maps a single id."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contextkernel.model.layers import Entry
from contextkernel.store.worker_new_owners import noted_user, with_new_owners

USER = (1000, 2000)


def row(path: str, kind: str = "file", mode: int = 0o644, owner: tuple[int, int] = (0, 0), link: str = "") -> Entry:
    return Entry(path=path, kind=kind, mode=mode, uid=owner[0], gid=owner[1], link=link)


def owners(rows: list[Entry]) -> dict[str, tuple[int, int]]:
    return {one.path: (one.uid, one.gid) for one in rows}


def test_what_is_known_stays_and_what_is_new_is_the_users():
    rows = [row("a", owner=(3, 4)), row("b"), row("c")]
    found = with_new_owners(rows, ({"a"}, {"b": (0, 0)}), USER)
    assert owners(found) == {"a": (3, 4), "b": (0, 0), "c": USER}


def test_a_directory_hands_its_group_down_as_long_as_it_has_the_bit():
    rows = [
        *(row("d", "dir", 0o2775, (0, 50)), row("d/e", "dir", 0o2755), row("d/e/f"), row("d/g", "dir", 0o755)),
        row("d/g/h"),
    ]
    found = owners(with_new_owners(rows, ({"d"},), (0, 0)))
    assert found == {"d": (0, 50), "d/e": (0, 50), "d/e/f": (0, 50), "d/g": (0, 50), "d/g/h": (0, 0)}


def test_names_of_one_file_have_one_owner():
    rows = [row("a"), row("b", "hardlink", link="a"), row("c", "hardlink", owner=(5, 6), link="a")]
    assert owners(with_new_owners(rows, ({"c"},), USER)) == dict.fromkeys("abc", (5, 6))
    assert owners(with_new_owners(rows[:2], (), USER)) == dict.fromkeys("ab", USER)


def test_the_copy_of_a_rewritten_file_of_secrets_has_its_owner():
    rows = [row("etc/shadow", owner=(0, 42)), row("etc/shadow-"), row("etc/other-")]
    assert owners(with_new_owners(rows, ({"etc/shadow"},), (0, 0)))["etc/shadow-"] == (0, 42)
    known = ({"etc/shadow", "etc/shadow-"},)
    assert owners(with_new_owners(rows, known, (0, 0)))["etc/shadow-"] == (0, 0)


def test_marks_have_no_owner():
    rows = [row("a", "whiteout"), row("d", "dir"), row("d", "opaque")]
    assert [(one.kind, one.uid) for one in with_new_owners(rows, (), USER)] == [
        ("whiteout", 0),
        ("dir", 1000),
        ("opaque", 0),
    ]


@pytest.mark.parametrize(
    ("value", "user"), [(None, (0, 0)), (b"7:8", (7, 8)), (b"nonsense", (0, 0)), (b"1:2:3", (0, 0)), (b"", (0, 0))]
)
def test_the_note_on_the_root(tmp_path: Path, value: bytes | None, user: tuple[int, int]):
    if value is not None:
        os.setxattr(tmp_path, "user.contextkernel.user", value)
    assert noted_user(str(tmp_path)) == user
