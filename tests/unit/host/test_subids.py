from __future__ import annotations

from pathlib import Path

import pytest

from contextkernel.host.subids import own_map, parse_ranges, range_map, read_idmap
from contextkernel.model.ids import IdMap, IdRange

FILE = """\
# comment
root:1:5
anna:100000:65536
1001:300000:1000

anna:500000:10
broken
anna:x:10
anna:1:0
anna:7:-3
"""


def test_ranges_are_found_by_name_and_by_uid() -> None:
    assert parse_ranges(FILE, ("anna", "1001")) == ((100000, 65536), (300000, 1000), (500000, 10))
    assert parse_ranges(FILE, ("anna",)) == ((100000, 65536), (500000, 10))
    assert parse_ranges(FILE, ("bert", "1002")) == ()


def test_own_id_is_zero_and_the_ranges_follow() -> None:
    assert range_map(1001, ((100000, 65536), (500000, 10))) == (
        IdRange(0, 1001, 1),
        IdRange(1, 100000, 65536),
        IdRange(65537, 500000, 10),
    )


def test_no_more_ranges_than_the_kernel_takes() -> None:
    assert len(range_map(1, tuple((n * 10, 10) for n in range(1, 1000)))) == 340


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("         0          0 4294967295\n", (IdRange(0, 0, 65536),)),
        ("0 1000 1\n", ()),
        ("0 1000 1\n1 100000 65536\n", (IdRange(0, 0, 1), IdRange(1, 1, 65535))),
        ("1 100000 65536\n0 1000 1\n", (IdRange(0, 0, 1), IdRange(1, 1, 65535))),
        ("0 1000 10\n20 100000 65536\n", (IdRange(0, 0, 10),)),
        ("5 1000 100\n", ()),
        ("", ()),
    ],
)
def test_ids_of_a_namespace_one_to_one(text: str, expected: tuple[IdRange, ...]) -> None:
    assert own_map(text) == expected


def test_both_files_must_have_a_range(tmp_path: Path) -> None:
    both, none = tmp_path / "subuid", tmp_path / "subgid"
    both.write_text("anna:100:50\n")
    none.write_text("other:1:1\n")
    assert read_idmap(7, 8, "anna", subuid=str(both), subgid=str(none)) is None
    assert read_idmap(7, 8, "anna", subuid=str(both), subgid=str(tmp_path / "missing")) is None
    assert read_idmap(7, 8, "anna", subuid=str(both), subgid=str(both)) == IdMap(
        (IdRange(0, 7, 1), IdRange(1, 100, 50)), (IdRange(0, 8, 1), IdRange(1, 100, 50))
    )
