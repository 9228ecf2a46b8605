"""Time the course's four images on each tier that this machine can give, beside docker. Run as root.

    python benchmarks/journey.py [--tiers rootful,rootless,rootless-single,ptrace] [--bases ARCHIVE] [--rounds 1]

Every image is built without cache; the figure is the least of the rounds, in seconds. The engines take turns, so that
a busy machine is busy for all. Bases and mirror are the same for all; docker's column stays empty where none answers.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "conformance"))

from judge import docker, software  # noqa: E402
from judge.tiers import TIERS, Ours  # noqa: E402

IMAGES = {"part 2: greet": "docker0", "part 4: C": "docker1", "two stages": "docker2", "from scratch": "docker3"}
BASES = ("ubuntu:20.04", "alpine:3.15.0")


def docker_answers() -> bool:
    try:
        return subprocess.run([docker.DOCKER, "info"], capture_output=True, check=False, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def bases(folder: Path, given: str | None) -> Path:
    """The bases as an archive."""
    if given:
        return Path(given).absolute()
    maker, archive = Ours("", folder / "maker"), folder / "maker" / "bases.tar"
    maker("base", "ensure", *BASES)
    maker("save", "-o", str(archive), *BASES)
    archive.chmod(0o644)
    return archive


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiers", default=",".join(TIERS), help="comma-separated")
    parser.add_argument("--bases", help="archive with ubuntu:20.04 and alpine:3.15.0 instead of making them")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("this becomes other users: run it as root")
    with tempfile.TemporaryDirectory(prefix="journey-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)  # for whoever it becomes
        archive = bases(folder, options.bases)
        everybody = {tier: Ours(tier, folder / tier) for tier in options.tiers.split(",")}
        for person in everybody.values():
            person("load", "-i", str(archive))
        if asked := docker_answers():
            docker.docker("load", "-q", "-i", str(archive))
        demos = folder / "demos"
        shutil.copytree(HERE.parent / "notebooks" / "demos", demos)
        columns = [*everybody, *(["docker"] if asked else [])]
        print(f"{'':16}" + "".join(f"{column:>18}" for column in columns))
        for name, demo in IMAGES.items():
            best = dict.fromkeys(columns, float("inf"))
            for _ in range(options.rounds):
                for column in columns:
                    context = demos / demo
                    person = everybody.get(column)
                    image = f"journey-{demo}"
                    made = (
                        software.by_ours(person, image, context)
                        if person
                        else software.by_docker(image, context, folder)
                    )
                    if made.status:
                        sys.exit(f"{name} on {column}: exit code {made.status}\n{made.said}")
                    best[column] = min(best[column], made.seconds)
            print(f"{name:16}" + "".join(f"{best[column]:16.1f} s" for column in columns), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
