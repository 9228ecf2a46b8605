"""The commands of docs/howto/reproducible-builds.md, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "reproducible-builds.md"


def test_the_commands_of_the_page(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /app\n")
    tools = tmp_path / "bin"
    tools.mkdir()
    own = tools / "contextkernel"
    own.write_text(f'#!/bin/sh\nexec {sys.executable} -m contextkernel "$@"\n')
    own.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "CONTEXTKERNEL_ROOT": str(tmp_path / "store"),
        "PYTHONPATH": str(PAGE.parents[2]),
    }
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
        expected = [line for line in block.splitlines() if not line.startswith("$ ")]
        script = "\n".join(f"{command} >&2" if " -q " in command else command for command in commands)
        done = subprocess.run(
            ["sh", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == expected
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
