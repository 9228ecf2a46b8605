from __future__ import annotations

import os
import socket

import pytest

from contextkernel.errors import Conflict, InvalidInput, LaunchFailed, ProtocolViolation
from contextkernel.network import messages
from contextkernel.network.messages import Apply, Attach, Detach, FromInner, Link, Made, Refused, ToInner, ToService
from contextkernel.network.plan import AddBridge, LinkUp


@pytest.fixture
def ends():
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        yield left, right


def test_messages_arrive_one_by_one_with_their_descriptors(ends):
    sender: Link = Link(ends[0], FromInner, "a", "b")
    receiver: Link = Link(ends[1], ToInner, "b", "a")
    read, write = os.pipe()
    sender.send(Apply(7, (AddBridge("br", "02:42:00:00:00:01", 1500), LinkUp("", "br"))))
    sender.send(messages.Adopt("box"), [read])
    assert receiver.receive() == (Apply(7, (AddBridge("br", "02:42:00:00:00:01", 1500), LinkUp("", "br"))), [])
    message, (descriptor,) = receiver.receive()
    assert message == messages.Adopt("box")
    os.write(write, b"x")
    assert os.read(descriptor, 1) == b"x"
    for number in (read, write, descriptor):
        os.close(number)


def test_the_end_of_the_other_side_is_no_message(ends):
    ends[0].close()
    assert Link(ends[1], ToService, "b", "a").receive() == (None, [])


def test_a_message_of_another_union_is_an_error_that_names_both_and_keeps_no_descriptor(ends):
    before = len(os.listdir("/proc/self/fd"))
    read, write = os.pipe()
    Link(ends[0], ToService, "a", "b").send(Made(3), [read])
    os.close(read)
    with pytest.raises(ProtocolViolation) as caught:
        Link(ends[1], ToService, "network service", "client").receive()
    os.close(write)
    assert "network service expected Prepare or Attach" in caught.value.problem
    assert "'Made'" in caught.value.problem
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_no_message_at_all_is_an_error(ends):
    ends[0].send(b"\xc1nonsense")
    with pytest.raises(ProtocolViolation):
        Link(ends[1], ToService, "b", "a").receive()


def test_a_refusal_becomes_the_error_it_was():
    assert isinstance(Refused("p", kind="conflict").error(), Conflict)
    assert isinstance(Refused("p", kind="input").error(), InvalidInput)
    error = Refused("p", "h").error()
    assert isinstance(error, LaunchFailed)
    assert (error.problem, error.hint) == ("p", "h")


def test_requests_keep_their_values():
    attach = Attach(container="c", name="n", wishes=())
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        for message in (attach, Detach()):
            Link(left, ToService, "a", "b").send(message)
            assert Link(right, ToService, "b", "a").receive()[0] == message
