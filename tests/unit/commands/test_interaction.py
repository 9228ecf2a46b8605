from __future__ import annotations

import os
import pty
import signal
import termios
import threading
import time

import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.grammar import UsageProblem
from contextkernel.commands.outcome import Nothing, Text
from contextkernel.commands.screen import FixedScreen, TerminalScreen
from contextkernel.errors import CommandNotFound, Conflict, ContainerNotFound, LaunchFailed
from contextkernel.testing.samples import WEB


@pytest.fixture
def do(engine, face):
    def run(line, face=face):
        return execute(engine, line.split(), face)

    return run


def asked(engine, method):
    return [arguments for name, arguments in engine.calls if name == method]


@pytest.fixture
def terminal():
    ours, theirs = pty.openpty()
    yield theirs
    os.close(ours)
    os.close(theirs)


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read
    os.close(read)
    os.close(write)


def test_exec(do, engine, face):
    outcome = do("exec -e A=1 -u bob -w /etc --privileged vigilant_curie ls -l")
    assert outcome.exit_code == 0
    assert face.output[0] == ("stdout", b"from the container!\n")
    assert asked(engine, "exec") == [
        {
            "container": "vigilant_curie",
            "command": ("ls", "-l"),
            "environment": ("A=1",),
            "user": "bob",
            "working_dir": "/etc",
            "privileged": True,
        }
    ]


def test_exec_gives_the_program_s_exit_code(do, engine):
    engine.exit_code = 7
    assert do("exec vigilant_curie false").exit_code == 7


def test_exec_detached(do, face):
    assert do("exec -d vigilant_curie sleep 9").value == Nothing()
    assert face.output == []


@pytest.mark.parametrize(
    ("stdin", "words", "wanted"),
    [
        (5, "exec vigilant_curie cat", None),
        (5, "exec -i vigilant_curie cat", 5),
        (b"cell", "exec vigilant_curie cat", b"cell"),
        (None, "exec -i vigilant_curie c", b""),
    ],
)
def test_exec_stdin(do, engine, make_face, stdin, words, wanted):
    do(words, face=make_face(stdin=stdin))
    assert asked(engine, "exec")[0].get("stdin") == wanted


def test_exec_of_what_is_not_there(do):
    with pytest.raises(CommandNotFound) as caught:
        do("exec vigilant_curie nosuchprogram")
    assert caught.value.exit_code == 127
    with pytest.raises(CommandNotFound) as caught:
        do("exec -d vigilant_curie nosuchprogram")
    assert caught.value.exit_code == 1  # docker: what goes wrong after -d is the daemon's answer
    with pytest.raises(ContainerNotFound) as missing:
        do("exec nope true")
    assert missing.value.exit_code == 1


def test_exec_that_cannot_be_set_up_is_1(do, engine, monkeypatch):
    def fail(*_args, **_options):
        raise LaunchFailed("no matching entries in passwd file")

    monkeypatch.setattr(engine, "exec", fail)
    with pytest.raises(LaunchFailed) as caught:
        do("exec -u nobodyx vigilant_curie true")
    assert caught.value.exit_code == 1


def test_exec_takes_two_words(do):
    with pytest.raises(UsageProblem):
        do("exec vigilant_curie")


@pytest.mark.parametrize("words", ["exec -it vigilant_curie sh", "run -it greet sh"])
def test_keys_come_from_a_terminal(do, make_face, pipe, terminal, words):
    with pytest.raises(UsageProblem, match="the input device is not a TTY") as caught:
        do(words, face=make_face(stdin=pipe))
    assert caught.value.exit_code == 1
    face = make_face(stdin=terminal)
    do(words, face=face)
    assert face.keys is True


def test_a_terminal_without_keys(do, make_face, pipe):
    face = make_face(stdin=pipe)
    do("run -t greet", face=face)
    assert face.keys is False


def test_a_cell_is_typed(do, engine, make_face):
    do("run -it greet", face=make_face(stdin=b"ls\n"))
    (call,) = asked(engine, "run")
    assert (call["stdin"], call["tty"], call["stdin_open"]) == (b"ls\n", True, True)


