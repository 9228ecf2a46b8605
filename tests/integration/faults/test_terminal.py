"""The command line at a terminal: what docker's users do with ``-it``, and the terminal as it was afterwards."""

from __future__ import annotations

import os
import pty
import select
import sys
import termios
import time
from collections.abc import Iterator

import pytest

IMAGE = "faulty"
PATIENCE = 60.0
PROGRAM = "import sys; from contextkernel.cli import main; sys.exit(main())"
SHELL = "echo ready; read a; echo got $a; read b; echo got $b; exit 3"


class Terminal:
    """A command in a terminal of 30 rows and 100 columns; whoever tests is the person at it."""

    def __init__(self, root: str, *words: str) -> None:
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            termios.tcsetwinsize(0, (30, 100))
            os.execv(sys.executable, [sys.executable, "-c", PROGRAM, "--root", root, *words])  # noqa: S606
        self.modes = termios.tcgetattr(self.screen)
        self.seen = b""

    def until(self, text: bytes) -> bytes:
        """Read until ``text`` has been shown; what came before is forgotten."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.screen], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.screen, 4096)
                except OSError:
                    raise AssertionError(self.seen) from None
        shown, _, self.seen = self.seen.partition(text)
        return shown

    def type(self, keys: bytes) -> None:
        os.write(self.screen, keys)

    def raw(self) -> bool:
        return not termios.tcgetattr(self.screen)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def end(self) -> int:
        """Its exit code, once everything has been read; the terminal must be as it was."""
        while True:
            try:
                data = os.read(self.screen, 4096)
            except OSError:
                break
            if not data:
                break
            self.seen += data
        assert termios.tcgetattr(self.screen) == self.modes
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.screen)
        self.pid = 0
        return code


@pytest.fixture
def at(engine) -> Iterator[object]:
    opened = []

    def begin(*words: str) -> Terminal:
        opened.append(Terminal(engine.root, *words))
        return opened[-1]

    yield begin
    for terminal in opened:
        if terminal.pid:
            os.kill(terminal.pid, 9)
            os.waitpid(terminal.pid, 0)
            os.close(terminal.screen)


def state_of(engine, name: str) -> tuple[str, int]:
    (row,) = [row for row in engine.containers(all=True) if row.name == name]
    return row.state, row.exit_code


def test_run_detach_attach_start(engine, at):
    first = at("run", "-it", "--network", "none", "--name", "talk", IMAGE, "sh", "-c", f"stty size; {SHELL}")
    first.until(b"30 100\r\nready\r\n")
    assert first.raw()
    first.type(b"one\n")
    first.until(b"got one\r\n")
    first.type(b"\x10\x11")
    assert first.end() == 0
    assert state_of(engine, "talk")[0] == "running"
    second = at("attach", "talk")
    while not second.raw():
        time.sleep(0.01)
    second.type(b"two\n")
    second.until(b"got two\r\n")
    assert second.end() == 3
    third = at("start", "-ai", "talk")
    third.until(b"ready\r\n")
    third.type(b"a\nb\n")
    third.until(b"got b\r\n")
    assert third.end() == 3


def test_exec_at_a_terminal(engine, at):
    engine.run(IMAGE, ["sleep", "1000"], name="base", detach=True, network="none")
    shell = at("exec", "-it", "--detach-keys", "ctrl-a,x", "base", "sh", "-c", f"tty; stty size; {SHELL}")
    shell.until(b"/dev/pts/0\r\n30 100\r\nready\r\n")
    termios.tcsetwinsize(shell.screen, (20, 60))
    shell.type(b"a\nb\n")
    shell.until(b"got b\r\n")
    assert shell.end() == 3
    left = at("exec", "-it", "--detach-keys", "ctrl-a,x", "base", "sh", "-c", "echo up; cat")
    left.until(b"up\r\n")
    left.type(b"\x01x")
    left.until(b"read escape sequence")
    assert left.end() == 1


def test_new_size_reaches_the_program(at):
    shell = at(
        *("run", "--rm", "-it", "--network", "none", IMAGE, "sh", "-c"),
        "trap 'stty size; exit 0' WINCH; echo up; while :; do sleep 0.05; done",
    )
    shell.until(b"up\r\n")
    termios.tcsetwinsize(shell.screen, (41, 42))
    shell.until(b"41 42\r\n")
    assert shell.end() == 0


def test_keys_of_control_are_the_program_s(at):
    shell = at(
        *("run", "--rm", "-it", "--network", "none", IMAGE, "sh", "-c"),
        "trap 'echo interrupted; exit 4' INT; echo up; while :; do sleep 0.05; done",
    )
    shell.until(b"up\r\n")
    shell.type(b"\x03")
    shell.until(b"interrupted\r\n")
    assert shell.end() == 4


def test_a_start_that_fails_leaves_the_terminal_as_it_was(at):
    failed = at("run", "--rm", "-it", "--network", "none", IMAGE, "nope")
    failed.until(b"executable file not found")
    assert failed.end() == 127


def test_a_cell_is_typed_and_its_output_is_what_a_terminal_shows(engine):
    done = engine.run(
        IMAGE,
        ["sh", "-c", SHELL],
        tty=True,
        stdin=b"first\nsecond\n",
        network="none",
        remove=True,
    )
    assert done.exit_code == 3
    assert done.stdout == b"ready\r\nfirst\r\ngot first\r\nsecond\r\ngot second\r\n"


def test_the_end_of_a_cell_ends_a_shell(engine):
    done = engine.run(IMAGE, ["sh", "-c", "cat; echo end"], tty=True, stdin=b"text", network="none", remove=True)
    assert done.exit_code == 0
    assert done.stdout.endswith(b"end\r\n")
