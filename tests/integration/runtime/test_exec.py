"""Further programs in a running container, and terminals."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from contextkernel.errors import CommandNotExecutable, CommandNotFound, Conflict, LaunchFailed
from contextkernel.linux.caps import read_capabilities
from contextkernel.model.container import ExecRequest, Terminal

UP = "echo up; while :; do sleep 0.05; done"


@pytest.fixture
def start(box):
    """Starts a shell script; returns its request once it has said ``up``."""
    processes = []

    def begin(script: str = UP, **changes: object):
        read, write = os.pipe()
        request = box.request("sh", "-c", script, state=True, **changes)
        process = box.runtime.launch(request, stdout=write)
        processes.append(process)
        os.close(write)
        with os.fdopen(read, "rb") as output:
            assert output.readline().strip() == b"up"
        return request, process

    yield begin
    for process in processes:
        process.signal(9, ends=True)
        process.wait()
        process.close()


def wanted(*argv: str, **changes: object) -> ExecRequest:
    return ExecRequest(**{"argv": argv, "env": ("PATH=/bin",), **changes})  # type: ignore[arg-type]


def run(box, container, *argv: str, stdin: bytes | None = None, **changes: object) -> tuple[int, str, str]:
    """A program to its end: exit code and both outputs."""
    pipes = [os.pipe() for _ in range(3)]
    (give, sender), (out, out_end), (err, err_end) = pipes
    os.write(sender, stdin or b"")
    os.close(sender)
    request = wanted(*argv, open_stdin=stdin is not None, **changes)
    try:
        process = box.runtime.execute(
            container.state_dir, request, stdin=None if stdin is None else give, stdout=out_end, stderr=err_end
        )
    finally:
        for end in (give, out_end, err_end):
            os.close(end)
    with os.fdopen(out, "rb") as output, os.fdopen(err, "rb") as errors:
        texts = output.read().decode(), errors.read().decode()
    code = process.wait()
    process.close()
    return (code, *texts)


def test_a_program_runs_beside_the_others(box, start):
    container, _ = start()
    assert run(box, container, "sh", "-c", "echo out; echo err >&2; exit 4") == (4, "out\n", "err\n")
    assert run(box, container, "hostname") == (0, "box\n", "")


def test_it_is_in_the_same_namespaces(box, start):
    container, process = start()
    for name in ("mnt", "uts", "ipc", "net", "pid", "cgroup"):
        _, out, _ = run(box, container, "readlink", f"/proc/self/ns/{name}")
        assert out.strip() == os.readlink(f"/proc/{process.pid}/ns/{name}"), name


def test_it_sees_the_files_and_processes_of_the_container(box, start, eventually):
    container, _ = start("echo written >/file; echo up; exec sleep 1000")
    assert run(box, container, "cat", "/file")[1] == "written\n"
    eventually(lambda: "sleep 1000" in run(box, container, "ps", "-o", "args")[1].split("\n"), "the shell's last act")
    assert run(box, container, "sh", "-c", "echo more >>/file")[0] == 0
    assert Path(container.upper, "file").read_text() == "written\nmore\n"


def test_input(box, start):
    container, _ = start()
    assert run(box, container, "cat", stdin=b"fed") == (0, "fed", "")
    assert run(box, container, "cat") == (0, "", "")


def test_environment_directory_and_user(box, start):
    container, _ = start()
    _, out, _ = run(
        box, container, "sh", "-c", "echo $A; pwd; echo $HOME", env=("PATH=/bin", "A=1"), working_dir="/etc"
    )
    assert out == "1\n/etc\n/root\n"
    if not box.single:
        assert run(box, container, "id", "-G", user="bob")[1].split() == ["1001", "50"]
        assert run(box, container, "id", "-u", user="7:8")[1] == "7\n"


def test_an_output_can_be_opened_by_its_user(box, start):
    container, _ = start()
    user = "" if box.single else "bob"
    assert run(box, container, "sh", "-c", "echo x >/dev/stdout", user=user) == (0, "x\n", "")
    assert box.run("sh", "-c", "echo x >/dev/stderr", user=user).err == "x\n"


def test_it_has_the_rules_of_the_container(box, start):
    container, process = start()
    fields = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters")

    def rules(text: str) -> dict[str, str]:
        pairs = (line.split(":\t") for line in text.splitlines())
        return {key: value for key, value in (pair for pair in pairs if len(pair) == 2) if key in fields}

    _, out, _ = run(box, container, "cat", "/proc/self/status")
    assert rules(out) == rules(Path(f"/proc/{process.pid}/status").read_text())


def test_privileged_has_all_capabilities_and_keeps_the_filter(box, start):
    container, _ = start()
    _, out, _ = run(box, container, "grep", "-E", "CapEff|Seccomp:", "/proc/self/status", privileged=True)
    effective, seccomp = (line.split("\t")[1] for line in out.splitlines())
    assert seccomp == "2"
    if os.geteuid() == 0:
        mine = read_capabilities().permitted
        assert int(effective, 16).bit_count() == len(mine)
    elif not box.single:
        assert int(effective, 16).bit_count() > 30


@pytest.mark.parametrize(
    ("argv", "changes", "error", "text"),
    [
        (("nope",), {}, CommandNotFound, 'exec: "nope": executable file not found in \\$PATH'),
        (("/etc/passwd",), {}, CommandNotExecutable, "permission denied"),
        (
            ("true",),
            {"working_dir": "/nope"},
            CommandNotFound,
            "the working directory cannot be entered: openat2 /nope",
        ),
        (("true",), {"user": "nobody-here"}, LaunchFailed, "nobody-here"),
    ],
)
def test_a_program_that_cannot_be_started(box, start, argv, changes, error, text):
    container, _ = start()
    with pytest.raises((error,), match=text) as caught:
        box.runtime.execute(container.state_dir, wanted(*argv, **changes))
    assert type(caught.value) is error or error is LaunchFailed
    assert run(box, container, "true")[0] == 0  # the container is as it was


def test_death_by_a_signal(box, start):
    container, _ = start()
    assert run(box, container, "sh", "-c", "kill -9 $$")[0] == 137


def test_it_ends_with_the_container(box, start):
    container, process = start()
    running = box.runtime.execute(container.state_dir, wanted("sleep", "1000"))
    assert running.pid in process.processes()
    process.signal(9)
    assert process.wait() == 137
    assert running.wait() == 137
    running.close()


def test_it_outlives_its_client(box, start):
    container, process = start()
    running = box.runtime.execute(container.state_dir, wanted("sleep", "1000"))
    pid = running.pid
    running.close()
    # another one comes and goes: the monitor has seen by then that the client has left
    assert run(box, container, "true")[0] == 0
    assert pid in process.processes()
    assert Path(f"/proc/{pid}/comm").read_text() == "sleep\n"


def test_what_it_leaves_running_does_not_hold_it(box, start):
    container, _ = start()
    assert run(box, container, "sh", "-c", "sleep 1000 & echo done") == (0, "done\n", "")


def test_a_paused_container_takes_none(box, start):
    container, process = start()
    process.pause()
    with pytest.raises(Conflict, match="it is paused"):
        box.runtime.execute(container.state_dir, wanted("true"))
    process.unpause()


def test_one_that_has_ended_takes_none(box, start):
    container, process = start("echo up")
    process.wait()
    assert box.runtime.execute(container.state_dir, wanted("true")) is None


def test_many_at_once(box, start):
    container, _ = start()
    running = [box.runtime.execute(container.state_dir, wanted("sh", "-c", f"exit {n}")) for n in range(20)]
    assert [one.wait() for one in running] == list(range(20))
    for one in running:
        one.close()


def test_attack_nobody_inside_can_look_into_the_joining_process(box, start):
    # root inside polls for new processes and tries to open what they execute: before exec that is the host's
    # interpreter (CVE-2019-5736), and their descriptors are the monitor's
    spy = """
    echo up
    while :; do
      for p in /proc/[0-9]*; do
        e=$(readlink $p/exe 2>/dev/null)
        case "$e" in *python*) echo "$e" >>/seen; ls -l $p/fd >>/seen 2>&1;; esac
      done
    done"""
    container, _ = start(spy)
    for _ in range(20):
        assert run(box, container, "true")[0] == 0
    assert not Path(container.upper, "seen").exists()


class Screen:
    """The client's side of a terminal that is shown by nobody."""

    def __init__(self) -> None:
        self.give, self.sender = os.pipe()
        self.output, self.out = os.pipe()

    def started(self) -> None:
        os.close(self.give)
        os.close(self.out)

    def rest(self) -> bytes:
        with os.fdopen(self.output, "rb") as stream:
            return stream.read()

    def read_until(self, text: bytes) -> bytes:
        seen = b""
        while text not in seen:
            piece = os.read(self.output, 1000)
            assert piece, seen
            seen += piece
        return seen