def test_leaving_an_exec_is_an_error_as_with_docker(do, engine):
    engine.leaves = True
    for words in ("exec -t vigilant_curie sh", "attach vigilant_curie"):
        with pytest.raises(Conflict, match="read escape sequence") as caught:
            do(words)
        assert caught.value.exit_code == 1


def test_attach(do, engine, make_face):
    engine.exit_code = 4
    face = make_face(stdin=0)
    assert do("attach --detach-keys a,b vigilant_curie", face=face).exit_code == 4
    assert asked(engine, "attach") == [
        {"container": "vigilant_curie", "stdin": 0, "forward_signals": True, "detach_keys": "a,b"}
    ]
    do("attach --no-stdin --sig-proxy=false vigilant_curie", face=face)
    assert asked(engine, "attach")[1] == {"container": "vigilant_curie"}


def test_attach_in_a_notebook_does_not_end_the_input(do, engine):
    do("attach vigilant_curie")
    assert "stdin" not in asked(engine, "attach")[0]


@pytest.mark.parametrize("words", ["start -i vigilant_curie", "start -ai vigilant_curie"])
def test_start_with_input(do, engine, make_face, words):
    do(words, face=make_face(stdin=5))
    assert asked(engine, "start") == [{"container": "vigilant_curie", "attach": True, "stdin": 5}]


def test_run_attaches_what_was_asked_for(do, engine):
    do("run -a STDOUT -a stdin greet")
    assert asked(engine, "run")[0]["streams"] == ("stdout", "stdin")
    assert do("run -a stdin greet").value == Text(f"{WEB}\n")
    for words, text in (
        ("run -a nothing greet", 'invalid argument "nothing"'),
        ("run -d -a stdout greet", "conflicting options: cannot specify both --attach and --detach"),
    ):
        with pytest.raises(UsageProblem, match=text) as caught:
            do(words)
        assert caught.value.exit_code == 125


def test_pause_and_unpause(do):
    assert do("pause vigilant_curie").value == Text("vigilant_curie\n")
    outcome = do("unpause vigilant_curie nope")
    assert (outcome.value, outcome.exit_code) == (Text("vigilant_curie\n"), 1)


# The screen


def test_size(terminal):
    termios.tcsetwinsize(terminal, (33, 99))
    assert TerminalScreen(terminal, raw=False).size == (33, 99)
    assert FixedScreen(1, 2).size == (1, 2)


def test_raw_mode_and_back(terminal):
    before = termios.tcgetattr(terminal)
    with TerminalScreen(terminal, raw=True).hold(lambda *_: None):
        assert not termios.tcgetattr(terminal)[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
    assert termios.tcgetattr(terminal) == before
    with pytest.raises(ZeroDivisionError), TerminalScreen(terminal, raw=True).hold(lambda *_: None):
        raise ZeroDivisionError
    assert termios.tcgetattr(terminal) == before


def test_no_raw_mode_without_keys(terminal):
    before = termios.tcgetattr(terminal)
    with TerminalScreen(terminal, raw=False).hold(lambda *_: None):
        assert termios.tcgetattr(terminal) == before


def test_new_sizes_are_told(terminal):
    told = []
    found = signal.getsignal(signal.SIGWINCH)
    with TerminalScreen(terminal, raw=False).hold(lambda *size: told.append(size)):
        termios.tcsetwinsize(terminal, (11, 22))
        os.kill(os.getpid(), signal.SIGWINCH)
    assert told == [(11, 22)]
    assert signal.getsignal(signal.SIGWINCH) == found


def test_outside_of_the_main_thread_there_is_no_news(terminal):
    done = []

    def work() -> None:
        with TerminalScreen(terminal, raw=True).hold(lambda *_: None):
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_process_leaves_the_terminal_as_it_was(terminal, number):
    before = termios.tcgetattr(terminal)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(number, signal.SIG_DFL)
            with TerminalScreen(terminal, raw=True).hold(lambda *_: None):
                os.write(write, b"x")
                for _ in range(2000):  # not pause(): the signal may come right before it
                    time.sleep(0.01)
        finally:
            os._exit(1)
    assert os.read(read, 1) == b"x"
    os.kill(pid, number)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -number
    assert termios.tcgetattr(terminal) == before
    os.close(read)
    os.close(write)
