"""``.ci/test`` fails when one of its checks does."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / ".ci" / "test"
CHECKS = ["-m ruff check .", "-m ruff format --check .", "-m mypy"]


def lint(folder: Path, failing: str) -> int:
    """The exit code of the lint part, with a Python that says yes to everything but ``failing``."""
    (folder / ".ci").mkdir()
    shutil.copy(SCRIPT, folder / ".ci" / "test")
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$*"\n[ "$*" != "{failing}" ]\n')
    python.chmod(0o755)
    result = subprocess.run([folder / ".ci" / "test", "lint"], capture_output=True, text=True, check=False)
    assert failing in ("", *result.stdout.splitlines())
    return result.returncode


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_that_fails_fails_the_part(tmp_path: Path, check: str) -> None:
    assert lint(tmp_path, check) != 0


def test_all_of_them_pass(tmp_path: Path) -> None:
    assert lint(tmp_path, "") == 0
