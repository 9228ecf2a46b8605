"""What docker makes of the cases, and how ours differs; needs a docker engine that you started yourself.

    python tests/compare/docker.py record            write tests/compare/recorded/*.json from docker
    python tests/compare/docker.py cases             build every case with both engines and compare
    python tests/compare/docker.py journey           the same for the images of the course (needs a package mirror)

DOCKER_HOST and DOCKER_API_VERSION are honoured; BuildKit is switched on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from base import BASE, lay_out, write_base
from flatten import beyond, differences, flatten

HERE = Path(__file__).parent
DOCKER = os.environ.get("DOCKER", "/usr/bin/docker")
#: cases that need a newer Dockerfile frontend than Debian 12's docker has: their results are written by hand
BY_HAND = {"heredoc"}
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


def docker(*words: str, **options: Any) -> str:
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    done = subprocess.run([DOCKER, *words], env=environment, text=True, stdout=subprocess.PIPE, check=False, **options)
    if done.returncode:
        raise SystemExit(f"docker {' '.join(words)} failed with {done.returncode}")
    return done.stdout


def docker_build(folder: Path, tag: str, *options: str) -> None:
    docker("build", "-q", "--no-cache", "-t", tag, *options, str(folder))


def describe(save: list[str], path: Path) -> list[dict[str, Any]]:
    subprocess.run([*save, "-o", str(path)], check=True)
    return flatten(path)


def saved_by_docker(names: list[str], folder: Path) -> list[dict[str, Any]]:
    images = describe([DOCKER, "save", *names], folder / "docker.tar")
    return sorted(images, key=lambda image: names.index(image["names"][0].removesuffix(":latest")))


def cases() -> list[Path]:
    return sorted(path for path in (HERE / "cases").iterdir() if path.is_dir())


def docker_results(folder: Path) -> dict[str, dict[str, Any]]:
    write_base(folder / "base.tar")
    docker("import", str(folder / "base.tar"), BASE)
    results = {}
    base = saved_by_docker([BASE], folder)[0]
    for case in cases():
        if case.name in BY_HAND:
            continue
        docker_build(lay_out(case, folder / "docker"), f"ck-{case.name}")
        results[case.name] = beyond(saved_by_docker([f"ck-{case.name}"], folder)[0], base)
    return results


def our_results(folder: Path) -> dict[str, dict[str, Any]]:
    from contextkernel import Engine

    results = {}
    write_base(folder / "base.tar")
    with Engine(folder / "store") as engine:
        engine.import_image(str(folder / "base.tar"), BASE)
        engine.save([BASE], str(folder / "ours.tar"))
        base = flatten(folder / "ours.tar")[0]
        for case in cases():
            engine.build(str(lay_out(case, folder / "ours")), tags=[f"ck-{case.name}"])
            engine.save([f"ck-{case.name}"], str(folder / "ours.tar"))
            results[case.name] = beyond(flatten(folder / "ours.tar")[0], base)
    return results


def record(folder: Path) -> int:
    (HERE / "recorded").mkdir(exist_ok=True)
    for name, result in docker_results(folder).items():
        path = HERE / "recorded" / f"{name}.json"
        path.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
        print(f"recorded {path.relative_to(HERE)}")
    return 0


def compare(folder: Path) -> int:
    ours, theirs = our_results(folder), docker_results(folder)
    bad = 0
    for name in theirs:
        found = differences(ours[name], theirs[name])
        print(f"{'same' if not found else 'DIFFERENT':10} {name}")
        for line in found:
            print(f"           {line}")
        bad += bool(found)
    return bad


def journey(folder: Path) -> int:
    """Build the course's four images with both engines from the same bases; compare files and config."""
    from contextkernel import Engine

    demos = HERE.parent.parent / "notebooks" / "demos"
    images = {
        "greet": demos / "docker0",
        "greeting-c:v0.1": demos / "docker1",
        "greeting-ms-c:v0.1": demos / "docker2",
        "greeting-scratch:v0.1": demos / "docker3",
    }
    with Engine(os.environ.get("CONTEXTKERNEL_ROOT") or folder / "store") as engine:
        for row in engine.ensure_bases(["ubuntu:20.04", "alpine:3.15.0"]):
            print(f"{row.image}: {row.action}: {row.detail}")
        engine.save(["ubuntu:20.04", "alpine:3.15.0"], str(folder / "bases.tar"))
        docker("load", "-q", "-i", str(folder / "bases.tar"))
        bad = 0
        for name, demo in images.items():
            engine.build(str(demo), tags=[name], no_cache=True)
            engine.save([name], str(folder / "ours.tar"))
            docker_build(demo, name, "--network=host")
            docker("save", name, "-o", str(folder / "docker.tar"))
            ours, theirs = flatten(folder / "ours.tar")[0], flatten(folder / "docker.tar")[0]
            found = differences(*(_timeless(image) for image in (ours, theirs)))
            print(
                f"{'same' if not found else 'DIFFERENT':10} {name}: {len(ours['files'])} paths, {ours['layers']} layers"
            )
            for line in found:
                print(f"           {line}")
            bad += bool(found)
    return bad


def _timeless(image: dict[str, Any]) -> dict[str, Any]:
    files = {
        path: {key: value for key, value in entry.items() if key not in ("sha256", "size")}
        if path.startswith(TIMELY)
        else entry
        for path, entry in image["files"].items()
    }
    return {**image, "files": files}


if __name__ == "__main__":
    commands = {"record": record, "cases": compare, "journey": journey}
    if sys.argv[1:2] and sys.argv[1] in commands:
        with tempfile.TemporaryDirectory(prefix="compare-") as scratch:
            sys.exit(commands[sys.argv[1]](Path(scratch)))
    sys.exit(__doc__)
