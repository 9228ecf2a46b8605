"""The page on compatibility counts the conformance cases that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_cases_are_counted() -> None:
    page = (ROOT / "docs" / "compatibility.md").read_text()
    groups = {name: int(count) for name, count in re.findall(r"^\| ([a-z]+) \| (\d+) \|", page, re.MULTILINE)}
    found: dict[str, int] = {}
    for path in (ROOT / "tests" / "conformance" / "cases").glob("*/*/expected.json"):
        group = path.parent.parent.name
        found[group] = found.get(group, 0) + 1
    assert groups == found
    assert f"holds {sum(found.values())} cases" in page
