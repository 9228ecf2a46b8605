from __future__ import annotations

import contextlib
import fcntl
import os
import select

import pytest

from contextkernel.runtime.logs import JsonLog
from contextkernel.runtime.loop import Loop
from contextkernel.runtime.relay import Input, Output, Sink, Tap


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


def waits_for(source) -> dict[int, int]:
    return dict(source.interests())


def test_output_goes_to_the_client(pipes):
    source, program = pipes()
    reader, client = pipes()
    output = Output("stdout", source, None)
    tap = output.attach(client)
    os.write(program, b"hello")
    assert output.read()
    assert not tap.behind
    assert os.read(reader, 100) == b"hello"
    assert not output.read()  # nothing there now, and it does not block
    os.close(program)
    assert not output.read()
    assert not output.open
    output.close()
    assert not tap.open


def test_output_goes_to_all_clients_from_when_they_came(pipes):
    source, program = pipes()
    (first, one), (second, two) = pipes(), pipes()
    output = Output("stdout", source, None)
    output.attach(one)
    os.write(program, b"a")
    output.read()
    output.attach(two)
    os.write(program, b"b")
    output.read()
    output.close()
    assert (os.read(first, 10), os.read(second, 10)) == (b"ab", b"b")


def test_client_that_is_slow_then_gone(pipes, tmp_path):
    source, program = pipes()
    reader, client = pipes()
    other_reader, other = pipes()
    fcntl.fcntl(client, fcntl.F_SETPIPE_SZ, 4096)
    fcntl.fcntl(other, fcntl.F_SETPIPE_SZ, 1 << 20)
    log = JsonLog(str(tmp_path / "log"))
    output = Output("stdout", source, log)
    tap = output.attach(client)
    output.attach(other)
    for _ in range(40):
        os.write(program, b"x" * 49999 + b"\n")
        while output.has_room and output.read():
            os.read(other_reader, 1 << 20)
        if not output.has_room:
            break
    assert source not in waits_for(output)  # more than a megabyte is waiting: the program is held back
    assert tap.behind
    os.close(reader)
    tap.write()
    assert not tap.open
    assert source in waits_for(output)
    output.drain()
    log.close()
    output.close()


def test_client_file_is_written_whole(pipes, tmp_path):
    source, program = pipes()
    client = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    output = Output("stdout", source, None)
    tap = output.attach(client)
    os.write(program, b"y" * 60000)
    output.read()
    assert not tap.behind
    assert (tmp_path / "out").stat().st_size == 60000
    output.close()


def test_tap_of_a_client_that_hung_up(pipes):
    reader, client = pipes()
    tap = Tap(client)
    os.close(reader)
    tap.feed(b"lost")
    assert not tap.open
    assert not tap.behind
    tap.close()


def test_input_is_passed_on_and_ended(pipes):
    client, sender = pipes()
    program, end = pipes()
    sink = Sink(end)
    relay = Input(client, sink)
    os.write(sender, b"z" * 65536)
    relay.read()
    assert sink.idle
    os.write(sender, b"more")
    os.close(sender)
    assert client in waits_for(relay)
    relay.read()
    assert not sink.idle  # the pipe to the program is full
    assert waits_for(relay) == {}
    assert waits_for(sink) == {end: select.POLLOUT}
    assert os.read(program, 70000) == b"z" * 65536
    sink.ready({end: select.POLLOUT})
    assert os.read(program, 100) == b"more"
    relay.read()
    assert not sink.open
    assert os.read(program, 10) == b""


def test_input_of_a_guest_ends_alone(pipes):
    client, sender = pipes()
    program, end = pipes()
    sink = Sink(end)
    guest = Input(client, sink, ends=False)
    os.write(sender, b"hi")
    os.close(sender)
    guest.read()
    guest.read()
    assert not guest.open
    assert sink.open
    assert os.read(program, 10) == b"hi"
    sink.close()


def test_input_of_a_program_that_reads_no_more(pipes):
    client, sender = pipes()
    program, end = pipes()
    sink = Sink(end)
    relay = Input(client, sink)
    os.close(program)
    os.write(sender, b"lost")
    relay.read()
    assert not sink.open
    assert waits_for(relay) == {}
    assert not relay.open


def test_close_of_the_program_is_seen_without_writing(pipes):
    program, end = pipes()
    sink = Sink(end)
    loop = Loop()
    loop.add(sink)
    os.close(program)
    loop.turn()
    assert not sink.open


def test_client_that_wants_to_leave(pipes):
    client, sender = pipes()
    program, end = pipes()
    left = []
    relay = Input(client, Sink(end), scan=lambda data: (data[:1], True), leave=lambda: left.append(relay))
    os.write(sender, b"x\x10\x11y")
    relay.read()
    assert left == [relay]
    assert os.read(program, 10) == b"x"


def test_the_end_does_not_wait_for_those_who_still_write(pipes):
    """A program has ended, and left another behind that writes on and on."""
    source, program = pipes()
    most = fcntl.fcntl(source, fcntl.F_GETPIPE_SZ)
    os.set_blocking(program, False)
    taken: list[bytes] = []

    class Log:
        def write(self, _stream: str, data: bytes) -> None:
            taken.append(data)
            assert sum(map(len, taken)) <= 2 * most
            os.write(program, b"y" * most)

    output = Output("stdout", source, Log())
    os.write(program, b"x" * most)
    output.drain()
    assert b"".join(taken)[:most] == b"x" * most
    assert not output.open
