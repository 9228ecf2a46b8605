"""The conformance cases at the terminal; all but ``check`` need a docker engine that you started yourself.

    python tests/conformance/run.py check [CASE...]      ours against the recorded results
    python tests/conformance/run.py compare [CASE...]    both engines now, side by side
    python tests/conformance/run.py record [CASE...]     write expected.json from docker
    python tests/conformance/run.py journey              both engines on the course's images (needs a package mirror)

CASE is a name or a pattern, such as `copy/*`. How docker is found: see judge/docker.py.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from judge import docker, ours
from judge.cases import Case, cases
from judge.images import beyond, differences, flatten

HERE = Path(__file__).parent
#: files whose content holds the time or the order of a run; compared by everything but content and size
TIMELY = (
    "var/log/",
    "var/lib/dpkg/status",
    "var/lib/dpkg/info/",
    "var/lib/apt/",
    "var/cache/",
    "etc/ld.so.cache",
    "etc/ssl/certs/",
)


def ours_of(chosen: list[Case], folder: Path) -> Iterator[tuple[Case, dict[str, Any]]]:
    from contextkernel import Engine

    with Engine(folder / "store") as engine:
        base = ours.prepare(engine, folder)
        for case in chosen:
            yield case, ours.result(case, engine, base, Path(tempfile.mkdtemp(dir=folder)))


def judge(case: Case, found: dict[str, Any], expected: dict[str, Any]) -> int:
    lines = ours.verdict(case, found, expected)
    print(f"{'same' if not lines else 'DIFFERENT':10} {case.name}")
    for line in lines:
        print(f"           {line}")
    return bool(lines)


def check(chosen: list[Case], folder: Path) -> int:
    for case in chosen:
        if not (case.folder / "expected.json").exists():
            sys.exit(f"{case.name} has no expected.json: record it, or write it by hand")
    return sum(judge(case, found, case.expected) for case, found in ours_of(chosen, folder))


def compare(chosen: list[Case], folder: Path) -> int:
    base = docker.prepare(folder)
    bad = 0
    for case, found in ours_of([case for case in chosen if not case.hand], folder):
        bad += judge(case, found, docker.result(case, base, Path(tempfile.mkdtemp(dir=folder))))
    return bad


def record(chosen: list[Case], folder: Path) -> int:
    base = docker.prepare(folder)
    bad = 0
    for case in chosen:
        if case.hand:
            continue
        found = docker.result(case, base, Path(tempfile.mkdtemp(dir=folder)))
        if ("refused" in found) != (case.refused is not None):
            print(f"NOT recorded {case.name}: docker {found.get('refused') or 'builds it, but the case is a refusal'}")
            bad += 1
            continue
        text = json.dumps(found, indent=1, sort_keys=True) + "\n"
        path = case.folder / "expected.json"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"recorded {case.name}")
    return bad


def journey(_: list[Case], folder: Path) -> int:
    """Build the course's four images with both engines from the same bases; compare files and config."""
    from contextkernel import Engine

    demos = HERE.parent.parent / "notebooks" / "demos"
    images = {
        "greet": demos / "docker0",
        "greeting-c:v0.1": demos / "docker1",
        "greeting-ms-c:v0.1": demos / "docker2",
        "greeting-scratch:v0.1": demos / "docker3",
    }
    nothing = {"files": {}, "history": [], "layers": 0, "links": [], "diff_ids": []}
    with Engine(os.environ.get("CONTEXTKERNEL_ROOT") or folder / "store") as engine:
        for row in engine.ensure_bases(["ubuntu:20.04", "alpine:3.15.0"]):
            print(f"{row.image}: {row.action}: {row.detail}")
        engine.save(["ubuntu:20.04", "alpine:3.15.0"], str(folder / "bases.tar"))
        docker.docker("load", "-q", "-i", str(folder / "bases.tar"))
        bad = 0
        for name, demo in images.items():
            engine.build(str(demo), tags=[name], no_cache=True)
            engine.save([name], str(folder / "ours.tar"))
            docker.docker("build", "-q", "--no-cache", "-t", name, "--network=host", str(demo))
            docker.docker("save", name, "-o", str(folder / "docker.tar"))
            both = [beyond(flatten(folder / side)[0], nothing) for side in ("ours.tar", "docker.tar")]
            found = differences(*(_timeless(image) for image in both))
            print(f"{'same' if not found else 'DIFFERENT':10} {name}: {len(both[0]['files'])} paths")
            for line in found:
                print(f"           {line}")
            bad += bool(found)
    return bad


def _timeless(image: dict[str, Any]) -> dict[str, Any]:
    files = {
        path: " ".join(line.split(" ")[:3]) if path.startswith(TIMELY) else line
        for path, line in image["files"].items()
    }
    return {**image, "files": files}


if __name__ == "__main__":
    commands = {"check": check, "compare": compare, "record": record, "journey": journey}
    if sys.argv[1:2] and sys.argv[1] in commands:
        with tempfile.TemporaryDirectory(prefix="conformance-") as scratch:
            sys.exit(min(commands[sys.argv[1]](cases(*sys.argv[2:]), Path(scratch)), 1))
    sys.exit(__doc__)
