from __future__ import annotations

import os
import socket
import struct

import msgspec
import pytest

from contextkernel.errors import CommandNotExecutable, CommandNotFound, LaunchFailed, ProtocolViolation
from contextkernel.model.container import LaunchRequest
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.runtime import messages
from contextkernel.runtime.facts import HostFacts
from contextkernel.runtime.messages import Decoder, Exited, Failed, Hello, Launch, Signal, Started

REQUEST = LaunchRequest(
    id="x", argv=("true",), env=(), hostname="h", network="none", lowers=(), upper="/u" * 5000, work="/w"
)


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_messages_and_descriptors_arrive(pair):
    read, write = os.pipe()
    first = Hello(IdMap((IdRange(0, 1, 1),), (IdRange(0, 1, 1),)))
    second = Launch(request=REQUEST, facts=HostFacts(), stdin=False, stdout=True, stderr=False)
    messages.send(pair[0], first)
    messages.send(pair[0], second, [write])
    os.close(write)
    decoder = Decoder(messages.ToLauncher, "launcher", "client")
    assert decoder.receive(pair[1]) == (first, [])
    message, descriptors = decoder.receive(pair[1])
    assert message == second
    assert not os.get_inheritable(descriptors[0])
    os.write(descriptors[0], b"through")
    assert os.read(read, 10) == b"through"
    for descriptor in (read, *descriptors):
        os.close(descriptor)


def test_end_of_stream(pair):
    pair[0].close()
    assert Decoder(messages.ToLauncher, "launcher", "client").receive(pair[1]) == (None, [])


def test_unexpected_message_names_both_sides(pair):
    messages.send(pair[0], Signal(9))
    decoder = Decoder(messages.ToLauncher, "launcher", "client")
    with pytest.raises(ProtocolViolation, match="the launcher expected Hello or Launch from the client, got 'Signal'"):
        decoder.receive(pair[1])


def test_message_at_the_wrong_moment():
    with pytest.raises(ProtocolViolation, match="the monitor expected Hello from the client, got Signal"):
        messages.unexpected("monitor", "client", Signal(1), "Hello")


def test_an_answer_is_no_request():
    decoder = Decoder(messages.ToMonitor, "monitor", "client")
    with pytest.raises(
        ProtocolViolation, match=r"the monitor expected Signal or .* or Processes.* from the client, got .Exited."
    ):
        list(decoder.feed(messages.encode(Exited(0))))


@pytest.mark.parametrize("data", [b"\x00\x00\x00\x02\xff\xff", b"\xff\xff\xff\xff", b"\x00\x00\x00\x01\x01"])
def test_attack_frames_that_are_none(data, pair):
    decoder = Decoder(messages.ToMonitor, "monitor", "client")
    with pytest.raises(ProtocolViolation):
        list(decoder.feed(data))
    pair[0].sendall(data)
    with pytest.raises(ProtocolViolation):
        decoder.receive(pair[1])


def test_stream_that_ends_inside_a_frame(pair):
    pair[0].sendall(messages.encode(Signal(1))[:-1])
    pair[0].close()
    with pytest.raises(ProtocolViolation, match="the client stopped inside a message to the monitor"):
        Decoder(messages.ToMonitor, "monitor", "client").receive(pair[1])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_frames_in_pieces(size):
    sent = [Started(1), Failed("setup", "why"), Exited(3), Started(4)]
    data = b"".join(map(messages.encode, sent))
    decoder = Decoder(messages.FromMonitor, "client", "monitor")
    found = [message for at in range(0, len(data), size) for message in decoder.feed(data[at : at + size])]
    assert found == sent


def test_frame_layout():
    frame = messages.encode(Signal(15))
    assert struct.unpack(">I", frame[:4])[0] == len(frame) - 4
    assert msgspec.msgpack.decode(frame[4:]) == {"type": "Signal", "number": 15}


@pytest.mark.parametrize(
    ("kind", "error", "code"),
    [("setup", LaunchFailed, 125), ("not_executable", CommandNotExecutable, 126), ("not_found", CommandNotFound, 127)],
)
def test_failures_become_errors(kind, error, code):
    made = Failed(kind, "problem", "hint").error()
    assert type(made) is error
    assert (made.problem, made.hint, made.exit_code) == ("problem", "hint", code)
