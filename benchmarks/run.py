"""Time this engine beside docker (where one answers), in one run on one machine.

    python benchmarks/run.py [--rounds 20] [--json FILE]

Every row is measured with both engines, alternating, so that a busy machine is busy for both; the
figure is the median. Rows that docker wins are printed like the others.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "conformance" / "judge"))

CLI = [sys.executable, "-m", "contextkernel"]
DOCKER = os.environ.get("DOCKER") or shutil.which("docker", path="/usr/bin:/bin") or "docker"
BASE = "bench-base"
TEN = "FROM bench-base\n" + "".join(f"RUN echo {number} > /file{number}\n" for number in range(10))
PART4 = (HERE.parent / "notebooks" / "demos" / "docker1" / "Dockerfile").read_text()
#: the course's C program on the small base: the same seven instructions, so that caching is what is timed
PART4_SMALL = (
    PART4.replace("ubuntu:20.04", BASE)
    .replace("apt-get update", "true")
    .replace("apt-get install -y build-essential", "true")
    .replace("gcc -o hello hello.c", "cp hello.c hello")
)
STAGES = (
    "FROM bench-base AS one\nRUN sleep 1; echo > /one\nFROM bench-base AS two\nRUN sleep 1; echo > /two\n"
    "FROM bench-base\nCOPY --from=one /one /\nCOPY --from=two /two /\n"
)
MANY = "FROM bench-base\nCOPY many /many\n"
MANY_FILES = 2000

Row = tuple[str, Callable[[], object], Callable[[], object] | None]


def command(words: list[str], folder: Path | None = None) -> Callable[[], object]:
    def call() -> object:
        return subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return call


def docker_answers() -> bool:
    try:
        return subprocess.run([DOCKER, "info"], capture_output=True, check=False, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def measure(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def prepare(folder: Path, docker: bool) -> None:
    from base import write_base

    write_base(folder / "base.tar")
    subprocess.run([*CLI, "import", str(folder / "base.tar"), BASE], check=True, stdout=subprocess.DEVNULL)
    if docker:
        subprocess.run([DOCKER, "import", str(folder / "base.tar"), BASE], check=True, stdout=subprocess.DEVNULL)
    for name, text in (("ten", TEN), ("part4", PART4_SMALL), ("stages", STAGES), ("many", MANY)):
        context = folder / name
        (context / "src").mkdir(parents=True)
        (context / "Dockerfile").write_text(text)
        (context / "src" / "hello.c").write_text("int main(void) { return 0; }\n")
        if name == "many":
            for number in range(MANY_FILES):
                file = context / "many" / str(number % 20) / f"{number}.txt"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"{number}\n" * 100)
        command([*CLI, "build", "-t", f"bench-{name}", "."], context)()
        if docker:
            command([DOCKER, "build", "-t", f"bench-{name}", "."], context)()


def rows(folder: Path, docker: bool) -> list[Row]:
    import pandas as pd  # noqa: F401 - Engine.run is timed in a process as big as a notebook's

    from contextkernel import Engine

    engine = Engine()
    engine.run(BASE, ["true"], network="none", remove=True)  # the launcher starts once per kernel

    def peer(words: list[str], where: Path | None = None) -> Callable[[], object] | None:
        return command([DOCKER, *words], where) if docker else None

    run = ["run", "--rm", "--network", "none", BASE, "true"]
    part4, ten, stages, many = (folder / name for name in ("part4", "ten", "stages", "many"))
    return [
        ("run --rm --network none (command line)", command([*CLI, *run]), peer(run)),
        (
            "the same as Engine.run, pandas imported",
            lambda: engine.run(BASE, ["true"], network="none", remove=True),
            peer(run),
        ),
        (
            "all-cached rebuild, 7 steps (command line)",
            command([*CLI, "build", "-t", "bench-part4", "."], part4),
            peer(["build", "-t", "bench-part4", "."], part4),
        ),
        (
            "all-cached rebuild, 7 steps, Engine.build",
            lambda: engine.build(str(part4), tags=["bench-part4"]),
            peer(["build", "-t", "bench-part4", "."], part4),
        ),
        (
            "uncached build of 10 small steps (command line)",
            command([*CLI, "build", "--no-cache", "-t", "bench-ten", "."], ten),
            peer(["build", "--no-cache", "-t", "bench-ten", "."], ten),
        ),
        (
            "all-cached rebuild, --explain (docker: without)",
            command([*CLI, "build", "--explain", "-t", "bench-part4", "."], part4),
            peer(["build", "-t", "bench-part4", "."], part4),
        ),
        (
            "two stages of a second each, side by side",
            command([*CLI, "build", "--no-cache", "-t", "bench-stages", "."], stages),
            peer(["build", "--no-cache", "-t", "bench-stages", "."], stages),
        ),
        (
            f"COPY of {MANY_FILES} small files",
            command([*CLI, "build", "--no-cache", "-t", "bench-many", "."], many),
            peer(["build", "--no-cache", "-t", "bench-many", "."], many),
        ),
        ("python -c pass (for scale)", command([sys.executable, "-c", "pass"]), None),
        ("import contextkernel", command([sys.executable, "-c", "import contextkernel"]), None),
        (
            "IPython shell (for scale)",
            command(
                [sys.executable, "-c", "from IPython.core.interactiveshell import InteractiveShell as S;S.instance()"]
            ),
            None,
        ),
        (
            "IPython shell and %load_ext contextkernel",
            command(
                [
                    sys.executable,
                    "-c",
                    (
                        "from IPython.core.interactiveshell import InteractiveShell as S;"
                        "S.instance().run_line_magic('load_ext', 'contextkernel')"
                    ),
                ]
            ),
            None,
        ),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="measurements per row and engine")
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    docker = docker_answers()
    os.environ["DOCKER_BUILDKIT"] = "1"
    if not docker:
        print("no docker engine answers: its column stays empty (start dockerd, set DOCKER_HOST)")
    results = []
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        os.environ["CONTEXTKERNEL_ROOT"] = str(Path(scratch) / "store")
        prepare(Path(scratch), docker)
        print(f"{'':50} {'ours ms':>9} {'docker ms':>10} {'docker/ours':>12}")
        for name, ours, theirs in rows(Path(scratch), docker):
            mine, other = [], []
            for _ in range(options.rounds):
                mine.append(measure(ours))
                if theirs:
                    other.append(measure(theirs))
            a, b = statistics.median(mine), statistics.median(other) if other else None
            results.append({"row": name, "ours_ms": a, "docker_ms": b})
            print(f"{name:50} {a:9.1f} " + (f"{b:10.1f} {b / a:11.1f}x" if b else f"{'-':>10} {'-':>12}"), flush=True)
        subprocess.run([*CLI, "system", "check"], check=False, stdout=subprocess.DEVNULL)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
