"""Many detached containers: started, listed, exec'd into, stopped, removed; time and memory beside docker's.

    python benchmarks/many.py [--count 100] [--json FILE]

Both engines get the same command lines, one after the other, and the same program, which ends at once when it is
asked to. Memory is the proportional set size (Pss of /proc/PID/smaps_rollup) of everything the engine keeps running for
its containers; the containers' own programs are not counted. Root is needed to read the other engine's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "tests" / "conformance" / "judge"))

from run import BASE, CLI, DOCKER, docker_answers  # noqa: E402

PROGRAM = ["sh", "-c", 'trap "exit 0" TERM; sleep 3600 & wait']
#: names of processes (comm) that an engine keeps for its containers; how the engine's own are told is in `ours`
DOCKERS = ("dockerd", "containerd", "containerd-shim", "docker-proxy")


def run(command: list[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def pss(pid: int) -> int:
    """Bytes; 0 for a process that has gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0


def processes(wanted: Callable[[int, str], bool]) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/comm", encoding="utf-8", errors="replace") as file:
                if wanted(int(name), file.read().strip()):
                    found.append(int(name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def ours(pid: int, comm: str) -> bool:
    """Launchers, monitors, workers of this store: forks keep the environment of who was started with it."""
    if not comm.startswith("ck-"):
        return False
    with open(f"/proc/{pid}/environ", "rb") as file:
        return os.environ["CONTEXTKERNEL_ROOT"].encode() in file.read()


def dockers(_pid: int, comm: str) -> bool:
    return comm.startswith(DOCKERS)


def timed(figures: dict[str, float], part: str, call: Callable[[], object]) -> None:
    """Note the milliseconds of ``call``."""
    began = time.perf_counter()
    call()
    figures[part] = (time.perf_counter() - began) * 1000


def scenario(tool: list[str], count: int, network: str) -> dict[str, float]:
    """Milliseconds of each part for all containers, and bytes while they run."""
    belongs = dockers if tool == [DOCKER] else ours
    # docker's own memory before the first container counts as well: it has to be there
    figures: dict[str, float] = {}
    names = [f"many-{number}" for number in range(count)]

    def start() -> None:
        for name in names:
            run([*tool, "run", "-d", "--network", network, "--name", name, BASE, *PROGRAM])

    def listed() -> None:
        lines = run([*tool, "ps", "-q", "--filter", "name=many-"]).split()
        assert len(lines) == count, f"{len(lines)} of {count} containers run"

    def entered() -> None:
        for name in names:
            assert run([*tool, "exec", name, "echo", "in"]) == "in\n"

    try:
        timed(figures, "start, one command line each", start)
        timed(figures, "list", listed)
        figures["memory"] = sum(pss(pid) for pid in processes(belongs))
        figures["processes"] = len(processes(belongs))
        timed(figures, "exec, one command line each", entered)
        timed(figures, "stop, one command line", lambda: run([*tool, "stop", *names]))
        timed(figures, "remove, one command line", lambda: run([*tool, "rm", *names]))
    finally:
        subprocess.run([*tool, "rm", "-f", *names], check=False, capture_output=True)
    return figures


def from_python(count: int, network: str) -> dict[str, float]:
    """The same through one :class:`contextkernel.Engine`, as a notebook does it."""
    from contextkernel import Engine

    figures: dict[str, float] = {}
    names = [f"many-{number}" for number in range(count)]
    with Engine() as engine:

        def start() -> None:
            for name in names:
                engine.run(BASE, PROGRAM, name=name, detach=True, network=network)

        def entered() -> None:
            for name in names:
                assert engine.exec(name, ["echo", "in"]).stdout == b"in\n"

        def each(act: Callable[[str], object]) -> Callable[[], None]:
            return lambda: [act(name) for name in names] and None

        timed(figures, "start, one command line each", start)
        timed(figures, "list", engine.containers)
        timed(figures, "exec, one command line each", entered)
        timed(figures, "stop, one command line", each(engine.stop))
        timed(figures, "remove, one command line", each(engine.remove_container))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="how many containers")
    parser.add_argument("--network", default="none", help="network of the containers: none, bridge, host")
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    docker = docker_answers()
    if not docker:
        print("no docker engine answers: its column stays empty (start dockerd, set DOCKER_HOST)")
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        os.environ["CONTEXTKERNEL_ROOT"] = str(Path(scratch) / "store")
        from base import write_base

        write_base(Path(scratch) / "base.tar")
        for tool in (CLI, *([[DOCKER]] if docker else [])):
            run([*tool, "import", str(Path(scratch) / "base.tar"), BASE])
        results = {"ours": scenario(CLI, options.count, options.network)}
        results["ours, Engine"] = from_python(options.count, options.network)
        if docker:
            results["docker"] = scenario([DOCKER], options.count, options.network)
    columns = list(results)
    print(f"{options.count} containers, network {options.network}")
    print(f"{'':32}" + "".join(f"{column:>16}" for column in columns))
    for part in results["ours"]:
        cells = []
        for column in columns:
            value = results[column].get(part)
            if value is None:
                cells.append(f"{'-':>16}")
            elif part == "memory":
                cells.append(f"{value / 1e6:>13.1f} MB")
            elif part == "processes":
                cells.append(f"{value:>16.0f}")
            else:
                cells.append(f"{value:>13.0f} ms")
        print(f"{part:32}" + "".join(cells))
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
