"""Where a single id is mapped images come out as docker's all the same, owners and devices in them too.

The cases that have to do with owners, users and programs, built by an engine that uses no more than one id.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from judge import ours
from judge.cases import Case, cases

from contextkernel import Engine
from contextkernel.host import inspect
from contextkernel.model.ids import IdMap, IdRange

CASES = cases("run/*", "stages/copy-*", "mount/*-owner", "mount/insecure-user", "mount/secret-keys", "mount/working-*")

#: what cannot be right, and why: lines that differ by nothing but size and digest are what a program saw
DIFFERENT = {
    "mount/cache-owner": "stat shows root",
    "mount/insecure-user": "the program is root",
    "mount/secret-keys": "stat shows root",
    "mount/working-directory-is-the-users": "stat shows root",
    "run/ids": "the program is root",
    "run/owners-by-many-programs": "cp -p, and busybox's chown of a user alone, set the owner that they see",
}
SEEN_BY_PROGRAMS = [
    "d/p: ours file 0644 0:0 2 4355a46b19d348dc, docker file 0644 1:2 2 4355a46b19d348dc",
    "d/r: ours dir 0755 30:0, docker dir 0755 30:7",
]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    root = tmp_path_factory.mktemp("one-id") / "store"
    found = inspect(str(root))
    if found.report.tier not in ("rootful", "rootless", "rootless-single"):
        pytest.skip("this host allows no user namespaces")
    one = IdMap((IdRange(0, os.geteuid(), 1),), (IdRange(0, os.getegid(), 1),))
    report = msgspec.structs.replace(found.report, tier="rootless-single")
    with Engine(root, host=msgspec.structs.replace(found, idmap=one, report=report)) as made:
        yield made


@pytest.fixture(scope="module")
def base(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return ours.prepare(engine, tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace("/", "-"))
def test_the_result_is_dockers(case: Case, engine: Engine, base: dict[str, Any], tmp_path: Path) -> None:
    found = ours.verdict(case, ours.result(case, engine, base, tmp_path), case.expected)
    if case.name not in DIFFERENT:
        assert found == []
    elif case.name == "run/owners-by-many-programs":
        assert found == SEEN_BY_PROGRAMS
    else:
        # no owner and no mode, only sizes and digests of content
        assert found
        for line in found:
            mine, theirs = line.partition(": ours ")[2].split(", docker ")
            assert mine.split()[:3] == theirs.split()[:3], line