@pytest.fixture
def screen():
    return Screen()


def test_terminal_of_a_container(box, screen):
    script = "tty; stty size; ls -l /dev/console; echo err >&2; test -t 0 && test -t 1 && test -t 2 && echo terminal"
    request = box.request("sh", "-c", script, state=True, terminal=Terminal(33, 111))
    process = box.runtime.launch(request, stdout=screen.out)
    screen.started()
    lines = screen.rest().decode().split("\r\n")
    assert process.wait() == 0
    process.close()
    os.close(screen.sender)
    assert lines[:2] == ["/dev/pts/0", "33 111"]
    assert lines[2].startswith("crw--w----")
    assert lines[3:] == ["err", "terminal", ""]


def test_terminal_is_the_controlling_one(box, screen):
    request = box.request(
        "sh",
        "-c",
        "trap 'echo int; exit 3' INT; echo up; while :; do sleep 0.05; done",
        state=True,
        terminal=Terminal(),
        open_stdin=True,
    )
    process = box.runtime.launch(request, stdin=screen.give, stdout=screen.out)
    screen.started()
    screen.read_until(b"up\r\n")
    os.write(screen.sender, b"\x03")
    assert b"int" in screen.rest()
    assert process.wait() == 3
    process.close()
    os.close(screen.sender)


