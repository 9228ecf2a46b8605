"""Stages that run at the same time, with the real engine: what stops one stops all, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from judge.base import BASE, write_base

from contextkernel import Engine
from contextkernel.errors import HostUnsupported, StepFailed

PATIENCE = 60.0  # seconds until a hang is called one
PROGRAM = "import sys; from contextkernel.cli import main; sys.exit(main())"
#: each stage waits until the others run as well: one after the other they would never end
MEET = "touch /shared/{own}; until [ -e /shared/{other} ]; do sleep 0.02; done"
STAGES = """\
FROM ck-base AS one
RUN : {mark}; echo begun-one; {one}
FROM ck-base AS two
RUN : {mark}; echo begun-two; {two}
FROM ck-base
COPY --from=one /etc/passwd /one
COPY --from=two /etc/passwd /two
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    write_base(tmp_path / "base.tar")
    with Engine(tmp_path / "store") as engine:
        engine.import_image(str(tmp_path / "base.tar"), BASE)
    yield tmp_path
    with Engine(tmp_path / "store") as engine:
        engine.check_store(repair=True)


def mark_of(place: Path) -> str:
    return f"mark-{os.getpid()}-{place.name}"


def marked(mark: str) -> list[str]:
    """Command lines of programs with the mark, but not of those that were started with it in an argument of ours."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if mark in words and int(entry.parent.name) != os.getpid():
            found.append(words)
    return found


def assert_clean(place: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while marked(mark_of(place)):
        assert time.monotonic() < deadline, marked(mark_of(place))
        time.sleep(0.02)
    store = place / "store"
    assert str(store) not in Path("/proc/self/mountinfo").read_text()
    with Engine(store) as engine:
        assert engine.check_store() == ()
        assert [row.repository for row in engine.images()] == ["ck-base"]
    assert list((store / "tmp").iterdir()) == []
    assert list((store / "sessions").iterdir()) == []


def test_stages_meet(place):
    """Each stage's program ends only while the other's runs: they see each other through a shared cache mount."""
    mount = "--mount=type=cache,id=meet,target=/shared "
    text = STAGES.format(
        mark=mark_of(place),
        one=MEET.format(own="one", other="two"),
        two=MEET.format(own="two", other="one"),
    ).replace("RUN ", f"RUN {mount}")
    with Engine(place / "store") as engine:
        result = engine.build(None, text=text, tags=["met"])
        states = {step.name: step.state for step in result.steps}
        assert [state for name, state in states.items() if "RUN" in name] == ["done", "done"]
        assert engine.check_store() == ()
        engine.remove_image("met")
    assert_clean(place)


def test_one_job_is_one_at_a_time(place):
    """With --jobs 1 no stage begins before the one before it has ended."""
    mount = "--mount=type=cache,id=alone,target=/shared "
    alone = "mkdir /shared/busy && sleep 0.2 && rmdir /shared/busy"
    text = STAGES.format(mark=mark_of(place), one=alone, two=alone).replace("RUN ", f"RUN {mount}")
    with Engine(place / "store") as engine:
        assert engine.build(None, text=text, jobs=1).image


def test_a_failure_stops_the_others(place):
    mount = "--mount=type=cache,id=fail,target=/shared "
    wait = "until [ -e /shared/running ]; do sleep 0.02; done; exit 7"
    text = STAGES.format(mark=mark_of(place), one="touch /shared/running; sleep 1000; :", two=wait)
    events: list[object] = []
    with Engine(place / "store") as engine:
        with pytest.raises(StepFailed) as problem:
            engine.build(None, text=text.replace("RUN ", f"RUN {mount}"), report=events.append)
        assert problem.value.status == 7
        assert problem.value.span is not None
        assert problem.value.span.line == 4
        row, steps = engine.inspect_build()
        assert row.status == "error"
        assert {step.state for step in steps if "RUN" in step.name} == {"error", "canceled"}
    kinds = [type(event).__name__ for event in events]
    assert kinds.count("StepBroke") == kinds.count("StepCanceled") == 1
    assert_clean(place)


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["the process", "its group"])
def test_an_interrupt_stops_all(place, send: Callable[[int, int], None]):
    process = start(place)
    rest = until_both_run(process)
    send(process.pid, signal.SIGINT)
    assert process.stdout is not None
    with process.stdout as output:
        rest += output.read()
    assert process.wait() == 130
    assert rest.count("CANCELED") == 2
    assert "Traceback" not in rest
    assert_clean(place)
    with Engine(place / "store") as engine:
        assert [row.status for row in engine.builds()] == ["canceled"]


def test_a_killed_build_was_canceled(place):
    process = start(place)
    until_both_run(process)
    with Engine(place / "store") as engine:
        assert [row.status for row in engine.builds()] == ["running"]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    with Engine(place / "store") as engine:
        (row,) = engine.builds()
        assert (row.status, row.image) == ("canceled", None)
    assert_clean(place)


def start(place: Path) -> subprocess.Popen[str]:
    """A build of two stages that run until they are stopped, by a command line in a process group of its own."""
    (place / "context").mkdir()
    forever = "sleep 1000; :"
    text = STAGES.format(mark=mark_of(place), one=forever, two=forever).replace("echo begun-", "echo beg''un-")
    (place / "context" / "Dockerfile").write_text(text)
    words = ["--root", str(place / "store"), "build", "--progress", "plain", "-t", "never", str(place / "context")]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def until_both_run(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "begun-one" in said and "begun-two" in said:
            return said
    raise AssertionError(said)


def test_time_and_memory_of_a_program(place):
    text = "FROM ck-base\nRUN i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; dd if=/dev/zero of=/f bs=1k count=7\n"
    with Engine(place / "store") as engine:
        record = engine.build(None, text=text).record
        row, steps = engine.inspect_build(record)
        assert row.status == "completed"
        (run,) = [step for step in steps if "RUN" in step.name]
        assert run.cpu_seconds is not None
        assert run.cpu_seconds > 0
        assert run.peak_memory is not None
        assert run.peak_memory > 100_000
        assert run.written == 7 * 1024
        assert run.layer is not None


def test_programs_of_a_machine_without_an_emulator(place):
    """s390x is no processor that a host of these tests could have; an emulator for it would make this a real build."""
    text = "FROM --platform=$BUILDPLATFORM ck-base AS own\nFROM scratch\nCOPY --from=own / /\nRUN echo hello\n"
    with Engine(place / "store") as engine, pytest.raises(HostUnsupported, match="linux/s390x") as problem:
        engine.build(None, text=text, platform="linux/s390x")
    assert problem.value.span is not None
    assert problem.value.span.line == 4
