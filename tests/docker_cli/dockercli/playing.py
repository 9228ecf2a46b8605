"""A case is played: its lines are given to a tool one after the other, and what each did is written down."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from typing import Any

from .cases import Case
from .normal import Normal
from .tools import Tool

#: seconds that one line may take
PATIENCE = 60
#: exit code of a line that did not end
STUCK = -1


def play(case: Case, tool: Tool) -> list[dict[str, Any]]:
    """Give a case's lines to a tool.

    Args:
        case: the case.
        tool: the tool.

    Returns:
        For each line ``line`` (its text), ``code``, ``out`` (normalised) and ``err`` (normalised).
    """
    normal = Normal(case.text)
    here = tempfile.mkdtemp(dir=tool.folder, prefix="case-")
    try:
        for name, text in case.files.items():
            path = os.path.join(here, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        found = []
        for line in case.lines:
            if found and found[-1]["code"] == STUCK:  # whatever comes now would tell nothing
                found.append({"line": line.text, "code": STUCK, "out": "", "err": "(not tried)"})
                continue
            code, out, err = _run(line.text, here, {**tool.environment, "N": case.prefix})
            # neither a place of this run's own nor the tool's name is part of the result
            out, err = (
                text.replace(os.fsencode(here), b"$PWD").replace(b"contextkernel", b"docker") for text in (out, err)
            )
            found.append({"line": line.text, "code": code, "out": normal(out, line.treatments), "err": normal(err, ())})
        return found
    finally:
        # root's own files in a bind mount of an ordinary user may be another id's
        shutil.rmtree(here, ignore_errors=True)


def _run(line: str, here: str, environment: dict[str, str]) -> tuple[int, bytes, bytes]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        # files, not pipes: a program that a line leaves behind must not keep the judge waiting
        process = subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=here,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            code = STUCK
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        out.seek(0)
        err.seek(0)
        return code, out.read(), err.read() + (b"(it did not end)\n" if code == STUCK else b"")
