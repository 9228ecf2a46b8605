"""The commands of docs/howto/volumes-and-files.md, as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "volumes-and-files.md"


def test_every_command_works(do, engine, tmp_path):
    lines = [
        line
        for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(lines) > 12
    assert all(line.startswith("$ contextkernel ") for line in lines)
    engine.tag("plain", "debian")
    try:
        out = {}
        for line in lines:
            told = do(*shlex.split(line)[2:])
            assert told.code == 0, (line, told)
            out[line] = told.out
        assert "hello\n" in out.values()
        assert (tmp_path / "back" / "copied").exists()
        assert do("run", "--rm", "my-image").out.splitlines()[:2] == ["afile", "bin"]
        assert "A" not in out["$ contextkernel diff box"]
    finally:
        do("rmi", "-f", "my-image")
        do("rmi", "debian")
