from __future__ import annotations

import contextlib
import fcntl
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextkernel.runtime.relay import Input, JsonLog, Output


def records(path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_log_lines_of_two_streams(tmp_path):
    log = JsonLog(str(tmp_path / "log"))
    log.write("stdout", b"one\ntw")
    log.write("stderr", b"bad \xff\n")
    log.write("stdout", b"o\n\nrest")
    log.close()
    found = records(tmp_path / "log")
    assert [(entry["stream"], entry["log"]) for entry in found] == [
        ("stdout", "one\n"),
        ("stderr", "bad \ufffd\n"),
        ("stdout", "two\n"),
        ("stdout", "\n"),
        ("stdout", "rest"),
    ]


def test_log_is_appended_to(tmp_path):
    for text in (b"first\n", b"second\n"):
        log = JsonLog(str(tmp_path / "log"))
        log.write("stdout", text)
        log.close()
    assert [entry["log"] for entry in records(tmp_path / "log")] == ["first\n", "second\n"]


def test_long_lines_are_split(tmp_path):
    log = JsonLog(str(tmp_path / "log"))
    log.write("stdout", b"x" * 40000)
    log.write("stdout", b"\ny\n")
    log.close()
    lengths = [len(entry["log"]) for entry in records(tmp_path / "log")]
    assert lengths == [16384, 16384, 7233, 2]


@given(st.lists(st.binary(max_size=40)))
def test_log_holds_exactly_the_output(tmp_path_factory, pieces):
    path = tmp_path_factory.mktemp("log") / "log"
    log = JsonLog(str(path))
    for piece in pieces:
        log.write("stdout", piece)
    log.close()
    text = "".join(entry["log"] for entry in records(path))
    # pieces of one line are joined before they are decoded
    assert text == "".join(line.decode("utf-8", "replace") for line in _lines(b"".join(pieces)))


def _lines(data: bytes) -> list[bytes]:
    *whole, last = data.split(b"\n")
    return [*(line + b"\n" for line in whole), last]


@pytest.fixture
def pipes():
    made: list[tuple[int, int]] = []

    def pipe() -> tuple[int, int]:
        ends = os.pipe()
        made.extend((end, os.fstat(end).st_ino) for end in ends)
        return ends

    yield pipe
    for descriptor, inode in made:
        # a number may have been closed, and given to another file since
        with contextlib.suppress(OSError):
            if os.fstat(descriptor).st_ino == inode:
                os.close(descriptor)


def test_output_goes_to_the_client(pipes):
    source, program = pipes()
    reader, client = pipes()
    output = Output("stdout", source, client, None)
    os.write(program, b"hello")
    assert output.read()
    assert not output.wants_write
    assert os.read(reader, 100) == b"hello"
    assert not output.read()  # nothing there now, and it does not block
    os.close(program)
    assert not output.read()
    assert output.source is None
    output.drop_client()


def test_client_that_is_slow_then_gone(pipes, tmp_path):
    source, program = pipes()
    reader, client = pipes()
    fcntl.fcntl(client, fcntl.F_SETPIPE_SZ, 4096)
    log = JsonLog(str(tmp_path / "log"))
    output = Output("stdout", source, client, log)
    for _ in range(40):
        os.write(program, b"x" * 49999 + b"\n")
        while output.wants_read and output.read():
            pass
        if not output.wants_read:
            break
    assert not output.wants_read  # more than a megabyte is waiting: the program is held back
    assert output.wants_write
    os.close(reader)
    output.write()
    assert output.client is None
    assert output.wants_read
    while output.read():
        pass
    log.close()
    output.close_source()


def test_client_file_is_written_whole(pipes, tmp_path):
    source, program = pipes()
    client = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    output = Output("stdout", source, client, None)
    os.write(program, b"y" * 60000)
    output.read()
    assert not output.wants_write
    assert (tmp_path / "out").stat().st_size == 60000
    output.drop_client()
    output.close_source()


def test_input_is_passed_on_and_ended(pipes):
    client, sender = pipes()
    program, sink = pipes()
    relay = Input(client, sink)
    os.write(sender, b"z" * 65536)
    relay.read()
    os.write(sender, b"more")
    os.close(sender)
    assert relay.wants_read
    relay.read()
    assert relay.wants_write  # the pipe to the program is full
    assert not relay.wants_read
    assert os.read(program, 70000) == b"z" * 65536
    relay.write()
    assert os.read(program, 100) == b"more"
    relay.read()
    assert relay.sink is None
    assert os.read(program, 10) == b""


def test_input_of_a_program_that_reads_no_more(pipes):
    client, sender = pipes()
    program, sink = pipes()
    relay = Input(client, sink)
    os.close(program)
    os.write(sender, b"lost")
    relay.read()
    assert relay.sink is None
    relay.close()
