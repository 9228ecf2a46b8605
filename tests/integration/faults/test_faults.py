"""Faults: each ends in a clear message, or a state that ``ps -a`` tells right, and leaves nothing behind.

The count of what is left is made after each test, by the fixture of the engine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contextkernel import Engine
from contextkernel.errors import ContextKernelError

IMAGE = "faulty"
FOREVER = ("sh", "-c", "echo up; while :; do sleep 0.1; done")
DEAF = ("sh", "-c", "trap '' TERM INT HUP; echo up; while :; do sleep 0.1; done")


def state_of(engine: Engine, name: str) -> tuple[str, int]:
    (row,) = [row for row in engine.containers(all=True) if row.name == name]
    return row.state, row.exit_code


def pid_of(engine: Engine, name: str) -> int:
    (document,) = engine.inspect([name], "container")
    return int(document["State"]["Pid"])


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("network", ["default", "none"])
def test_monitor_killed(engine, eventually, network):
    engine.run(IMAGE, FOREVER, name="orphan", detach=True, network=network)
    init = pid_of(engine, "orphan")
    os.kill(parent(init), signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{init}"), "the end of the container")
    # a process of its that is still going may hold its lock
    eventually(lambda: state_of(engine, "orphan") == ("dead", 137), "that it is told as dead")
    assert engine.wait("orphan") == 137
    engine.start("orphan")  # it can be started again, as after a power cut
    assert state_of(engine, "orphan")[0] == "running"


def test_monitor_killed_while_somebody_is_attached(engine, eventually):
    seen = []

    def on_output(_stream, data):
        if not seen:
            os.kill(parent(pid_of(engine, "watched")), signal.SIGKILL)
        seen.append(data)

    done = engine.run(IMAGE, FOREVER, name="watched", network="none", on_output=on_output)
    assert done.exit_code == 137
    eventually(lambda: state_of(engine, "watched") == ("dead", 137), "that it is told as dead")


def test_monitor_killed_while_a_program_runs_in_it(engine, eventually):
    engine.run(IMAGE, FOREVER, name="host", detach=True, network="none")
    init = pid_of(engine, "host")
    engine.exec("host", ["sleep", "1000"], detach=True)
    os.kill(parent(init), signal.SIGKILL)
    eventually(lambda: state_of(engine, "host")[0] == "dead")


def test_launcher_killed(engine, census):
    engine.run(IMAGE, FOREVER, name="before", detach=True, network="none")
    launchers = [line for line in census.processes() if "runtime.launcher" in line]
    monitor = parent(pid_of(engine, "before"))
    for line in launchers:
        pid = int(line.split()[0])
        if pid != monitor:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert state_of(engine, "before")[0] == "running"
    assert engine.run(IMAGE, ["echo", "again"], remove=True, network="none").stdout == b"again\n"
    engine.stop("before", timeout=0)
    assert state_of(engine, "before") == ("exited", 137)


RUN = """
import sys
from contextkernel import Engine
with Engine(sys.argv[1]) as engine:
    engine.run(sys.argv[2], sys.argv[4:], name=sys.argv[3], remove=sys.argv[3] == "gone",
               on_output=lambda stream, data: (sys.stdout.write(data.decode()), sys.stdout.flush()))
"""


def kernel(engine: Engine, name: str) -> subprocess.Popen[str]:
    """Another process that runs a container and shows its output; it has said ``up``."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, engine.root, IMAGE, name, *FOREVER], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def test_kernel_killed_in_the_middle_of_run(engine):
    process = kernel(engine, "survivor")
    process.kill()
    process.wait()
    process.stdout.close()
    assert state_of(engine, "survivor")[0] == "running"  # as docker's, when its command line is killed
    assert engine.exec("survivor", ["echo", "here"]).stdout == b"here\n"
    engine.stop("survivor", timeout=0)
    assert state_of(engine, "survivor") == ("exited", 137)


def test_kernel_killed_in_the_middle_of_run_rm(engine, eventually):
    process = kernel(engine, "gone")
    process.kill()
    process.wait()
    process.stdout.close()
    engine.kill("gone")
    eventually(lambda: not engine.containers(all=True), "the removal")


