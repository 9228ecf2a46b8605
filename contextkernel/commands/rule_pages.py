"""Writes the pages of the build checks: ``python -m contextkernel.commands.rule_pages docs/rules``."""

from __future__ import annotations

import sys
from pathlib import Path

from contextkernel.plan.checks.pages import all_pages


def write_pages(directory: Path) -> None:
    """Write every page into ``directory``, which is made if it is missing; other files there stay."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in all_pages().items():
        (directory / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
