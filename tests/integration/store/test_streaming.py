"""Large images and large outputs go through in pieces: no process of the engine may have as much memory as they are."""

from __future__ import annotations

import subprocess
import sys

import pytest

SIZE = 64 << 20
MOST = 60 << 20  # data of each process (RLIMIT_DATA): the interpreter, the engine's modules, and some pieces

SCRIPT = f"""
import resource, sys, threading
threading.stack_size(1 << 20)  # what a thread's stack may become counts as data, used or not
resource.setrlimit(resource.RLIMIT_DATA, ({MOST}, {MOST}))
from contextkernel import Engine

folder = sys.argv[1]
with Engine(folder + "/store") as engine:
    try:
        bytes(2 * {MOST})
    except MemoryError:
        print("bounded")
    engine.import_image(folder + "/base.tar", "base")
    seen = [0, 0]
    def hear(_stream, data):
        seen[0] += len(data)
    def report(event):
        seen[1] += len(getattr(event, "text", ""))
    fill = ["sh", "-c", "head -c {SIZE} /dev/zero > /fill; head -c {SIZE} /dev/zero | tr '\\\\0' x"]
    done = engine.run("base", fill, name="made", network="none", on_output=hear)
    print(seen[0], len(done.stdout) + done.left_out, len(done.stdout) < {MOST} // 4)
    engine.commit("made", "big")
    engine.remove_container("made")
    engine.save(["big"], folder + "/big.tar")
    engine.remove_image("big")
    print(engine.load(folder + "/big.tar"))
    yes = "yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -c {SIZE}"
    text = "FROM big\\nRUN " + yes + "\\nCOPY --from=big /fill /copy\\n"
    engine.build({{"Dockerfile": text}}, tags=["copied"], report=report)
    print(seen[1] > {SIZE}, [row.size > {SIZE} for row in engine.images("copied")])
"""


@pytest.mark.timeout(300)
def test_nothing_large_is_ever_in_memory(tmp_path):
    from judge.base import write_base

    write_base(tmp_path / "base.tar")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "bounded",
        f"{SIZE} {SIZE} True",
        "('big:latest',)",
        "True [True]",
    ]
