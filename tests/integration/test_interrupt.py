"""Interrupting the command line: no process, mount, container or half-written image is left behind.

What a container says tells when to interrupt it; where the moment does not matter, it is drawn at random.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from judge.base import BASE, write_base

from contextkernel import Engine

PROGRAM = "import sys; from contextkernel.cli import main; sys.exit(main())"
MOMENTS = 8
PATIENCE = 60.0  # seconds until a hang is called one


class Terminal:
    """A store, and commands that run in a process group of their own, as a shell starts them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        #: in the command of everything that must be gone afterwards
        self.mark = f"mark-{os.getpid()}-{folder.name}"

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, "--root", str(self.store), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            cwd=self.folder,
        )

    def context(self, text: str) -> str:
        """A build context with this Dockerfile."""
        folder = self.folder / "context"
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text(text)
        return str(folder)

    def running(self) -> list[str]:
        """Commands of processes that carry the mark, or work on the store."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if self.mark in words or str(self.store) in words:
                found.append(words)
        return found

    def assert_clean(self) -> None:
        """Nothing runs, nothing is mounted, nothing lies about."""
        deadline = time.monotonic() + PATIENCE
        while self.running():
            assert time.monotonic() < deadline, self.running()
            time.sleep(0.01)
        assert str(self.store) not in Path("/proc/self/mountinfo").read_text()
        with Engine(self.store) as engine:
            assert engine.check_store() == ()
            assert engine.containers(all=True) == ()
            assert [row.repository for row in engine.images()] == [BASE]
        assert list((self.store / "tmp").iterdir()) == []
        assert list((self.store / "sessions").iterdir()) == []
        assert list((self.store / "containers").iterdir()) == []


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    folder = tmp_path_factory.mktemp("interrupt")
    write_base(folder / "base.tar")
    made = Terminal(folder)
    with Engine(made.store) as engine:
        engine.import_image(str(folder / "base.tar"), BASE)
    return made


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Read until a line contains ``text``."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(said)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and the rest of the output."""
    assert process.stdout is not None
    with process.stdout as output:  # not communicate(), which does not see what has been read ahead
        rest = output.read()
    return process.wait(), rest


@pytest.fixture(params=["the process", "its group"])
def interrupt(request: pytest.FixtureRequest) -> Callable[[int, int], None]:
    """``kill -INT``, or Ctrl-C in a terminal, which reaches the helpers as well."""
    return os.kill if request.param == "the process" else os.killpg


def test_a_build(terminal: Terminal, interrupt: Callable[[int, int], None]) -> None:
    context = terminal.context(
        f"FROM {BASE}\nRUN echo one > /one\nRUN : {terminal.mark}; echo beg''un; sleep 1000; :\n"
    )
    process = terminal.start("build", "--progress", "plain", "-t", "never", context)
    wait_for(process, "begun")
    interrupt(process.pid, signal.SIGINT)
    code, rest = ended(process)
    assert code == 130
    assert "CANCELED" in rest
    assert "Traceback" not in rest
    terminal.assert_clean()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_build_that_is_terminated(terminal: Terminal, number: signal.Signals) -> None:
    """No handler runs; the helpers see that it is gone."""
    context = terminal.context(f"FROM {BASE}\nRUN : {terminal.mark}; echo beg''un; sleep 1000; :\n")
    process = terminal.start("build", "--progress", "plain", "-t", "never", context)
    wait_for(process, "begun")
    process.send_signal(number)
    assert ended(process)[0] == -number
    with Engine(terminal.store) as engine:
        engine.check_store()  # sweeps
    terminal.assert_clean()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_with_mounts(terminal: Terminal, number: signal.Signals) -> None:
    """No mount, lock, socket or secret stays, whatever ends the build."""
    secret = f"secret-of-{terminal.mark}"
    (terminal.folder / "token").write_text(secret)
    context = terminal.context(
        f"FROM {BASE} AS one\nRUN echo x > /x\nFROM {BASE}\n"
        "RUN --mount=target=/ctx,rw --mount=from=one,target=/one --mount=type=cache,target=/c,sharing=locked"
        " --mount=type=tmpfs,target=/t --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=token"
        f" --mount=type=ssh : {terminal.mark}; touch /ctx/y; echo beg''un; sleep 1000; :\n"
    )
    with socket.socket(socket.AF_UNIX) as agent:
        path = terminal.folder / "agent"
        path.unlink(missing_ok=True)
        agent.bind(str(path))
        agent.listen()
        process = terminal.start(
            "build", "--progress", "plain", "-t", "never", "--secret", f"id=token,src={terminal.folder}/token",
            "--ssh", f"default={path}", context,
        )  # fmt: skip
        wait_for(process, "begun")
        process.send_signal(number)
        assert ended(process)[0] == (130 if number == signal.SIGINT else -number)
    with Engine(terminal.store) as engine:
        engine.check_store()  # sweeps
    terminal.assert_clean()
    with Engine(terminal.store) as engine:
        assert [row.in_use for row in engine._store.cache_mounts()] == [False]
        known = {row[0] for row in engine._store._database.all("SELECT directory FROM layers")}
    assert {entry.name for entry in (terminal.store / "layers").iterdir()} == known
    for entry in terminal.store.rglob("*"):
        if entry.is_file() and not entry.is_symlink():
            assert secret.encode() not in entry.read_bytes(), entry


