"""Real software in RUN steps: the cases of software.toml, built by both engines on the same base and compared."""

from __future__ import annotations

import fnmatch
import os
import tarfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import docker
from .images import beyond, differences, flatten
from .tiers import Ours

CASES = Path(__file__).parents[1] / "software.toml"
BASE = "software-base"
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
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
_SHOWN = 6  # lines of what has a reason
_NOTHING: dict[str, Any] = {"files": {}, "history": [], "layers": 0, "links": [], "diff_ids": []}


class Software(NamedTuple):
    """A case.

    Attributes:
        name: of it.
        dockerfile: what follows FROM.
        timely: more paths like :data:`TIMELY`, each the beginning of some.
        differs: with one id: pattern of a path to the reason why it differs.
    """

    name: str
    dockerfile: str
    timely: tuple[str, ...]
    differs: dict[str, str]


class Built(NamedTuple):
    """What an engine made of a case.

    Attributes:
        status: exit code of the build.
        said: the end of its output.
        image: as :func:`flatten` describes it.
        results: content of the files that a case prints into.
        seconds: the build took.
    """

    status: int
    said: str
    image: dict[str, Any]
    results: dict[str, str]
    seconds: float


class Verdict(NamedTuple):
    """How a case compares.

    Attributes:
        word: ``same``, ``explained`` or ``DIFFERENT``.
        lines: each difference, and its reason if there is one.
    """

    word: str
    lines: list[str]


def cases(*patterns: str) -> list[Software]:
    """The cases whose name fits one of the patterns; all without any."""
    rows = tomllib.loads(CASES.read_text(encoding="utf-8"))["case"]
    found = [
        Software(row["name"], row["dockerfile"], tuple(row.get("timely", ())), row.get("differs", {})) for row in rows
    ]
    return [case for case in found if not patterns or any(fnmatch.fnmatch(case.name, one) for one in patterns)]


def lay_out(case: Software | None, folder: Path) -> Path:
    """The build context of a case, or of the base that all of them start from."""
    folder.mkdir(parents=True, exist_ok=True)
    text = f"FROM {BASE}\n{case.dockerfile}" if case else "FROM debian:bookworm-slim\nRUN apt-get update\n"
    (folder / "Dockerfile").write_text(text, encoding="utf-8")
    return folder


def by_ours(ours: Ours, name: str, context: Path) -> Built:
    """Build a context with contextkernel; the image is in its store as ``name``."""
    began = time.monotonic()
    secret = f"id=ca,src={_AUTHORITIES}"
    done = ours.call("build", "--no-cache", "--progress=plain", "--secret", secret, "-t", name, str(context))
    seconds = time.monotonic() - began
    if done.returncode:
        return Built(done.returncode, (done.stdout + done.stderr)[-2000:], {}, {}, seconds)
    archive = ours.folder / "image.tar"
    ours("save", "-o", str(archive), name)
    return _built(archive, seconds)


def by_docker(name: str, context: Path, folder: Path) -> Built:
    """The same with docker."""
    began = time.monotonic()
    words = ("--no-cache", "--network=host", "--secret", f"id=ca,src={_AUTHORITIES}", "-t", name, str(context))
    try:
        docker.docker("build", "--progress=plain", *words)
    except docker.DockerFailed as failed:
        return Built(1, failed.output[-2000:], {}, {}, time.monotonic() - began)
    seconds = time.monotonic() - began
    archive = folder / "docker.tar"
    docker.docker("save", name, "-o", str(archive))
    return _built(archive, seconds)


def _built(archive: Path, seconds: float) -> Built:
    image, results = flatten(archive)[0], _results(archive)
    os.unlink(archive)
    return Built(0, "", image, results, seconds)


def _results(archive: Path) -> dict[str, str]:
    """Content of files named ``result`` at the root, for people to read."""
    found: dict[str, str] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is None or stream.read(1) in (b"{", b"["):
                continue
            stream.seek(0)
            try:
                with tarfile.open(fileobj=stream, mode="r:*") as layer:
                    for inner in layer:
                        path = inner.name.strip("/")
                        content = layer.extractfile(inner) if path == "result" and inner.isfile() else None
                        if content is not None:
                            found[path] = content.read().decode("utf-8", "replace")
            except tarfile.ReadError:
                continue
    return found


def judged(case: Software, ours: Built, theirs: Built, *, single: bool) -> Verdict:
    """Compare what both engines made of a case.

    Args:
        case: the case.
        ours, theirs: the results.
        single: the case's reasons for differences count.
    """
    if ours.status or theirs.status:
        same = bool(ours.status) == bool(theirs.status)
        return Verdict(
            "same" if same else "DIFFERENT", [f"exit codes {ours.status}, docker {theirs.status}", ours.said]
        )
    found = compared(ours.image, theirs.image, case.timely)
    reasons: dict[str, list[str]] = {}
    for line in found:
        path = line.partition(": ")[0]
        reason = next((why for one, why in case.differs.items() if fnmatch.fnmatch(path, one)), "") if single else ""
        reasons.setdefault(reason, []).append(line)
        if path in ours.results:
            reasons[reason] += [f"  ours   | {text}" for text in ours.results[path].splitlines()]
            reasons[reason] += [f"  docker | {text}" for text in theirs.results.get(path, "").splitlines()]
    lines = []
    for reason, those in reasons.items():
        shown = those[:_SHOWN] if reason else those
        lines += [*([f"({reason})"] if reason else []), *shown]
        lines += [f"... and {len(those) - len(shown)} more lines"] if len(shown) < len(those) else []
    return Verdict("same" if not found else "DIFFERENT" if "" in reasons else "explained", lines)


def compared(ours: dict[str, Any], theirs: dict[str, Any], timely: Sequence[str] = ()) -> list[str]:
    """Differences of two images, as :func:`differences`; what holds the time of a run by type, mode and owner."""
    return differences(*(_timeless(beyond(image, _NOTHING), (*TIMELY, *timely)) for image in (ours, theirs)))


def _timeless(image: dict[str, Any], timely: tuple[str, ...]) -> dict[str, Any]:
    files = {
        path: " ".join(line.split(" ")[:3]) if path.startswith(timely) or "/__pycache__/" in path else line
        for path, line in image["files"].items()
    }
    return {**image, "files": files}


def prepare(ours: Ours, bases: Path, folder: Path) -> None:
    """Bring the base to both engines.

    Args:
        ours: the command line.
        bases: an archive with ``debian:bookworm-slim``.
        folder: for the base's context.
    """
    ours("load", "-i", str(bases))
    docker.docker("load", "-q", "-i", str(bases))
    context = lay_out(None, folder / "base")
    made = by_ours(ours, BASE, context)
    if made.status:
        raise SystemExit(made.said)
    by_docker(BASE, context, folder)


def rows(ours: Ours, chosen: Sequence[Software], folder: Path) -> Iterator[tuple[Software, Built, Built, Verdict]]:
    """Each case with what both engines made of it."""
    for case in chosen:
        context = lay_out(case, folder / case.name)
        mine = by_ours(ours, f"software-{case.name}", context)
        theirs = by_docker(f"software-{case.name}", context, folder)
        yield case, mine, theirs, judged(case, mine, theirs, single=ours.tier == "rootless-single")
