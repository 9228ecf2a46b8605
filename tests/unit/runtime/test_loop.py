from __future__ import annotations

import os
import select

from contextkernel.runtime.loop import Loop


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Reader:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.seen: list[int] = []

    def interests(self):
        yield self.descriptor, select.POLLIN

    def ready(self, events):
        if self.descriptor in events:
            self.seen.append(events[self.descriptor])
            os.read(self.descriptor, 10)


def test_sources_are_told_what_happened():
    loop = Loop()
    (read, write), (other, end) = os.pipe(), os.pipe()
    one, two = Reader(read), Reader(other)
    loop.add(one)
    loop.add(two)
    os.write(write, b"x")
    loop.turn()
    loop.discard(one)
    loop.discard(one)
    os.write(write, b"y")
    os.write(end, b"z")
    loop.turn()
    assert (one.seen, two.seen) == ([select.POLLIN], [select.POLLIN])
    for descriptor in (read, write, other, end):
        os.close(descriptor)


def test_timers_in_order_and_cancelled():
    clock = Clock()
    loop = Loop(clock)
    done: list[str] = []
    loop.after(2, lambda: done.append("late"))
    cancelled = loop.after(1, lambda: done.append("never"))
    loop.after(1, lambda: done.append("soon"))
    assert cancelled.pending
    cancelled.cancel()
    assert not cancelled.pending
    clock.now += 1
    loop.turn()
    assert done == ["soon"]
    clock.now += 1
    loop.turn()
    assert done == ["soon", "late"]


def test_a_timer_may_set_another():
    clock = Clock()
    loop = Loop(clock)
    done: list[int] = []

    def again() -> None:
        done.append(1)
        loop.after(0, lambda: done.append(2))

    loop.after(0, again)
    loop.turn()
    assert done == [1, 2]


def test_two_sources_of_one_descriptor_get_both_their_wishes():
    read, write = os.pipe()

    class Ends(Reader):
        def interests(self):
            yield self.descriptor, 0

        def ready(self, events):
            self.seen.append(events.get(self.descriptor, 0))

    reader, ends = Reader(read), Ends(read)
    loop = Loop()
    loop.add(reader)
    loop.add(ends)
    os.write(write, b"x")
    loop.turn()
    assert (reader.seen, ends.seen) == ([select.POLLIN], [select.POLLIN])
    os.close(read)
    os.close(write)
