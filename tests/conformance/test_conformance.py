"""Every case gives what docker gave for it, and what docker refused is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from judge import ours
from judge.cases import CASES, Case, cases

from contextkernel import Engine

ALL = cases()
#: what a range of ids cannot do: the kernel makes no device nodes there, and has no ids beyond it; with all ids, and
#: with a single one (test_one_id.py), whose changes of owner are noted, it can be done
BEYOND_A_RANGE = {"run/device-nodes", "run/owners-by-many-programs"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("conformance") / "store") as engine:
        yield engine


@pytest.fixture(scope="module")
def base(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return ours.prepare(engine, tmp_path_factory.mktemp("base"))


def test_every_case_has_a_result() -> None:
    """Recorded or written by hand; a refusal says how ours reads."""
    assert {path.parent for path in CASES.glob("*/*/expected.json")} == {case.folder for case in ALL}
    for case in ALL:
        assert ("refused" in case.expected) == (case.refused is not None), case.name
    assert len(ALL) >= 150


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name.replace("/", "-"))
def test_the_result_is_dockers(case: Case, engine: Engine, base: dict[str, Any], tmp_path: Path) -> None:
    problems = ours.verdict(case, ours.result(case, engine, base, tmp_path), case.expected)
    if case.name in BEYOND_A_RANGE and engine.host_report().tier == "rootless":
        assert problems
        assert problems[0].startswith("refused: ours StepFailed")
    else:
        assert problems == []