def passes_on(process: subprocess.Popen[str]) -> None:
    """Wait until a command passes signals on; until then an interrupt is its own. It has no other use for SIGTERM."""
    deadline = time.monotonic() + PATIENCE
    while True:
        status = Path(f"/proc/{process.pid}/status").read_text()
        (caught,) = (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:"))
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_program_decides_what_an_interrupt_means(terminal: Terminal) -> None:
    script = f": {terminal.mark}; trap 'echo caught; exit 5' INT; echo beg''un; while :; do sleep 0.05; done"
    process = terminal.start("run", "--rm", BASE, "sh", "-c", script)
    wait_for(process, "begun")
    passes_on(process)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (5, "caught\n")
    terminal.assert_clean()


def test_the_third_interrupt_is_meant(terminal: Terminal) -> None:
    """Process 1 of a container ignores signals it has no handler for."""
    script = f": {terminal.mark}; trap 'echo again' INT; echo beg''un; while :; do sleep 0.05; done"
    process = terminal.start("run", "--rm", BASE, "sh", "-c", script)
    wait_for(process, "begun")
    passes_on(process)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        wait_for(process, "again")
    process.send_signal(signal.SIGINT)
    assert ended(process)[0] == 130
    terminal.assert_clean()


def test_followed_logs_leave_the_container_alone(terminal: Terminal) -> None:
    script = f": {terminal.mark}; echo beg''un; sleep 1000; :"
    assert ended(terminal.start("run", "-d", "--rm", "--name", "talks", BASE, "sh", "-c", script))[0] == 0
    for words in (["logs", "-f", "talks"], ["wait", "talks"]):
        process = terminal.start(*words)
        if words[0] == "logs":
            wait_for(process, "begun")
        else:
            time.sleep(0.3)  # wherever it has come to
        process.send_signal(signal.SIGINT)
        code, rest = ended(process)
        assert code in (130, -signal.SIGINT) or "init_" in rest, rest  # the latter two before the program has begun
    assert ended(terminal.start("rm", "-f", "talks"))[0] == 0
    terminal.assert_clean()


@pytest.mark.parametrize("verb", ["build", "run"])
def test_any_moment(terminal: Terminal, verb: str) -> None:
    """An interrupt while things are being set up."""
    chance = random.Random(verb)  # noqa: S311 - moments, not secrets
    for number in range(MOMENTS):
        script = f": {terminal.mark}; sleep 1000; :"
        if verb == "build":
            context = terminal.context(f"FROM {BASE}\nCOPY file /{number}\nRUN {script}\n")
            Path(context, "file").write_bytes(os.urandom(1 << 20))
            process = terminal.start("build", "-q", "-t", "never", context)
        else:
            process = terminal.start("run", "--rm", BASE, "sh", "-c", script)
        time.sleep(chance.uniform(0.02, 0.6))
        while process.poll() is None:  # run passes the first two on
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(0.5)
            except subprocess.TimeoutExpired:
                continue
        code, rest = ended(process)
        # the interpreter itself may not have come up yet
        assert code in (130, -signal.SIGINT) or "init_" in rest, rest
    terminal.assert_clean()
