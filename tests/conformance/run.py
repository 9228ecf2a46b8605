"""The conformance cases at the terminal; all but ``check`` need a docker engine that you started yourself.

    python tests/conformance/run.py check [CASE...]      ours against the recorded results
    python tests/conformance/run.py compare [CASE...]    both engines now, side by side
    python tests/conformance/run.py record [CASE...]     write expected.json from docker
    python tests/conformance/run.py journey              both engines on the course's images (needs a package mirror)
    python tests/conformance/run.py software [CASE...]   both engines on real software in RUN steps
    python tests/conformance/run.py packages             write packages.json from docker

CASE is a name or a pattern, such as `copy/*`. How docker is found: see judge/docker.py. `journey` and `software` take
`--tier rootful|rootless|rootless-single|ptrace`: run as root they become an ordinary user with or without a range of
ids, or one who makes no namespaces.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from judge import docker, ours, packages, software
from judge.cases import Case, cases
from judge.tiers import TIERS, Ours

HERE = Path(__file__).parent


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


IMAGES = {
    "greet": "docker0",
    "greeting-c:v0.1": "docker1",
    "greeting-ms-c:v0.1": "docker2",
    "greeting-scratch:v0.1": "docker3",
}


def journey(options: argparse.Namespace, folder: Path) -> int:
    """Build the course's four images with both engines from the same bases; compare files and config."""
    person = Ours(options.tier, folder / "ours")
    bases = _bases(options, folder, "ubuntu:20.04", "alpine:3.15.0")
    person("load", "-i", str(bases))
    docker.docker("load", "-q", "-i", str(bases))
    demos = folder / "demos"
    shutil.copytree(HERE.parent.parent / "notebooks" / "demos", demos)
    bad = 0
    for name, demo in IMAGES.items():
        mine = software.by_ours(person, name, demos / demo)
        theirs = software.by_docker(name, demos / demo, folder)
        if mine.status or theirs.status:
            sys.exit(f"{name} cannot be built\n{mine.said}\n{theirs.said}")
        found = software.compared(mine.image, theirs.image)
        figures = f"{len(mine.image['files'])} paths, {mine.seconds:.1f} s, docker {theirs.seconds:.1f} s"
        print(f"{'same' if not found else 'DIFFERENT':10} {name}: {figures} ({person.tier})", flush=True)
        for line in found:
            print(f"           {line}")
        bad += bool(found)
    return bad


def real_software(options: argparse.Namespace, folder: Path) -> int:
    """Install and use real software in RUN steps with both engines; compare exit codes, files, modes and owners."""
    person = Ours(options.tier, folder / "ours")
    software.prepare(person, _bases(options, folder, "debian:bookworm-slim"), folder)
    bad = 0
    for case, mine, theirs, verdict in software.rows(person, software.cases(*options.case), folder):
        print(f"{verdict.word:10} {case.name}: {mine.seconds:.1f} s, docker {theirs.seconds:.1f} s", flush=True)
        for line in verdict.lines:
            print("\n".join(f"           {part}" for part in line.splitlines()), flush=True)
        bad += verdict.word == "DIFFERENT"
    return bad


def record_packages(_: argparse.Namespace, folder: Path) -> int:
    """Write packages.json from docker: whose files are that packages, archives and tools leave."""
    box = "conformance-packages"
    docker.docker("import", str(packages.prepare(folder)), packages.BASE)
    shown = ("-v", "/usr:/usr:ro", "-v", f"{folder}/w:/w:ro")
    docker.docker("run", "--name", box, "--network=none", *shown, packages.BASE, "/bin/sh", "-c", packages.SCRIPT)
    docker.docker("commit", box, box)
    docker.docker("rm", box)
    docker.docker("save", box, "-o", str(folder / "docker.tar"))
    text = json.dumps(packages.left(folder / "docker.tar"), indent=1) + "\n"
    (HERE / "packages.json").write_text(text, encoding="utf-8")
    return 0


def _bases(options: argparse.Namespace, folder: Path, *names: str) -> Path:
    """The bases as an archive: the one that was given, or one made by whoever runs this."""
    if options.bases:
        return Path(options.bases).absolute()
    maker, archive = Ours("", folder / "maker"), folder / "maker" / "bases.tar"
    print(maker("base", "ensure", *names))
    maker("save", "-o", str(archive), *names)
    archive.chmod(0o644)
    return archive


COMMANDS = {"check": check, "compare": compare, "record": record}
ENGINES = {"journey": journey, "software": real_software, "packages": record_packages}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=[*COMMANDS, *ENGINES])
    parser.add_argument("case", nargs="*", help="name or pattern")
    parser.add_argument("--tier", choices=TIERS, default="", help="become a user who gets this tier (as root)")
    parser.add_argument("--bases", help="archive with the base images (of `save`) instead of making them")
    options = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory(prefix="conformance-") as scratch:
        folder = Path(scratch)
        if options.command in ENGINES:
            folder.chmod(0o755)  # for whoever it becomes
            return min(ENGINES[options.command](options, folder), 1)
        return min(COMMANDS[options.command](cases(*options.case), folder), 1)


if __name__ == "__main__":
    sys.exit(main())
