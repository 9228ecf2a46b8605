"""The security page names tests; each of them exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
NAMED = re.compile(r"`(tests/[\w/.-]+\.py)::(\w+)`")


def test_every_named_test_exists() -> None:
    named = NAMED.findall((ROOT / "docs" / "security.md").read_text())
    assert len(named) >= 15
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in _text(ROOT / file)]
    assert missing == []


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
