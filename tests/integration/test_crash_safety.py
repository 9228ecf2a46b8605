"""Builds that are killed, and builders that meet, leave a store in which nothing is wrong."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from judge.base import BASE, write_base

from contextkernel import Engine

KILLS = 50
SECONDS = f"1000.{os.getpid()}"  # that nobody else on this machine sleeps
DOCKERFILE = """\
FROM ck-base
RUN mkdir /a && i=0; while [ $i -lt 200 ]; do echo {salt} > /a/$i; i=$((i+1)); done
COPY . /context/
RUN echo {salt} > /one
WORKDIR /work
RUN dd if=/dev/zero of=/work/zeros bs=64k count=40 2>/dev/null; rm -r /a
RUN echo {salt} > /two
"""
BUILD = "import sys; from contextkernel import Engine; Engine(sys.argv[1]).build(sys.argv[2], tags=[sys.argv[3]])"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    write_base(tmp_path / "base.tar")
    with Engine(tmp_path / "store") as engine:
        engine.import_image(str(tmp_path / "base.tar"), BASE)
    yield tmp_path
    with Engine(tmp_path / "store") as engine:
        engine.check_store(repair=True)


def context(folder: Path, salt: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(DOCKERFILE.format(salt=salt))
    (folder / "file").write_text(salt * 1000)
    return folder


def start_build(root: Path, folder: Path, tag: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(root / "store"), str(folder), tag],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def mounts_below(path: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(path) in line]


def processes_of(path: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode("utf-8", "replace").replace("\0", " ")
        except OSError:
            continue
        if str(path) in words:
            found.append(words)
    return found


def test_killed_builds_leave_a_sound_store(root: Path) -> None:
    """50 builds, each killed with SIGKILL at a random moment of its life."""
    chance = random.Random(2026)  # noqa: S311 - moments to kill at, not secrets
    began = time.monotonic()
    whole = start_build(root, context(root / "context", "measure"), "killed")
    _, errors = whole.communicate()
    assert whole.returncode == 0, errors.decode()
    duration = time.monotonic() - began  # only spreads the kills over a build's life; nothing is asserted on it
    survived = 0
    for number in range(KILLS):
        process = start_build(root, context(root / "context", f"salt-{number}"), "killed")
        try:
            process.wait(chance.uniform(0.05, duration))
            survived += 1
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        if process.stderr:
            process.stderr.close()
    assert survived < KILLS
    with Engine(root / "store") as engine:
        assert engine.check_store() == ()
        result = engine.build(str(context(root / "context", "after")), tags=["after"])
        assert result.names
        assert engine.run("after", ["cat", "/two"], remove=True, network="none").stdout == b"after\n"
        assert engine.check_store() == ()
    assert mounts_below(root / "store") == []


def test_four_builders_share_one_store(root: Path) -> None:
    """Two pairs build the same thing, all four at once, three times."""
    for turn in range(3):
        folders = [context(root / f"context{number % 2}", f"turn-{turn}-{number % 2}") for number in range(4)]
        builders = [start_build(root, folder, f"shared{number}") for number, folder in enumerate(folders)]
        errors = [builder.communicate()[1].decode() for builder in builders]
        assert [builder.returncode for builder in builders] == [0, 0, 0, 0], "\n".join(errors)
    with Engine(root / "store") as engine:
        assert engine.check_store() == ()
        for number in range(4):
            out = engine.run(f"shared{number}", ["cat", "/one"], remove=True, network="none").stdout
            assert out == f"turn-2-{number % 2}\n".encode()
        images = {row.repository: row.id for row in engine.images()}
        assert engine.history("shared0")[0].created_by == engine.history("shared2")[0].created_by
        assert len({image for name, image in images.items() if name.startswith("shared")}) <= 4
    assert mounts_below(root / "store") == []


def test_nothing_of_a_killed_builder_lives_on(root: Path) -> None:
    """A RUN step dies with the process that asked for it."""
    folder = context(root / "context", "x")
    (folder / "Dockerfile").write_text(f"FROM ck-base\nRUN touch /started && sleep {SECONDS}\n")
    process = start_build(root, folder, "never")
    deadline = time.monotonic() + 60
    while not list((root / "store" / "layers").glob("*/diff/started")):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    while processes_of(root / "store") or sleepers():
        assert time.monotonic() < deadline, (processes_of(root / "store"), sleepers())
        time.sleep(0.02)
    with Engine(root / "store") as engine:
        assert engine.check_store() == ()


def sleepers() -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_bytes() == f"sleep\0{SECONDS}\0".encode():
                found.append(entry.parent.name)
        except OSError:
            continue
    return found
