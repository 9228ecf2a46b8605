from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from contextkernel.network.loop import Loop


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop(clock: Clock) -> Iterator[Loop]:
    made = Loop(clock=clock)
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def test_a_reader_is_called_when_there_is_something_to_read(loop, pair):
    left, right = pair
    got = []
    loop.add_reader(left.fileno(), lambda: got.append(left.recv(10)))
    loop.run_once(0)
    assert got == []
    right.send(b"hello")
    loop.run_once()
    assert got == [b"hello"]


def test_a_reader_is_called_when_the_other_side_has_gone(loop, pair):
    left, right = pair
    got = []
    loop.add_reader(left.fileno(), lambda: got.append(left.recv(10)))
    right.close()
    loop.run_once()
    assert got == [b""]


def test_reader_and_writer_of_one_descriptor_are_added_and_removed_apart(loop, pair):
    left, right = pair
    got = []
    number = left.fileno()
    loop.add_reader(number, lambda: got.append("read"))
    loop.add_writer(number, lambda: got.append("write"))
    right.send(b"x")
    loop.run_once()
    assert got == ["read", "write"]
    loop.remove_writer(number)
    loop.run_once()
    assert got == ["read", "write", "read"]
    loop.remove_reader(number)
    loop.remove_reader(number)
    loop.run_once(0)
    assert got == ["read", "write", "read"]
    assert loop.descriptors == frozenset()


def test_what_a_callback_removes_is_not_called_in_the_same_round(loop, pair):
    left, right = pair
    got = []

    def first() -> None:
        got.append("first")
        loop.remove(left.fileno())

    loop.add_reader(left.fileno(), first)
    loop.add_writer(left.fileno(), lambda: got.append("never"))
    right.send(b"x")
    loop.run_once()
    assert got == ["first"]


def test_a_callback_may_remove_and_close_another_descriptor_that_is_ready(loop):
    pairs = [socket.socketpair() for _ in range(2)]
    got = []

    def close_all(name: int) -> None:
        got.append(name)
        for left, _ in pairs:
            if left.fileno() >= 0:
                loop.remove(left.fileno())
                left.close()

    for number, (left, right) in enumerate(pairs):
        loop.add_reader(left.fileno(), lambda number=number: close_all(number))
        right.send(b"x")
    loop.run_once()
    assert len(got) == 1
    for _, right in pairs:
        right.close()


def test_timers_fire_in_the_order_of_their_times_and_once(loop, clock):
    got = []
    loop.call_later(2, lambda: got.append("late"))
    loop.call_later(1, lambda: got.append("early"))
    loop.call_later(1, lambda: got.append("second"))
    loop.run_once(0)
    assert got == []
    clock.now += 1
    loop.run_once(0)
    assert got == ["early", "second"]
    clock.now += 5
    loop.run_once(0)
    loop.run_once(0)
    assert got == ["early", "second", "late"]


def test_a_cancelled_timer_does_not_fire_and_is_not_waited_for(loop, clock):
    got = []
    timer = loop.call_later(1, lambda: got.append("never"))
    assert timer.pending
    timer.cancel()
    timer.cancel()
    assert not timer.pending
    clock.now += 5
    loop.run_once(0)
    assert got == []


def test_run_goes_on_until_stop(loop):
    got = []

    def again() -> None:
        got.append(len(got))
        if len(got) == 3:
            loop.stop()
        else:
            loop.call_soon(again)

    loop.call_soon(again)
    loop.run()
    assert got == [0, 1, 2]


def test_what_a_callback_raises_is_handed_over_and_the_loop_goes_on(clock):
    problems = []
    loop = Loop(failed=problems.append, clock=clock)

    def fail() -> None:
        raise ValueError("no")

    got = []
    loop.call_soon(fail)
    loop.call_soon(lambda: got.append("after"))
    loop.run_once(0)
    loop.close()
    assert [str(problem) for problem in problems] == ["no"]
    assert got == ["after"]


def test_without_anybody_to_tell_the_error_leaves_the_loop(loop):
    def fail() -> None:
        raise ValueError("no")

    loop.call_soon(fail)
    with pytest.raises(ValueError, match="no"):
        loop.run_once(0)


def test_closing_leaves_descriptors_open(clock, pair):
    loop = Loop(clock=clock)
    loop.add_reader(pair[0].fileno(), lambda: None)
    loop.close()
    assert os.fstat(pair[0].fileno())