def test_new_size_is_told(box, screen):
    request = box.request(
        "sh",
        "-c",
        "trap 'stty size; exit 0' WINCH; echo up; while :; do sleep 0.05; done",
        state=True,
        terminal=Terminal(10, 20),
    )
    process = box.runtime.launch(request, stdout=screen.out)
    screen.started()
    screen.read_until(b"up\r\n")
    process.resize(40, 50)
    assert screen.rest() == b"40 50\r\n"
    assert process.wait() == 0
    process.close()
    os.close(screen.sender)


def test_output_of_a_terminal_is_logged(box):
    import json

    request = box.request("sh", "-c", "echo a; echo b >&2", state=True, terminal=Terminal())
    process = box.runtime.launch(request)
    assert process.wait() == 0
    process.close()
    records = [json.loads(line) for line in Path(request.log).read_text().splitlines()]
    assert [(record["stream"], record["log"]) for record in records] == [("stdout", "a\r\n"), ("stdout", "b\r\n")]


def test_detach_keys_at_a_terminal(box, screen):
    request = box.request("sh", "-c", "echo up; cat", state=True, terminal=Terminal(), open_stdin=True)
    process = box.runtime.launch(request, stdin=screen.give, stdout=screen.out, detach_keys=b"\x10\x11")
    screen.started()
    screen.read_until(b"up\r\n")
    os.write(screen.sender, b"\x10\x11")
    assert process.wait() is None
    assert process.detached
    process.close()
    os.close(screen.sender)
    again = Screen()
    other = box.runtime.connect(request.state_dir)
    other.attach(stdin=again.give, stdout=again.out, detach_keys=b"\x10\x11")
    again.started()
    os.write(again.sender, b"hello\n")
    again.read_until(b"hello\r\nhello\r\n")
    os.write(again.sender, b"\x04")
    assert other.wait() == 0
    other.close()
    os.close(again.sender)


def test_terminal_of_an_exec(box, start, screen):
    container, _ = start()
    user = "" if box.single else "bob"
    request = wanted("sh", "-c", "tty; stty size; ls -l $(tty)", terminal=Terminal(5, 6), user=user)
    process = box.runtime.execute(container.state_dir, request, stdout=screen.out)
    screen.started()
    lines = screen.rest().decode().split("\r\n")
    assert process.wait() == 0
    process.close()
    os.close(screen.sender)
    assert lines[:2] == ["/dev/pts/0", "5 6"]
    assert lines[2].split()[2] == ("root" if box.single else "bob")


def test_attack_something_else_in_the_place_of_ptmx(box, start):
    container, _ = start("rm -f /dev/ptmx; mount -t tmpfs none /dev/pts 2>/dev/null; ln -s /etc/passwd /p; " + UP)
    process = box.runtime.execute(container.state_dir, wanted("true", terminal=Terminal()))
    assert process.wait() == 0  # mounts are not allowed inside, so ptmx is what it was
    process.close()


def test_descriptors_of_the_engine_are_not_in_an_exec(box, start):
    container, _ = start()
    _, out, _ = run(box, container, "sh", "-c", "ls /proc/$$/fd; true")
    assert out.split() == ["0", "1", "2"]
