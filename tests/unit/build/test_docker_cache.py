"""What misses the build cache: the pattern of hits was recorded from BuildKit, building twice with one change."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, structs

from contextkernel.model.build_inputs import SecretValue, StepOptions

H, M = "hit", "miss"
#: a RUN of which every stage has its own, so that the cache of the engine that is asked knows none of them
TOP = "FROM ck-base\nRUN : NONCE\n"
PROXY = "HTTP_PROXY"


class Side(Struct, frozen=True, kw_only=True):
    """One of the two builds."""

    text: str
    files: Mapping[str, str] = {}
    args: Mapping[str, str] = {}
    secrets: Mapping[str, str] = {}
    meddle: Callable[[Path], object] | None = None


class Case(Struct, frozen=True):
    """A change, and which steps after ``RUN : NONCE`` BuildKit finds again."""

    before: Side
    after: Side
    docker: tuple[str, ...]


def text(before: str, after: str, *docker: str, **both: Any) -> Case:
    """The Dockerfile changes."""
    side = Side(text=TOP + before, **both)
    return Case(side, structs.replace(side, text=TOP + after), docker)


def args(body: str, before: dict[str, str], after: dict[str, str], *docker: str) -> Case:
    """A build argument changes."""
    return Case(Side(text=TOP + body, args=before), Side(text=TOP + body, args=after), docker)


def file(body: str, act: Callable[[Path], object], *docker: str) -> Case:
    """The file ``d/a`` of the context changes."""
    side = Side(text=TOP + body, files={"d/a": "one NONCE", "other": "x"})
    return Case(side, structs.replace(side, meddle=act), docker)


def secret(before: str, after: str, old: str, new: str, *docker: str) -> Case:
    """A secret or its mount changes."""
    first, second = ({"one": value, "two": value} for value in (old, new))
    return Case(Side(text=TOP + before, secrets=first), Side(text=TOP + after, secrets=second), docker)


def retime(folder: Path) -> None:
    os.utime(folder / "d/a", (1, 1))


def remode(folder: Path) -> None:
    os.chmod(folder / "d/a", 0o600)


def rewrite(folder: Path) -> None:
    path = folder / "d/a"
    path.write_text(path.read_text().replace("one", "two"))


def same_time(folder: Path) -> None:
    facts = (folder / "d/a").stat()
    rewrite(folder)
    os.utime(folder / "d/a", ns=(facts.st_atime_ns, facts.st_mtime_ns))


def elsewhere(folder: Path) -> None:
    (folder / "other").write_text("y")


def added(folder: Path) -> None:
    (folder / "d/b").write_text("")


SECRET = "RUN --mount=type=secret,id={},target={} : s\nRUN : y\n"
MAKE = "FROM ck-base AS make\nRUN : NONCE\nRUN {} : >> /out\n"
REST = "FROM ck-base\nRUN : NONCE 2\nCOPY --from=make /out /o\nRUN : y\n"

CASES = {
    "another program": text("RUN : a\nRUN : b\n", "RUN : c\nRUN : b\n", M, M),
    "WORKDIR, SOURCE_DATE_EPOCH": args(
        "ARG SOURCE_DATE_EPOCH\nWORKDIR /new\nRUN : y\n", {"SOURCE_DATE_EPOCH": "1"}, {"SOURCE_DATE_EPOCH": "2"}, M, M
    ),
    "WORKDIR, other path": text("WORKDIR /a\nRUN : y\n", "WORKDIR /b\nRUN : y\n", M, M),
    "proxy that is not declared": args("RUN : x\n", {PROXY: "http://a"}, {PROXY: "http://b"}, H),
    "proxy that is declared": args("ARG HTTP_PROXY\nRUN : x\n", {PROXY: "http://a"}, {PROXY: "http://b"}, M),
    "ARG that a later RUN names": args("ARG V\nRUN : $V\n", {"V": "1"}, {"V": "2"}, M),
    "ARG that a later RUN does not name": args("RUN : a\nARG V\nRUN : b\n", {"V": "1"}, {"V": "2"}, H, M),
    "ARG, no RUN after it": args("RUN : a\nARG V\nLABEL l=$V\n", {"V": "1"}, {"V": "2"}, H),
    "ARG declared after": args("RUN : a\nRUN : b\nARG V\n", {"V": "1"}, {"V": "2"}, H, H),
    "ARG, unused by COPY": Case(
        Side(text=TOP + "ARG V\nCOPY other /o\n", files={"other": "NONCE"}, args={"V": "1"}),
        Side(text=TOP + "ARG V\nCOPY other /o\n", files={"other": "NONCE"}, args={"V": "2"}),
        (H,),
    ),
    "ENV": text("ENV A=1\nCOPY other /o\nRUN : y\n", "ENV A=2\nCOPY other /o\nRUN : y\n", H, M, files={"other": "n"}),
    "USER": text("USER bin\nRUN : y\n", "USER nobody\nRUN : y\n", M),
    "USER, COPY only": text("USER bin\nCOPY other /o\n", "USER nobody\nCOPY other /o\n", H, files={"other": "n"}),
    "SHELL": text('SHELL ["/bin/sh", "-c"]\nRUN : y\n', 'SHELL ["/bin/sh", "-ec"]\nRUN : y\n', M),
    "instructions of the configuration": text(
        "LABEL a=1\nEXPOSE 1\nCMD a\nRUN : y\n",
        "LABEL a=2\nEXPOSE 2\nCMD b\nENTRYPOINT c\nSTOPSIGNAL 9\nVOLUME /v\nHEALTHCHECK NONE\nRUN : y\n",
        H,
    ),
    "value of a secret": secret(SECRET.format("one", "/s"), SECRET.format("one", "/s"), "1", "2", H, H),
    "id of a secret": secret(SECRET.format("one", "/s"), SECRET.format("two", "/s"), "1", "1", M, M),
    "target of a secret": secret(SECRET.format("one", "/s"), SECRET.format("one", "/t"), "1", "1", M, M),
    "id of a cache mount": text(
        "RUN --mount=type=cache,id=a,target=/c : y\n", "RUN --mount=type=cache,id=b,target=/c : y\n", H
    ),
    "content of a cache mount": text(
        "RUN --mount=type=cache,id=NONCE,target=/c : y\n",
        "RUN --mount=type=cache,id=NONCE,target=/c : y\nRUN --mount=type=cache,id=NONCE,target=/c : > /c/new\n",
        H,
        M,
    ),
    "target of a cache mount": text(
        "RUN --mount=type=cache,target=/c : y\n", "RUN --mount=type=cache,target=/d : y\n", M
    ),
    "--network": text("RUN --network=none : y\n", "RUN : y\n", M),
    "time of a file": file("COPY d /d\nRUN : y\n", retime, H, H),
    "mode of a file": file("COPY d /d\nRUN : y\n", remode, M, M),
    "mode of a file, --chmod": file("COPY --chmod=644 d /d\nRUN : y\n", remode, M, M),
    "content of a file": file("COPY d /d\nRUN : y\n", rewrite, M, M),
    "content of a file, a wildcard": file("COPY d/* /d/\n", rewrite, M),
    "a file that is not copied": file("COPY d /d\nRUN : y\n", elsewhere, H, H),
    "an added file": file("COPY d /d\nRUN : y\n", added, M, M),
    "content of a bind mount": file("RUN --mount=source=d,target=/m : y\nRUN : z\n", rewrite, M, M),
    "time in a bind mount": file("RUN --mount=source=d,target=/m : y\nRUN : z\n", retime, H, H),
    "beside a bind mount": file("RUN --mount=source=d,target=/m : y\nRUN : z\n", elsewhere, H, H),
    "another result of a stage": Case(
        Side(text=MAKE.format("echo 1 > /out;") + REST), Side(text=MAKE.format("echo 2 > /out;") + REST), (M, M, M)
    ),
    "an equal result of a stage": Case(
        Side(text=MAKE.format("echo 1 > /out;") + REST), Side(text=MAKE.format("echo  1 > /out;") + REST), (M, H, H)
    ),
    "COPY on another base": text(
        "RUN : a\nCOPY other /o\nRUN : y\n", "RUN : b\nCOPY other /o\nRUN : y\n", M, M, M, files={"other": "NONCE"}
    ),
    "COPY of an equal file with another name": text(
        "COPY other /o\nRUN : y\n", "COPY more /o\nRUN : y\n", M, M, files={"other": "NONCE", "more": "NONCE"}
    ),
    "COPY --chown": text("COPY other /o\n", "COPY --chown=2 other /o\n", M, files={"other": "NONCE"}),
}
#: where we differ from what BuildKit says; the pattern is ours, the comment tells theirs
OTHERWISE = {
    # miss: the order of variables is part of its key; it changes nothing that a program finds by name
    "ENV in another order": text("ENV A=1 B=2\nRUN : y\n", "ENV B=2 A=1\nRUN : y\n", H),
    # miss, miss, miss: to put the layer on the others counts as part of the step there
    "COPY --link on another base": text(
        "RUN : a\nCOPY --link other /o\nRUN : y\n",
        "RUN : b\nCOPY --link other /o\nRUN : y\n",
        M,
        H,
        M,
        files={"other": "NONCE"},
    ),
    # hit, hit: its transfer of the context takes such a file for the earlier one (its issue 4817); it is another file
    "same size and time": file("COPY d /d\nRUN : y\n", same_time, M, M),
}


def play(request: Any, out: Any, err: Any) -> int:
    """What the programs of the cases leave."""
    del out, err
    line = " ".join(request.argv[-1].split())
    name = "out" if ">> /out" in line else "ran"
    Path(request.upper, name).write_text(line.partition(";")[0] if name == "out" else line)
    return 0


def pattern(bench: Any, side: Side) -> list[str]:
    """Build one side; which steps were found."""
    bench.write({name: content for name, content in side.files.items() if not side.meddle})
    if side.meddle:
        side.meddle(bench.context)
    secrets = {name: SecretValue(value) for name, value in side.secrets.items()}
    bench.build(side.text, build_args=dict(side.args), steps=StepOptions(secrets=secrets))
    words = {"cached": H, "done": M}
    return [
        words[state] for name, state in bench.outcome().items() if " FROM " not in name and "RUN : NONCE" not in name
    ]


@pytest.mark.parametrize("name", [*CASES, *OTHERWISE])
def test_it_hits_what_docker_hits(name: str, bench: Any) -> None:
    case = CASES[name] if name in CASES else OTHERWISE[name]
    bench.store.add_base(
        bench.worker, "ck-base", {"bin/sh": "shell", "etc/passwd": "bin:x:2:3::/:\nnobody:x:9:9::/:\n"}
    )
    bench.programs(play)
    assert set(pattern(bench, case.before)) == {M}
    assert tuple(pattern(bench, case.after)) == case.docker
