"""The page on compatibility counts the conformance cases that there are."""

from __future__ import annotations

import re
from pathlib import Path

from dockercli.agreement import table
from dockercli.cases import cases, command_lines
from dockercli.verdicts import different

ROOT = Path(__file__).parents[3]


def test_the_cases_are_counted() -> None:
    page = (ROOT / "docs" / "compatibility.md").read_text()
    first = page.partition("## Public suites")[0]
    groups = {name: int(count) for name, count in re.findall(r"^\| ([a-z]+) \| (\d+) \|", first, re.MULTILINE)}
    found: dict[str, int] = {}
    for path in (ROOT / "tests" / "conformance" / "cases").glob("*/*/expected.json"):
        group = path.parent.parent.name
        found[group] = found.get(group, 0) + 1
    assert groups == found
    assert f"holds {sum(found.values())} cases" in page


def test_the_command_lines_are_counted() -> None:
    page = (ROOT / "docs" / "compatibility.md").read_text()
    assert table(cases()) in page, "run: python tests/docker_cli/run.py table"
    assert f"{sum(map(command_lines, cases())):,} command lines" in page


def test_the_reasons_are_told() -> None:
    """What differs on purpose is on the page, in the words that stand beside the case."""
    page = " ".join((ROOT / "docs" / "compatibility.md").read_text().split())
    for entry in different().values():
        assert entry["why"] in page, entry["case"]
