"""What docker makes of a case; needs a docker engine that you started yourself.

``DOCKER`` names the client, ``DOCKER_HOST`` the engine. With ``CONFORMANCE_BUILDER`` a builder of ``docker buildx`` is
asked instead (a newer BuildKit than the engine's own); it finds the base image in the registry that
``CONFORMANCE_REGISTRY`` names (``127.0.0.1:5000/library/``) and that it has as its mirror.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from .base import BASE, write_base
from .cases import Case
from .images import beyond, flatten, imported

DOCKER = os.environ.get("DOCKER", "/usr/bin/docker")
BUILDER = os.environ.get("CONFORMANCE_BUILDER", "")
REGISTRY = os.environ.get("CONFORMANCE_REGISTRY", "")


class DockerFailed(Exception):
    """Docker refused.

    Args:
        words: of the command.
        output: what it said on standard error.
    """

    def __init__(self, words: tuple[str, ...], output: str) -> None:
        super().__init__(f"docker {' '.join(words)}\n{output}")
        self.output = output


def docker(*words: str, **options: Any) -> str:
    """Run the client.

    Args:
        words: its arguments.
        options: for :func:`subprocess.run`.

    Returns:
        What it printed.

    Raises:
        DockerFailed: it exited with another code than 0.
    """
    environment = {**os.environ, "DOCKER_BUILDKIT": "1", **options.pop("env", {})}
    done = subprocess.run([DOCKER, *words], env=environment, text=True, capture_output=True, check=False, **options)
    if done.returncode:
        raise DockerFailed(words, done.stderr)
    return done.stdout


def prepare(folder: Path) -> dict[str, Any]:
    """Bring the base image to docker.

    Args:
        folder: for scratch files.

    Returns:
        Its description.
    """
    write_base(folder / "base.tar")
    docker("import", str(folder / "base.tar"), BASE)
    if BUILDER:
        docker("tag", BASE, f"{REGISTRY}{BASE}")
        docker("push", "-q", f"{REGISTRY}{BASE}")
    return imported(folder / "base.tar")


def result(case: Case, base: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Build a case.

    Args:
        case: the case.
        base: description of the base image.
        folder: an empty directory.

    Returns:
        The image beyond its base, or ``refused`` with docker's message.
    """
    context, archive = case.lay_out(folder), folder / "docker.tar"
    if BUILDER:
        words = ("buildx", "build", "--builder", BUILDER, "--output", f"type=docker,dest={archive}")
    else:
        words = ("build", "-t", case.tag)
    words = (*words, "--no-cache", "--progress=plain", "--provenance=false", *case.words, case.context)
    with open(context / case.stdin if case.stdin else os.devnull, "rb") as stdin:
        try:
            docker(*words, cwd=context, env=case.env, stdin=stdin)
        except DockerFailed as failed:
            return {"refused": reason(failed.output)}
    if not BUILDER:
        docker("save", case.tag, "-o", str(archive))
    return beyond(flatten(archive)[0], base)


def reason(output: str) -> str:
    """Docker's reason for a refusal: its last error, without what differs from run to run."""
    found = [line for line in output.splitlines() if line.startswith("ERROR:")] or output.splitlines()[-1:]
    text = found[-1].removeprefix("ERROR: ").removeprefix("failed to build: ").removeprefix("failed to solve: ")
    text = re.sub(r"/\S*/buildkit\d+/", "/", text)  # where it had the root mounted
    text = re.sub(r"::[a-z0-9]{25}\b", "", text)
    return re.sub(r"\b[a-z0-9]{25}::\S+", "REF", text)
