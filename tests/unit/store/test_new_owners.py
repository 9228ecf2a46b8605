"""Whose new files are where the host maps a single id."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest

from contextkernel.linux import statx
from contextkernel.model.layers import Entry
from contextkernel.model.recorded import RecordedOwner, Row, Run
from contextkernel.store.worker_new_owners import noted_user, with_new_owners
from contextkernel.store.worker_records import Marks, Records

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


def look(directory: Path, name: bytes) -> statx.Facts:
    descriptor = os.open(directory, os.O_PATH)
    try:
        return statx.look(descriptor, name)
    finally:
        os.close(descriptor)


BELOW = ({}, {"old": (3, 4), "gone": (3, 4)})


def marks(uid: int | None = None, gid: int | None = None, **facts: object) -> Marks:
    return Marks(RecordedOwner(uid, gid), **{"fresh": True, **facts})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("noted", "expected"),
    [
        (marks(5, 6, new=False), (5, 6)),
        (marks(0, 0, new=False), (0, 0)),
        (marks(5, new=False), (5, 4)),
        (marks(gid=6, new=False), (3, 6)),
        (marks(5, 6, new=False, fresh=False), (3, 4)),  # came up from below, where the index knows better
        (marks(5, 6), (5, 6)),
        (marks(new=True), (0, 0)),  # removed, and made anew
        (marks(5, new=True), (5, 0)),
        (marks(0, 0, new=True), (3, 4)),  # rewritten by a program that saw root
        (marks(0, 0, new=True, earlier=RecordedOwner(7, 8)), (7, 8)),
        (marks(new=False), (3, 4)),
        (marks(), (3, 4)),
    ],
)
def test_what_is_noted_of_a_file_that_was_there_before(noted: Marks, expected: tuple[int, int]):
    found = with_new_owners([row("old", owner=(3, 4))], BELOW, (0, 0), {"old": noted})
    assert owners(found) == {"old": expected}


@pytest.mark.parametrize(
    ("noted", "expected"),
    [
        (marks(5, 6, new=True), (5, 6)),
        (marks(5, new=True), (5, 2000)),
        (marks(0, 0, new=True), (0, 0)),
        (marks(0, 0, new=True, earlier=RecordedOwner(7, 8)), (7, 8)),
        (marks(5, 6, new=True, fresh=False), (5, 6)),  # copied with its attributes, or renamed
        (marks(new=True), USER),
        (marks(), USER),
    ],
)
def test_what_is_noted_of_a_file_that_was_not(noted: Marks, expected: tuple[int, int]):
    found = with_new_owners([row("new")], BELOW, USER, {"new": noted})
    assert owners(found) == {"new": expected}


def test_what_a_copy_wants_comes_before_all_that_is_noted():
    found = with_new_owners([row("old", owner=(9, 9))], ({"old": (9, 9)}, {}), USER, {"old": marks(5, 6, new=True)})
    assert owners(found) == {"old": (9, 9)}


def test_a_table_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path):
    (tmp_path / "diff").mkdir()
    (tmp_path / "diff/link").symlink_to("x")
    facts = look(tmp_path / "diff", b"link")
    key = stat.S_IFLNK, facts.inode, facts.made, b"link"
    rows = [Row(*key, uid=5), Row(*key, gid=6)]
    lines = [msgspec.json.encode(one) for one in (Run(overlay=True, run="ab"), *rows)]
    (tmp_path / "recorded").write_bytes(b"\n".join(lines) + b'\n{"k":4096')
    records = Records(str(tmp_path))
    assert records.kept
    assert {path: tuple(owner) for path, owner in records.all(str(tmp_path / "diff"))} == {"link": (5, 6)}


def test_another_link_with_the_number_of_the_old_one_has_nothing_of_it(tmp_path: Path):
    (tmp_path / "diff").mkdir()
    (tmp_path / "diff/link").symlink_to("x")
    facts = look(tmp_path / "diff", b"link")
    old = Row(stat.S_IFLNK, facts.inode, facts.made - 10**9, b"link", 5, 6)
    (tmp_path / "recorded").write_bytes(msgspec.json.encode(old) + b"\n")
    assert not any(any(owner) for _, owner in Records(str(tmp_path)).all(str(tmp_path / "diff")))
