"""The commands of docs/howto/long-running-containers.md, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Here

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "long-running-containers.md"


def test_the_commands_of_the_page(here: Here, folder: Path, tmp_path: Path) -> None:
    here.engine.tag("lively", "box")
    own = tmp_path / "contextkernel"
    own.write_text(f'#!/bin/sh\nexec {sys.executable} -m contextkernel "$@"\n')
    own.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "CONTEXTKERNEL_ROOT": str(folder / "store"),
        "PYTHONPATH": str(PAGE.parents[2]),
    }
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        script = "\n".join(line[2:] for line in block.splitlines() if line.startswith("$ "))
        expected = [line for line in block.splitlines() if not line.startswith("$ ")]
        done = subprocess.run(
            ["sh", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == expected
