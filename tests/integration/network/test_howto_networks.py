"""The commands of docs/howto/networks.md, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "networks.md"
#: instead of a program that not every machine has; waits until the server listens
CURL = """
import sys, time, urllib.request
for attempt in range(400):
    try:
        print(urllib.request.urlopen(sys.argv[-1], timeout=20).read().decode(), end='')
        break
    except OSError:
        time.sleep(0.05)
"""


def _waiting(command: str) -> list[str]:
    """A command that waits until the server that was started listens; the reader of the page takes longer anyway."""
    name = re.search(r"run -d --name (\w+)", command)
    if name is None:
        return []
    ask = f"contextkernel run --rm --network container:{name[1]} busybox wget -q -O - http://127.0.0.1/"
    return [f"until {ask} >&2; do :; done"]


@pytest.mark.timeout(120)
def test_the_commands_of_the_page(engine, archive: Path, tmp_path: Path) -> None:
    engine.import_image(str(archive), "busybox")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (
        ("contextkernel", f'exec {sys.executable} -m contextkernel --root {engine.root} "$@"'),
        ("curl", f'exec {sys.executable} {tools}/curl.py "$@"'),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    (tools / "curl.py").write_text(CURL)
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(PAGE.parents[2]),
        "no_proxy": "127.0.0.1",
    }
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
        expected = [line for line in block.splitlines() if not line.startswith("$ ")]
        quiet = ("run -d", "network create")
        script = "\n".join(
            f"{command} >&2" if any(word in command for word in quiet) else command
            for written in commands
            for command in (written, *_waiting(written))
        )
        done = subprocess.run(
            ["sh", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == expected
