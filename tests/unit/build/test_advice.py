"""Advice on failed RUNs: what is seen, and what is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contextkernel.build.advice import Failure, Program, advise
from contextkernel.build.failure_facts import StageFiles
from contextkernel.errors import Span
from contextkernel.plan.steps import RunStep

DEBIAN = ("apt-get", "cat", "grep", "ls", "sed", "sh")
ALPINE = ("apk", "cat", "grep", "ls", "sh")
SCRIPT = Program(kind="script", interpreter="/bin/sh")


def failure(status: int, output: str, **more: object) -> Failure:
    return Failure(status=status, output=output, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("failed", "said"),
    [
        (failure(100, "E: Unable to locate package curl"), "RUN apt-get update && apt-get install -y curl"),
        (
            failure(
                100, "E: Unable to locate package crul", argv=("sh", "-c", "apt-get -q update && apt-get install crul")
            ),
            "has no package crul: check the spelling",
        ),
        (failure(100, "E: Package 'vim' has no installation candidate"), "apt-get install -y vim"),
        (
            failure(1, "WARNING: opening x: No such file\nERROR: unable to select packages:\n  gcc (no such package):"),
            "RUN apk add --no-cache gcc",
        ),
        (failure(1, "fetch x\nERROR: unable to select packages:\n  gccc (no such package):"), "no package gccc"),
        (failure(1, "No match for argument: foo"), "no repository of the image has foo"),
        (failure(127, "/bin/sh: 1: grpe: not found", programs=lambda: DEBIAN), "did you mean grep?"),
        (failure(127, "/bin/sh: curl: not found", programs=lambda: ALPINE), "RUN apk add --no-cache curl"),
        (failure(127, "/bin/sh: apk: not found", programs=lambda: ("awk", "sh")), "has no package manager"),
        (
            failure(127, "/bin/sh: 1: apk: not found", programs=lambda: DEBIAN),
            "has apt-get and not apk: RUN apt-get update && apt-get install -y NAME",
        ),
        (failure(127, "/bin/sh: apt-get: not found", programs=lambda: ALPINE), "has apk and not apt-get"),
        (failure(127, "/bin/sh: apt: not found", programs=lambda: ALPINE), "RUN apk add --no-cache NAME"),
        (failure(127, "bash: line 1: ps: command not found", programs=lambda: DEBIAN), "apt-get install -y procps"),
        (failure(127, 'exec: "frob": executable file not found in $PATH'), "frob is not in this stage's image"),
        (failure(127, "/bin/sh: 1: /app/run: not found"), "there is no /app/run in this stage"),
        (
            failure(127, "/bin/sh: 1: /app/run: not found", look=lambda _: Program(kind="script", carriage=True)),
            "Windows line ends",
        ),
        (
            failure(
                127,
                "/bin/sh: 1: /app/run: not found",
                look=lambda _: Program(kind="script", interpreter="/usr/bin/python3", interpreter_found=False),
            ),
            "its interpreter /usr/bin/python3 is not",
        ),
        (
            failure(
                127,
                "exec /app/run: no such file or directory",
                look=lambda _: Program(kind="elf", interpreter="/lib/ld-musl.so.1", interpreter_found=False),
            ),
            "another C library",
        ),
        (failure(127, "env: 'bash\r': No such file or directory"), "Windows line ends"),
        (failure(127, "whatever"), "is it installed in this stage's image"),
        (
            failure(126, "/bin/sh: 1: /x: Exec format error", look=lambda _: Program(kind="elf", machine="aarch64")),
            "/x is built for aarch64, this machine is x86_64",
        ),
        (
            failure(126, "exec /x: exec format error", look=lambda _: Program(kind="other")),
            "neither a binary nor a script",
        ),
        (
            failure(126, "/bin/sh: 1: /x: Permission denied", look=lambda _: Program(kind="script", executable=False)),
            "RUN chmod +x /x",
        ),
        (
            failure(126, "/bin/sh: /x: Permission denied", look=lambda _: SCRIPT, user="app"),
            "user app may not execute /x",
        ),
        (failure(126, 'exec: "/etc": is a directory', look=lambda _: Program(kind="directory")), "is a directory"),
        (failure(126, "?"), "check its mode"),
        (failure(137, ""), "memory ran out"),
        (failure(139, ""), "segmentation fault"),
        (failure(132, ""), "this processor does not have"),
        (failure(2, "cc1plus: fatal error: Killed signal terminated program cc1plus"), "make -j1"),
        (failure(1, "tar: x: Cannot write: No space left on device"), "system prune"),
        (failure(100, "Temporary failure resolving 'deb.debian.org'"), "--build-arg HTTP_PROXY"),
        (failure(6, "curl: (6) Could not resolve host: x", network="none"), "--network=none"),
        (failure(100, "E: Could not open lock file /var/x - open (13: Permission denied)", user="app"), "USER root"),
        (failure(1, "error: externally-managed-environment"), "python3 -m venv"),
        (failure(1, "ERROR: Could not open requirements file: [Errno 2] No such file: 'req.txt'"), "COPY req.txt"),
        (failure(128, "git@host: Permission denied (publickey)."), "RUN --mount=type=ssh"),
        (failure(128, "Host key verification failed."), "ssh-keyscan"),
        (failure(128, "fatal: could not read Username for 'https://host': x"), "type=secret"),
        (failure(2, "make: *** No targets specified and no makefile found.  Stop."), "COPY the files"),
    ],
    ids=lambda value: value.output[:40] if isinstance(value, Failure) else "",
)
def test_known_causes(failed: Failure, said: str) -> None:
    assert said in (advise(failed) or "")


@pytest.mark.parametrize(
    "failed", [failure(1, "error: something"), failure(1, ""), failure(2, "E: Could not open lock file: are you root?")]
)
def test_unknown_causes_get_no_advice(failed: Failure) -> None:
    assert advise(failed) is None


# ---- what is looked up


@pytest.fixture
def files(tmp_path: Path) -> StageFiles:
    base, upper = tmp_path / "base", tmp_path / "upper"
    for folder in ("usr/bin", "opt"):
        (base / folder).mkdir(parents=True)
    upper.mkdir()
    (base / "bin").symlink_to("usr/bin")
    (base / "usr/bin/tool").write_bytes(b"#!/usr/bin/perl\r\nexit\n")
    (base / "usr/bin/sh").write_bytes(_elf(machine=62))
    (base / "usr/bin/arm").write_bytes(_elf(machine=183, interpreter=b"/lib/ld.so"))
    (base / "usr/bin/script").write_text("#! /bin/sh -e\n")
    (base / "usr/bin/abs").symlink_to("/bin/script")
    (base / "usr/bin/loop").symlink_to("loop")
    (base / "usr/bin/out").symlink_to("/../../../../../../../../etc/passwd")
    (base / "usr/bin/plain").write_text("echo\n")
    for name in ("tool", "sh", "arm", "script"):
        os.chmod(base / "usr/bin" / name, 0o755)  # noqa: S103 - programs of an image
    (upper / "opt").mkdir()
    (upper / "opt/new").write_text("#!/bin/sh\n")
    step = RunStep(
        title="",
        created_by="",
        span=Span(file="", line=1, end_line=1, end_column=1),
        original="",
        argv=("x",),
        env=("PATH=/opt:/bin",),
        cwd="/opt",
    )
    return StageFiles([str(base)], str(upper), step)


def _elf(*, machine: int, interpreter: bytes = b"") -> bytes:
    """The head of a 64 bit little endian binary: one program header, of the loader."""
    head = bytearray(b"\x7fELF\x02\x01" + bytes(58))
    head[18:20] = machine.to_bytes(2, "little")
    head[32:40] = (64).to_bytes(8, "little")
    head[54:56] = (56).to_bytes(2, "little")
    head[56:58] = int(bool(interpreter)).to_bytes(2, "little")
    segment = bytearray(56)
    segment[0:4] = (3).to_bytes(4, "little")
    segment[8:16] = (120).to_bytes(8, "little")
    segment[32:40] = (len(interpreter) + 1).to_bytes(8, "little")
    return bytes(head + segment + interpreter + b"\0")


def test_names_in_path_come_from_all_layers(files: StageFiles) -> None:
    assert set(files.programs()) == {"abs", "arm", "loop", "new", "out", "plain", "script", "sh", "tool"}


def test_a_script_with_windows_line_ends_and_no_interpreter(files: StageFiles) -> None:
    found = files.look("tool")
    assert found == Program(kind="script", interpreter="/usr/bin/perl", interpreter_found=False, carriage=True)


@pytest.mark.parametrize("name", ["script", "/bin/script", "/usr/bin/abs", "../bin/script"])
def test_links_are_followed_inside_of_the_stage(files: StageFiles, name: str) -> None:
    assert files.look(name) == Program(kind="script", interpreter="/bin/sh")


@pytest.mark.parametrize("name", ["/nothing", "loop", "out", "/usr/bin/plain/x", "missing", "to\0ol", "/bin/to\0ol"])
def test_what_is_not_there(files: StageFiles, name: str) -> None:
    assert files.look(name) is None


def test_an_interpreter_that_no_file_can_be_called_as_is_not_there(files: StageFiles, tmp_path: Path) -> None:
    (tmp_path / "upper/opt/odd").write_bytes(b"#!/bin/\0sh\n")
    assert files.look("odd") == Program(
        kind="script", interpreter="/bin/\0sh", interpreter_found=False, executable=False
    )


def test_the_machine_and_loader_of_a_binary(files: StageFiles) -> None:
    assert files.look("/bin/arm") == Program(
        kind="elf", machine="aarch64", interpreter="/lib/ld.so", interpreter_found=False
    )
    assert files.look("sh") == Program(kind="elf", machine="x86_64")


def test_a_relative_path_counts_from_the_working_directory(files: StageFiles) -> None:
    assert files.look("./new") == Program(kind="script", interpreter="/bin/sh", executable=False)
    assert files.look("/usr/bin/plain") == Program(kind="other", executable=False)
    assert files.look("/opt") == Program(kind="directory")
