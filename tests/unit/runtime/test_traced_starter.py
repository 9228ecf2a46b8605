"""The first program of a traced container, run by itself: what it does to the environment, and what it tells."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys

import pytest

from contextkernel.errors import HostUnsupported
from contextkernel.runtime.traced_starter import starter

here = pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="it is not written for this machine")

#: stands for proot, to which the program sends SIGQUIT: starts the program, and says whether the signal came
_PARENT = """
import os, signal, sys
program, descriptor, words = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
came = []
signal.signal(signal.SIGQUIT, lambda *_: came.append(1))
pid = os.fork()
if not pid:
    os.dup2(descriptor, 4)
    os.set_inheritable(4, True)
    os.execve(program, [program, *words], {"PROOT_LOADER": "x", "\\x01": "", "A": "1", "\\x01LD_LIBRARY_PATH": "/l"})
while True:
    try:
        os.waitpid(pid, 0)
        break
    except InterruptedError:
        pass
print("quit" if came else "-")
"""


def told(tmp_path, *words: str) -> tuple[tuple[int, ...], list[str]]:
    """The numbers it wrote, and the lines of output."""
    program = tmp_path / "starter"
    program.write_bytes(starter())
    program.chmod(0o755)
    read, write = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PARENT, str(program), str(write), *words],
            pass_fds=[write],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    finally:
        os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    return struct.unpack(f"={len(data) // 4}i", data), done.stdout.splitlines()


@here
def test_the_exit_status_is_told_and_the_tracer_is_sent_a_signal(tmp_path):
    (pid, status), lines = told(tmp_path, "/bin/sh", "sh", "-c", "exit 3")
    assert pid > 0
    assert os.waitstatus_to_exitcode(status) == 3
    assert lines == ["quit"]


@here
def test_a_signal_is_told(tmp_path):
    (_, status), _ = told(tmp_path, "/bin/sh", "sh", "-c", "kill -SEGV $$")
    assert os.WTERMSIG(status) == signal.SIGSEGV


@here
def test_its_own_variables_are_taken_off_and_hidden_ones_shown(tmp_path):
    _, lines = told(tmp_path, "/usr/bin/env", "env")
    assert lines == ["A=1", "LD_LIBRARY_PATH=/l", "quit"]


@here
def test_the_program_has_no_signals_blocked_and_not_the_pipe(tmp_path):
    _, lines = told(
        tmp_path, "/bin/sh", "sh", "-c", "grep SigBlk /proc/self/status; test -e /proc/self/fd/4 || echo none"
    )
    assert lines == ["SigBlk:\t0000000000000000", "none", "quit"]


@here
def test_a_program_that_cannot_be_executed(tmp_path):
    numbers, _ = told(tmp_path, "/nowhere", "nowhere")
    assert -2 in numbers
    assert [os.waitstatus_to_exitcode(one) for one in numbers if one >= 0][-1] == 127


@here
def test_what_ends_meanwhile_is_collected(tmp_path):
    # the orphan is not its own, but a program's other children may come to it where it is the reaper
    (_, status), _ = told(tmp_path, "/bin/sh", "sh", "-c", "(true &); exit 5")
    assert os.waitstatus_to_exitcode(status) == 5


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 62), ("aarch64", 183)])
def test_it_is_an_executable_of_that_machine(machine, number):
    program = starter(machine)
    assert program[:6] == b"\x7fELF\x02\x01"
    assert struct.unpack_from("<HH", program, 16) == (2, number)
    (entry,) = struct.unpack_from("<Q", program, 24)
    kind, flags, offset, address, _, size, _, _ = struct.unpack_from("<IIQQQQQQ", program, 64)
    assert (kind, flags, offset, size) == (1, 5, 0, len(program))
    assert entry - address == 120
    assert machine != "aarch64" or len(program) % 4 == 0


def test_other_machines_are_refused():
    with pytest.raises(HostUnsupported, match="riscv64"):
        starter("riscv64")
