"""Connections are taken as they come; where there are no descriptors left, the loop does something else meanwhile."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from contextkernel.network.accepting import Acceptor
from contextkernel.network.loop import Loop


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Listener(socket.socket):
    """Its accept fails with the numbers of ``refusals`` first."""

    refusals: list[int]

    def accept(self) -> tuple[socket.socket, object]:
        if self.refusals:
            raise OSError(self.refusals.pop(0), "refused")
        return super().accept()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener(socket.AF_UNIX, socket.SOCK_SEQPACKET) as made:
        made.bind("")
        made.listen(8)
        made.settimeout(0)
        made.refusals = []
        yield made


@pytest.fixture
def clients(listener: Listener) -> Iterator[list[socket.socket]]:
    made = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    for client in made:
        client.connect(listener.getsockname())
    yield made
    for client in made:
        client.close()


def test_a_connection_a_turn_is_taken_and_does_not_block(listener, clients):
    loop, taken = Loop(), []
    acceptor = Acceptor(loop, listener, lambda connection, _: taken.append(connection))
    loop.run_once()
    assert [connection.gettimeout() for connection in taken] == [0]
    loop.run_once()
    assert len(taken) == len(clients)
    acceptor.close()
    acceptor.close()
    assert loop.descriptors == frozenset()
    for connection in taken:
        connection.close()
    loop.close()


def test_several_turns_go_on_after_one_that_has_gone_already(listener, clients):
    loop, taken = Loop(), []
    Acceptor(loop, listener, lambda connection, _: taken.append(connection), turns=4)
    listener.refusals = [errno.ECONNABORTED]
    loop.run_once()
    assert len(taken) == len(clients)
    for connection in taken:
        connection.close()
    loop.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
@pytest.mark.usefixtures("clients")
def test_without_descriptors_it_waits_and_tries_again(listener, number):
    clock, taken = Clock(), []
    loop = Loop(clock=clock)
    Acceptor(loop, listener, lambda connection, _: taken.append(connection))
    listener.refusals = [number]
    loop.run_once()
    assert loop.descriptors == frozenset()
    assert taken == []
    clock.now = 1.0
    loop.run_once()
    loop.run_once()
    assert len(taken) == 1
    taken[0].close()
    loop.close()


@pytest.mark.usefixtures("clients")
def test_one_that_is_closed_while_it_waits_stays_closed(listener):
    clock = Clock()
    loop = Loop(clock=clock)
    acceptor = Acceptor(loop, listener, lambda _connection, _: pytest.fail("taken"))
    listener.refusals = [errno.EMFILE]
    loop.run_once()
    acceptor.close()
    clock.now = 1.0
    loop.run_once(0)
    assert loop.descriptors == frozenset()
    loop.close()