def test_program_that_ignores_what_it_is_asked(engine):
    engine.run(IMAGE, DEAF, name="deaf", detach=True, network="none")
    engine.stop("deaf", timeout=1)
    assert state_of(engine, "deaf") == ("exited", 137)


def test_fork_bomb(engine):
    bomb = "echo up; f() { f | f & }; f; while :; do sleep 0.1; done"
    engine.run(IMAGE, ["sh", "-c", bomb], name="bomb", detach=True, network="none", pids_limit=100)
    (document,) = engine.inspect(["bomb"], "container")
    assert document["HostConfig"]["PidsLimit"] == 100
    engine.kill("bomb")
    assert state_of(engine, "bomb") == ("exited", 137)


def test_many_forks_are_all_killed(engine):
    script = "for i in $(seq 200); do (trap '' TERM HUP; sleep 1000) & done; echo up; wait"
    engine.run(IMAGE, ["sh", "-c", script], name="many", detach=True, network="none")
    engine.kill("many")
    assert state_of(engine, "many") == ("exited", 137)


@pytest.mark.timeout(300)
def test_two_hundred_at_once(engine):
    ids = [engine.run(IMAGE, ["sleep", "1000"], detach=True, network="none") for _ in range(200)]
    rows = engine.containers()
    assert {row.id for row in rows} >= set(ids)
    assert {row.state for row in rows} == {"running"}
    assert engine.exec(ids[77], ["echo", "hello"]).stdout == b"hello\n"
    for identity in ids:
        engine.kill(identity)
    assert {row.exit_code for row in engine.containers(all=True)} == {137}


def test_what_cannot_be_started_leaves_nothing(engine):
    with pytest.raises(ContextKernelError, match="executable file not found"):
        engine.run(IMAGE, ["nope"], name="failed")
    assert state_of(engine, "failed")[0] == "created"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, which root alone can make."""
    if os.geteuid():
        pytest.skip("only root can mount")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(path: Path) -> None:
    """Write until nothing more fits, not even a page."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    for size in (1 << 20, 1 << 12):
        with contextlib.suppress(OSError):
            while True:
                os.write(descriptor, bytes(size))
    os.close(descriptor)


def run_many(engine: Engine) -> None:
    """A few may still find room in pages that are there already."""
    for _ in range(100):
        engine.run(IMAGE, ["true"], remove=True, network="none", environment={"BALLAST": "x" * 50_000})


@pytest.mark.may_skip
def test_full_disk(small_disk, archive, census):
    del census
    with Engine(str(small_disk / "store")) as engine:
        engine.import_image(str(archive), IMAGE)
        engine.run(IMAGE, FOREVER, name="early", detach=True, network="none")
        fill(small_disk / "filler")
        with pytest.raises(ContextKernelError, match="no space left"):
            run_many(engine)
        os.unlink(small_disk / "filler")
        assert state_of(engine, "early")[0] == "running"
        assert engine.run(IMAGE, ["true"], network="none").exit_code == 0
        for row in engine.containers(all=True):
            engine.remove_container(row.id, force=True)


@pytest.mark.may_skip
def test_container_that_fills_the_disk_with_its_output(small_disk, archive, census):
    del census
    with Engine(str(small_disk / "store")) as engine:
        engine.import_image(str(archive), IMAGE)
        script = "dd if=/dev/zero bs=64k count=600 2>/dev/null | tr '\\0' x; echo; echo end"
        done = engine.run(IMAGE, ["sh", "-c", script], name="loud", network="none")
        assert (done.exit_code, done.stdout[-4:]) == (0, b"end\n")  # a full disk costs the log, not the container
        engine.remove_container("loud")


@pytest.mark.may_skip
def test_read_only_disk(small_disk, archive, census):
    del census
    with Engine(str(small_disk / "store")) as engine:
        engine.import_image(str(archive), IMAGE)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises((ContextKernelError, OSError)) as caught, Engine(str(small_disk / "store")) as engine:
        engine.run(IMAGE, ["true"], network="none")
    assert "read-only" in str(caught.value).lower()
    assert isinstance(caught.value, ContextKernelError)
